//! What the resolver keeps, shares and forgets; on tokio's paused clock.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn counting(answer: fn(usize) -> Answer) -> (Resolver, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let resolver = Resolver::asking(move |_| {
        let turn = count.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            answer(turn)
        })
    });
    (resolver, asked)
}

fn first(_: usize) -> Answer {
    Ok(vec!["10.0.0.1".parse().unwrap(), "::1".parse().unwrap()])
}

#[tokio::test(start_paused = true)]
async fn a_literal_address_is_never_asked_for() {
    let (resolver, asked) = counting(first);
    for literal in ["127.0.0.1", "::1"] {
        let found = resolver.lookup(literal, 80).await.unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), [SocketAddr::new(literal.parse().unwrap(), 80)]);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_thirty_seconds_and_no_longer() {
    let (resolver, asked) = counting(first);
    let found = resolver.lookup("a.test", 443).await.unwrap();
    assert_eq!(found.count(), 2);
    assert_eq!(found.iter().nth(1), Some("[::1]:443".parse().unwrap()));
    tokio::time::advance(KEPT - Duration::from_millis(1)).await;
    resolver.lookup("a.test", 443).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    tokio::time::advance(Duration::from_millis(2)).await;
    resolver.lookup("a.test", 443).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn calls_at_once_send_one_question() {
    let (resolver, asked) = counting(first);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let resolver = resolver.clone();
            tokio::spawn(async move { resolver.lookup("a.test", 80).await })
        })
        .collect();
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_by_those_who_waited_and_kept_for_nobody() {
    let (resolver, asked) = counting(|turn| if turn == 0 { Err("refused".into()) } else { first(turn) });
    let calls: Vec<_> = (0..20)
        .map(|_| {
            let resolver = resolver.clone();
            tokio::spawn(async move { resolver.lookup("a.test", 80).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap_err().to_string(), "cannot resolve a.test: refused");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(resolver.lookup("a.test", 80).await.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_gives_up_lets_the_next_one_ask() {
    let (resolver, asked) = counting(first);
    let impatient = tokio::time::timeout(Duration::from_millis(10), resolver.lookup("a.test", 80)).await;
    assert!(impatient.is_err());
    assert!(resolver.lookup("a.test", 80).await.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_name_without_address_and_an_unknown_name_fail_in_words() {
    let resolver = Resolver::fixed(HashMap::from([("empty.test".to_owned(), vec![])]));
    let empty = resolver.lookup("empty.test", 80).await.unwrap_err();
    assert_eq!(empty, ResolveError::Empty("empty.test".into()));
    let unknown = resolver.lookup("nowhere.test", 80).await.unwrap_err();
    assert_eq!(unknown.to_string(), "cannot resolve nowhere.test: no such name");
}

#[tokio::test]
async fn the_system_knows_localhost() {
    let found = Resolver::system().lookup("localhost", 80).await.unwrap();
    assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80));
}
