//! How many connections are open, how long they live, and how calls wait for them.

use http_body_util::BodyExt;

use super::support::*;

const HANGING: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok";

async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
    settle().await;
}

/// Lets the other tasks run, the sweep among them.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_idle_connection_is_used_until_its_limit_and_closed_after_it() {
    let server = Server::answering(OK).await;
    let (client, upstream) = (client(), Arc::new(server.upstream()));
    for _ in 0..3 {
        call(&client, &upstream).await.unwrap();
        pass(Duration::from_secs(29)).await;
    }
    assert_eq!(server.accepted(), 1);
    pass(Duration::from_secs(2)).await;
    assert_eq!(client.connections("up"), 0);
    call(&client, &upstream).await.unwrap();
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn a_connection_takes_no_call_beyond_its_age() {
    let server = Server::answering(OK).await;
    let mut upstream = server.upstream();
    upstream.pool = PoolLimits { idle: Duration::from_secs(30), age: Duration::from_secs(100) };
    let (client, upstream) = (client(), Arc::new(upstream));
    for _ in 0..9 {
        call(&client, &upstream).await.unwrap();
        assert_eq!(server.accepted(), 1);
        pass(Duration::from_millis(9_900)).await;
    }
    pass(Duration::from_secs(11)).await;
    call(&client, &upstream).await.unwrap();
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn an_upstream_that_keeps_connections_for_less_is_heeded() {
    let answer = b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5, max=100\r\ncontent-length: 2\r\n\r\nok";
    let server = Server::answering(answer).await;
    let (client, upstream) = (client(), Arc::new(server.upstream()));
    call(&client, &upstream).await.unwrap();
    pass(Duration::from_millis(3_900)).await;
    call(&client, &upstream).await.unwrap();
    assert_eq!(server.accepted(), 1);
    pass(Duration::from_millis(4_100)).await;
    call(&client, &upstream).await.unwrap();
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn the_sweep_notices_what_the_upstream_closed() {
    let server = Server::closing_after(OK).await;
    let (client, upstream) = (client(), Arc::new(server.upstream()));
    call(&client, &upstream).await.unwrap();
    tokio::time::timeout(Duration::from_secs(5), async {
        while client.connections("up") > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn no_more_connections_than_allowed_and_then_busy() {
    let server = Server::answering(HANGING).await;
    let mut upstream = server.upstream();
    upstream.max_connections = 3;
    let waiting = Waiting { longest: Duration::from_millis(300), places: 2 };
    let ledger = Arc::new(Ledger::with_waiting(waiting));
    let (client, upstream) = (client_with(&ledger), Arc::new(upstream));
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(send(&client, &upstream, b"{}").await.unwrap());
    }
    let began = std::time::Instant::now();
    let (one, two, three) = tokio::join!(call(&client, &upstream), call(&client, &upstream), async {
        settle().await;
        let refused = call(&client, &upstream).await;
        (refused, began.elapsed())
    });
    assert_eq!((one, two), (Err(UpstreamError::Busy), Err(UpstreamError::Busy)));
    assert_eq!(three.0, Err(UpstreamError::Busy));
    assert!(three.1 < Duration::from_millis(300), "one that finds no place is refused at once");
    assert!(began.elapsed() >= Duration::from_millis(300));
    assert_eq!((server.accepted(), client.connections("up")), (3, 3));
    drop(held);
    assert_eq!(client.connections("up"), 0);
}

#[test]
fn a_call_waits_a_second_at_most() {
    assert_eq!(Waiting::default(), Waiting { longest: Duration::from_secs(1), places: 1024 });
}

#[tokio::test]
async fn a_call_that_waits_gets_the_connection_that_comes_free() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let server = Server::start(move |mut peer| {
        let mut wait = wait.clone();
        async move {
            peer.serve(HANGING).await;
            wait.wait_for(|now| *now).await.unwrap();
            peer.send(b"1234567").await;
            while peer.serve(OK).await {}
        }
    })
    .await;
    let mut upstream = server.upstream();
    upstream.max_connections = 1;
    let (client, upstream) = (client(), Arc::new(upstream));
    let first = send(&client, &upstream, b"{}").await.unwrap();
    let (second, third, ()) = tokio::join!(call(&client, &upstream), call(&client, &upstream), async {
        settle().await;
        go.send(true).unwrap();
        assert_eq!(first.into_body().collect().await.unwrap().to_bytes(), "ok1234567");
    });
    assert_eq!((second.unwrap().1, third.unwrap().1), ("ok".into(), "ok".into()));
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_call_that_waits_gets_the_place_of_a_connection_that_was_closed() {
    let server = Server::start(|mut peer| async move {
        let first = peer.number == 0;
        peer.serve(if first { HANGING } else { OK }).await;
        peer.gone().await;
    })
    .await;
    let mut upstream = server.upstream();
    upstream.max_connections = 1;
    let (client, upstream) = (client(), Arc::new(upstream));
    let first = send(&client, &upstream, b"{}").await.unwrap();
    let (second, ()) = tokio::join!(call(&client, &upstream), async {
        settle().await;
        drop(first);
    });
    assert_eq!(second.unwrap().1, "ok");
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn a_worker_at_the_limit_closes_an_idle_connection_of_another() {
    let server = Server::answering(OK).await;
    let mut upstream = server.upstream();
    upstream.max_connections = 2;
    let upstream = Arc::new(upstream);
    let ledger = Arc::new(Ledger::default());
    let (one, other) = (client_with(&ledger), client_with(&ledger));
    let (a, b) = tokio::join!(call(&one, &upstream), call(&one, &upstream));
    assert!(a.is_ok() && b.is_ok());
    assert_eq!(ledger.connections("up"), 2);
    assert!(call(&other, &upstream).await.is_ok());
    assert_eq!((server.accepted(), ledger.connections("up")), (3, 2));
}

#[tokio::test]
async fn a_worker_that_waits_gets_the_place_of_another_workers_connection() {
    let (go, wait) = tokio::sync::watch::channel(false);
    let server = Server::start(move |mut peer| {
        let mut wait = wait.clone();
        async move {
            if peer.number == 0 {
                peer.serve(HANGING).await;
                wait.wait_for(|now| *now).await.unwrap();
                peer.send(b"1234567").await;
            }
            while peer.serve(OK).await {}
        }
    })
    .await;
    let mut upstream = server.upstream();
    upstream.max_connections = 1;
    let upstream = Arc::new(upstream);
    let ledger = Arc::new(Ledger::default());
    let (one, other) = (client_with(&ledger), client_with(&ledger));
    let first = send(&one, &upstream, b"{}").await.unwrap();
    let (second, ()) = tokio::join!(call(&other, &upstream), async {
        settle().await;
        assert_eq!(ledger.waiting("up"), 1);
        go.send(true).unwrap();
        first.into_body().collect().await.unwrap();
    });
    assert_eq!(second.unwrap().1, "ok");
    assert_eq!((server.accepted(), ledger.connections("up")), (2, 1));
}

#[tokio::test]
async fn calls_that_give_up_at_any_point_leave_nothing_behind() {
    let server = Server::start(|mut peer| async move {
        while peer.read().await.is_some() {
            peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await;
            tokio::task::yield_now().await;
            peer.send(b"ok").await;
        }
    })
    .await;
    let mut upstream = server.upstream();
    upstream.max_connections = 2;
    let upstream = Arc::new(upstream);
    let ledger = Arc::new(Ledger::default());
    let client = client_with(&ledger);
    let calls: Vec<_> = (0..400_usize)
        .map(|turn| {
            let (client, upstream) = (client.clone(), Arc::clone(&upstream));
            tokio::spawn(async move {
                let call = call(&client, &upstream);
                // Gives up after some turns of the runtime, other calls giving up before and after it.
                let patience = async {
                    for _ in 0..turn * 7 % 61 {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    _ = call => true,
                    () = patience => false,
                }
            })
        })
        .collect();
    let mut whole = 0;
    for call in calls {
        whole += usize::from(call.await.unwrap());
        assert!(ledger.connections("up") <= 2);
    }
    assert!(whole < 400, "some must have given up");
    for _ in 0..5 {
        assert_eq!(call(&client, &upstream).await.unwrap().1, "ok");
    }
    assert_eq!(ledger.waiting("up"), 0);
    drop(client);
    assert_eq!(ledger.connections("up"), 0);
}

#[tokio::test]
async fn dropping_the_client_closes_its_idle_connections() {
    let server = Server::answering(OK).await;
    let ledger = Arc::new(Ledger::default());
    let client = client_with(&ledger);
    call(&client, &Arc::new(server.upstream())).await.unwrap();
    assert_eq!(ledger.connections("up"), 1);
    drop(client);
    assert_eq!(ledger.connections("up"), 0);
}

#[test]
fn the_count_never_exceeds_the_limit_under_many_threads() {
    let ledger = Arc::new(Ledger::default());
    let address = std::sync::mpsc::channel();
    let server = std::thread::spawn({
        let tell = address.0;
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = Server::answering(OK).await;
                let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
                tell.send((server.address, stop)).unwrap();
                let _ = stopped.await;
            });
        }
    });
    let (address, stop) = address.1.recv().unwrap();
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let ledger = Arc::clone(&ledger);
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let mut upstream = upstream(&format!("http://{address}"));
                    upstream.max_connections = 3;
                    let (client, upstream) = (client_with(&ledger), Arc::new(upstream));
                    let calls = (0..10).map(|_| {
                        let (client, upstream) = (client.clone(), Arc::clone(&upstream));
                        tokio::spawn(async move {
                            for _ in 0..20 {
                                assert!(client.connections("up") <= 3);
                                assert_eq!(call(&client, &upstream).await.unwrap().1, "ok");
                            }
                        })
                    });
                    for call in calls.collect::<Vec<_>>() {
                        call.await.unwrap();
                    }
                });
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    assert_eq!(ledger.connections("up"), 0);
    stop.send(()).unwrap();
    server.join().unwrap();
}
