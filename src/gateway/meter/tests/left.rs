//! What must hold of an answer whose client left, where the rest of it is read on.

use std::time::Duration;

use super::*;
use crate::gateway::meter::read_on::{Bounds, ReadOn};

fn events() -> Vec<&'static str> {
    STREAM.split_inclusive("\n\n").collect()
}

fn rest() -> Vec<Step> {
    events()[1..].iter().map(data).collect()
}

/// Reads the first event, leaves, and lets all tasks do what they can.
async fn left(rig: &mut Rig, rest: impl IntoIterator<Item = Step>) -> serde_json::Value {
    let task = tokio::spawn(rig.task().run());
    let body = Scripted::of([data(events()[0])].into_iter().chain(rest));
    let mut response = metered(rig, stream(body, UsageChunk::Keep)).await;
    assert_eq!(next(response.body_mut()).unwrap().unwrap(), events()[0]);
    drop(response);
    // The paused clock runs on where nobody has anything else to do.
    tokio::time::sleep(Duration::from_secs(60)).await;
    rig.services.settling.flush().await;
    task.abort();
    for gauge in ["tollgate_in_flight", "tollgate_reservations"] {
        assert_eq!(rig.metric(&format!("{gauge}{{tenant=\"acme\"}}")), 0.0, "{gauge}");
    }
    assert_eq!(rig.metric("tollgate_upstream_in_flight{upstream=\"up\"}"), 0.0);
    let record = only_record(rig);
    assert_eq!((&record["outcome"], &record["bytes_out"]), (&"client_gone".into(), &events()[0].len().into()));
    record
}

#[tokio::test(start_paused = true)]
async fn the_rest_is_read_for_its_usage() {
    let mut rig = Rig::reading_on(ReadOn::default());
    let record = left(&mut rig, rest()).await;
    assert_eq!((&record["usage_source"], rig.used()), (&"reported".into(), (25, 1)));
}

#[tokio::test(start_paused = true)]
async fn where_the_upstream_is_to_be_stopped_nothing_more_is_read() {
    let mut rig = Rig::new();
    let record = left(&mut rig, rest()).await;
    assert_eq!((&record["usage_source"], &record["output_tokens"]), (&"estimated".into(), &1.into()));
}

#[tokio::test(start_paused = true)]
async fn what_is_read_on_is_bounded_in_time_bytes_and_number() {
    let lost = || UpstreamError::Cut("reset".to_owned());
    let default = Bounds::default();
    assert_eq!((default.time, default.bytes), (Duration::from_secs(30), 4 << 20));
    let first = events()[1].len() as u64;
    for (what, bounds, at_once, rest, source) in [
        ("time", default, 64, vec![Step::Silence], "estimated"),
        ("usage in time", default, 64, vec![data(events()[1]), data(events()[2]), Step::Silence], "reported"),
        ("broken", default, 64, vec![data(events()[1]), Step::Fail(lost()), data(events()[2])], "estimated"),
        ("bytes", Bounds { bytes: first, ..default }, 64, rest(), "estimated"),
        ("one byte more", Bounds { bytes: first + 1, ..default }, 64, rest(), "reported"),
        ("no time", Bounds { time: Duration::ZERO, ..default }, 64, vec![Step::Silence], "estimated"),
        ("no place", default, 0, rest(), "estimated"),
    ] {
        let mut rig = Rig::reading_on(ReadOn::new(bounds, at_once));
        let record = left(&mut rig, rest).await;
        assert_eq!(record["usage_source"], source, "{what}: {record}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_is_free_again_when_an_answer_was_read() {
    let mut rig = Rig::reading_on(ReadOn::new(Bounds::default(), 1));
    let task = tokio::spawn(rig.task().run());
    for _ in 0..3 {
        let body = Scripted::of([data(events()[0])].into_iter().chain(rest()));
        let mut response = metered(&rig, stream(body, UsageChunk::Keep)).await;
        let _ = next(response.body_mut());
        drop(response);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    task.abort();
    assert_eq!(rig.used(), (75, 3));
    assert!(rig.records().iter().all(|record| record["usage_source"] == "reported"));
}

#[test]
fn what_is_still_read_on_when_the_process_ends_is_settled_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let rig = Rig::reading_on(ReadOn::default());
    runtime.block_on(async {
        let body = Scripted::of([data(events()[0]), Step::Silence]);
        let mut response = metered(&rig, stream(body, UsageChunk::Keep)).await;
        let _ = next(response.body_mut());
        drop(response);
        tokio::task::yield_now().await;
        assert_eq!(rig.metric("tollgate_reservations{tenant=\"acme\"}"), 1.0, "it is read on");
    });
    drop(runtime);
    assert_eq!(rig.metric("tollgate_reservations{tenant=\"acme\"}"), 0.0);
    let record = only_record(&rig);
    assert_eq!((&record["outcome"], &record["usage_source"]), (&"client_gone".into(), &"estimated".into()));
}
