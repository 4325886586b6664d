//! What must hold of a call's end: the table of charges, and that nothing is lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::*;
use crate::gateway::call::{Call, Estimate};
use crate::gateway::testing::Rig;
use crate::wire::endpoint::Endpoint;

const REPORTED: Usage = Usage { input: 70, cached: 5, output: 9, reasoning: 2 };

/// What had come of the answer when the call ended, 4 s after it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// No byte.
    Nothing,
    /// The first byte after 2 s, and 120 bytes of text: 30 tokens by the start ratio.
    Text,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    ending: Ending,
    reported: Option<Usage>,
    stream: bool,
    came: Came,
    /// Input and output tokens charged.
    charged: (u64, u64),
    /// Why they are an estimate.
    estimated: Option<&'static str>,
}

const BROKEN: [(Outcome, &str); 5] = [
    (Outcome::ClientGone, "client_gone"),
    (Outcome::UpstreamTruncated, "truncated"),
    (Outcome::Timeout, "timeout"),
    (Outcome::UpstreamError, "truncated"),
    (Outcome::InternalError, "truncated"),
];

/// 3-limits.md, step 6. The input was estimated as 100; the upstream is taken to write 50 tokens a second.
fn table() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |ending, stream, came, charged, estimated| {
        rows.push(Row { ending, reported: None, stream, came, charged, estimated });
        if !matches!(ending, Ending::NeverSent(_)) {
            // Whatever happened: a report is believed.
            let charged = (REPORTED.input, REPORTED.output);
            rows.push(Row { ending, reported: Some(REPORTED), stream, came, charged, estimated: None });
        }
    };
    for stream in [false, true] {
        add(Ending::Whole, stream, Came::Text, (100, 30), Some("not_reported"));
        add(Ending::Whole, stream, Came::Nothing, (100, 0), Some("not_reported"));
        add(Ending::UpstreamRefused(InputCharge::None), stream, Came::Text, (0, 0), None);
        add(Ending::UpstreamRefused(InputCharge::None), stream, Came::Nothing, (0, 0), None);
        add(Ending::UpstreamRefused(InputCharge::Filtered), stream, Came::Text, (100, 0), Some("content_filter"));
        for (outcome, why) in BROKEN {
            // Before any byte: what may have been written in the 4 s since it was sent.
            add(Ending::Broken(outcome), stream, Came::Nothing, (100, 200), Some(why));
        }
    }
    for (outcome, why) in BROKEN {
        add(Ending::Broken(outcome), true, Came::Text, (100, 30), Some(why));
        // An answer in one piece was written before its first byte: 2 s at 50 a second.
        add(Ending::Broken(outcome), false, Came::Text, (100, 100), Some(why));
    }
    rows
}

async fn run(rig: &Rig, row: Row, endpoint: Endpoint) {
    let (mut call, admission) = rig.admitted(endpoint, row.stream).await;
    let sent = rig.clock.now();
    rig.clock.advance(Duration::from_secs(2));
    let first_byte = (row.came == Came::Text).then(|| rig.clock.now());
    rig.clock.advance(Duration::from_secs(2));
    call.note(|facts| {
        facts.estimate = Estimate { input: 100, output: 1_000, input_bytes: 400, answers: 1 };
        facts.sent = Some(sent);
        facts.first_byte = first_byte;
        facts.status = 200;
        facts.reading.usage = row.reported;
        facts.reading.text_bytes = if row.came == Came::Text { 120 } else { 0 };
    });
    call.end(row.ending);
    drop((call, admission));
}

#[tokio::test]
async fn every_ending_is_charged_as_the_table_says_and_leaves_one_record() {
    for row in table() {
        let rig = Rig::new();
        run(&rig, row, Endpoint::ChatCompletions).await;
        let (input, output) = row.charged;
        let (used, requests) = rig.used();
        assert_eq!((used, requests), (input + output, 1), "{row:?}");
        let outcome = outcome(row.ending).as_str();
        assert_eq!(
            rig.metric(&format!("tollgate_requests_total{{tenant=\"acme\",route=\"*\",outcome=\"{outcome}\"}}")),
            1.0,
            "{row:?}"
        );
        assert_eq!(rig.metric("tollgate_reservations{tenant=\"acme\"}"), 0.0, "{row:?}");
        assert_eq!(rig.metric("tollgate_in_flight{tenant=\"acme\"}"), 0.0, "{row:?}");
        let why = row.estimated.unwrap_or("not_reported");
        let series = format!("tollgate_usage_estimated_total{{endpoint=\"chat/completions\",reason=\"{why}\"}}");
        assert_eq!(rig.metric(&series), f64::from(u8::from(row.estimated.is_some())), "{row:?}");
        let records = rig.records();
        assert_eq!(records.len(), 1, "{row:?}");
        let record = &records[0];
        assert_eq!(record["outcome"], outcome, "{row:?}");
        let source = match (row.estimated, row.reported) {
            (Some(_), _) => Some("estimated"),
            (None, Some(_)) => Some("reported"),
            // Nothing was charged, so nobody counted.
            (None, None) => None,
        };
        let [input, output] = [input, output].map(|tokens| source.map(|_| tokens));
        assert_eq!((record["input_tokens"].as_u64(), record["output_tokens"].as_u64()), (input, output), "{row:?}");
        assert_eq!(record["usage_source"].as_str(), source, "{row:?}");
        assert!(record["overhead_us"].is_u64(), "{row:?}");
    }
}

#[tokio::test]
async fn details_of_a_report_are_counted_beside_their_totals() {
    let rig = Rig::new();
    let row = Row {
        ending: Ending::Whole,
        reported: Some(REPORTED),
        stream: true,
        came: Came::Text,
        charged: (70, 9),
        estimated: None,
    };
    run(&rig, row, Endpoint::ChatCompletions).await;
    for (kind, tokens) in [("input", 70.0), ("cached_input", 5.0), ("output", 9.0), ("reasoning", 2.0)] {
        let series = format!("tollgate_tokens_total{{tenant=\"acme\",route=\"*\",kind=\"{kind}\"}}");
        assert_eq!(rig.metric(&series), tokens, "{kind}");
    }
    let record = &rig.records()[0];
    assert_eq!((&record["cached_tokens"], &record["reasoning_tokens"]), (&5.into(), &2.into()));
}

#[tokio::test]
async fn what_generates_nothing_is_charged_its_input_alone_however_it_ends() {
    for (ending, came) in [
        (Ending::Whole, Came::Text),
        (Ending::Broken(Outcome::ClientGone), Came::Nothing),
        (Ending::Broken(Outcome::Timeout), Came::Text),
    ] {
        let rig = Rig::new();
        let row = Row { ending, reported: None, stream: false, came, charged: (100, 0), estimated: None };
        run(&rig, row, Endpoint::Embeddings).await;
        assert_eq!(rig.used(), (100, 1), "{row:?}");
    }
}

#[tokio::test]
async fn what_may_have_been_written_unseen_is_never_more_than_was_planned_for() {
    let rig = Rig::new();
    let (mut call, admission) = rig.admitted(Endpoint::ChatCompletions, true).await;
    let sent = rig.clock.now();
    rig.clock.advance(Duration::from_secs(3_600));
    call.note(|facts| {
        facts.estimate = Estimate { input: 100, output: 1_000, input_bytes: 400, answers: 1 };
        facts.sent = Some(sent);
    });
    call.end(Ending::Broken(Outcome::ClientGone));
    drop(admission);
    assert_eq!(rig.used().0, 1_100);
}

#[tokio::test]
async fn what_was_never_sent_is_not_charged_at_all_not_even_the_request() {
    for ending in [
        Ending::NeverSent(Outcome::Refused),
        Ending::NeverSent(Outcome::UpstreamError),
        Ending::Broken(Outcome::ClientGone),
    ] {
        let rig = Rig::new();
        let (mut call, admission) = rig.admitted(Endpoint::ChatCompletions, false).await;
        assert_eq!(rig.used().1, 1);
        call.end(ending);
        drop(admission);
        assert_eq!(rig.used(), (0, 0), "{ending:?}");
        let record = &rig.records()[0];
        assert!(record["input_tokens"].is_null() && record["usage_source"].is_null(), "{record}");
    }
}

#[tokio::test]
async fn what_was_reserved_is_settled_given_back_or_forgone_to_the_token() {
    for usage in [0, 1, 500, 1_100, 1_101, 40_000] {
        let rig = Rig::new();
        let (mut call, admission) = rig.admitted(Endpoint::ChatCompletions, false).await;
        let reserved = rig.metric("tollgate_tokens_reserved_total{tenant=\"acme\"}");
        let now = rig.clock.now();
        call.note(|facts| {
            facts.sent = Some(now);
            facts.reading.usage = Some(Usage { input: usage, ..Usage::default() });
        });
        call.end(Ending::Whole);
        drop(admission);
        let of = |word: &str| rig.metric(&format!("tollgate_tokens_{word}_total{{tenant=\"acme\"}}"));
        assert!(reserved >= 1_000.0);
        assert_eq!(usage as f64 + of("given_back") + of("forgone") - of("overrun"), reserved, "{usage}");
        assert_eq!(rig.used().0, usage);
    }
}

#[tokio::test]
async fn only_whole_answers_with_a_report_teach_anything() {
    for (ending, reported, teaches) in [
        (Ending::Whole, Some(REPORTED), true),
        (Ending::Whole, None, false),
        (Ending::Broken(Outcome::ClientGone), Some(REPORTED), false),
        (Ending::UpstreamRefused(InputCharge::None), Some(REPORTED), false),
    ] {
        let rig = Rig::new();
        for _ in 0..20 {
            let row = Row { ending, reported, stream: true, came: Came::Text, charged: (0, 0), estimated: None };
            run(&rig, row, Endpoint::ChatCompletions).await;
        }
        let learned = rig.tenant.learned.of(&rig.matched.pattern).output_p90(rig.clock.now());
        assert_eq!(learned.is_some(), teaches, "{ending:?} {reported:?}");
    }
}

async fn sent(rig: &Rig) -> Call {
    let (mut call, admission) = rig.admitted(Endpoint::ChatCompletions, true).await;
    let now = rig.clock.now();
    call.note(|facts| {
        facts.sent = Some(now);
        facts.reading.usage = Some(REPORTED);
    });
    drop(admission);
    call
}

#[tokio::test]
async fn a_dropped_call_is_settled_by_the_task_once_and_not_before() {
    let mut rig = Rig::new();
    let task = tokio::spawn(rig.task().run());
    let call = sent(&rig).await;
    let reserved = rig.used().0;
    drop(call);
    assert_eq!(rig.used().0, reserved, "the task has not run yet");
    rig.services.settling.flush().await;
    assert_eq!(rig.used(), (79, 1));
    rig.services.settling.flush().await;
    let records = rig.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["outcome"], "client_gone");
    task.abort();
}

#[tokio::test]
async fn a_call_that_ended_is_not_settled_again_by_its_drop_or_a_second_end() {
    let mut rig = Rig::new();
    let task = tokio::spawn(rig.task().run());
    let mut call = sent(&rig).await;
    call.end(Ending::Whole);
    call.end(Ending::Broken(Outcome::Timeout));
    drop(call);
    rig.services.settling.flush().await;
    assert_eq!(rig.used(), (79, 1));
    let records = rig.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["outcome"], "ok");
    task.abort();
}

#[tokio::test]
async fn a_panic_is_settled_as_our_fault() {
    let mut rig = Rig::new();
    let task = rig.task();
    let call = sent(&rig).await;
    let unwound = tokio::spawn(async move {
        let _call = call;
        panic!("on purpose");
    });
    assert!(unwound.await.unwrap_err().is_panic());
    let task = tokio::spawn(task.run());
    rig.services.settling.flush().await;
    assert_eq!(rig.used(), (79, 1));
    assert_eq!(rig.records()[0]["outcome"], "internal_error");
    task.abort();
}

#[tokio::test]
async fn a_full_queue_loses_nothing() {
    let (send, receive) = mpsc::channel(1);
    let rig = Rig::with_queue(SettleQueue { jobs: send });
    let calls = [sent(&rig).await, sent(&rig).await, sent(&rig).await];
    drop(calls);
    let open = |rig: &Rig| rig.metric("tollgate_reservations{tenant=\"acme\"}");
    assert_eq!(open(&rig), 1.0, "one waits in the queue, two were settled where they arose");
    let task = tokio::spawn(SettleTask { jobs: receive }.run());
    rig.services.settling.flush().await;
    assert_eq!(open(&rig), 0.0);
    // The first taken was settled last: what others gave back after its take is forgone (3-limits.md, "The promise").
    let forgone = rig.metric("tollgate_tokens_forgone_total{tenant=\"acme\"}") as u64;
    assert_eq!(rig.used(), (3 * 79 + forgone, 3));
    assert_eq!(rig.records().len(), 3);
    task.abort();
}

#[tokio::test]
async fn a_queue_whose_task_is_gone_loses_nothing() {
    let mut rig = Rig::new();
    let call = sent(&rig).await;
    drop(rig.task());
    drop(call);
    assert_eq!(rig.used(), (79, 1));
    rig.services.settling.flush().await;
    assert_eq!(rig.records().len(), 1);
}

#[tokio::test]
async fn what_need_not_wait_is_settled_at_once_and_what_must_is_settled_by_the_task_before_a_flush_returns() {
    let (queue, task) = SettleQueue::new();
    let done = Arc::new(AtomicUsize::new(0));
    let count = || {
        let done = Arc::clone(&done);
        async move {
            done.fetch_add(1, Ordering::SeqCst);
        }
    };
    queue.finish(count());
    assert_eq!(done.load(Ordering::SeqCst), 1);

    let (release, released) = oneshot::channel::<()>();
    let counted = count();
    queue.finish(async move {
        let _ = released.await;
        counted.await;
    });
    queue.enqueue(count());
    let task = tokio::spawn(task.run());
    let mut flush = Box::pin(queue.flush());
    for _ in 0..10 {
        tokio::task::yield_now().await;
        assert!(flush.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!(done.load(Ordering::SeqCst), 1, "settled in order: the second waits, so does the third");
    release.send(()).unwrap();
    flush.await;
    assert_eq!(done.load(Ordering::SeqCst), 3);
    task.abort();
}

/// Ends a call of an endpoint 4 s after it was sent, with `read` of its answer; gives the record.
async fn ended(
    endpoint: Endpoint,
    ending: Ending,
    came: bool,
    answers: u64,
    read: crate::gateway::call::Reading,
) -> (Rig, serde_json::Value) {
    let rig = Rig::new();
    let (mut call, admission) = rig.admitted(endpoint, false).await;
    let sent = rig.clock.now();
    rig.clock.advance(Duration::from_secs(4));
    let now = rig.clock.now();
    call.note(|facts| {
        facts.estimate = Estimate { input: 100, output: 0, input_bytes: 400, answers };
        facts.sent = Some(sent);
        facts.first_byte = came.then_some(now);
        facts.reading = read;
    });
    call.end(ending);
    drop((call, admission));
    let record = rig.records().remove(0);
    (rig, record)
}

#[tokio::test]
async fn calls_whose_answers_have_no_tokens_are_charged_by_their_kind_and_marked() {
    use crate::gateway::call::Reading;
    use crate::usage::Details;
    let nothing = Reading::default;
    let text = |text_bytes| Reading { text_bytes, ..Reading::default() };
    let with = |details| Reading { details: Some(Box::new(details)), ..Reading::default() };
    let sound = |audio_millis| with(Details { audio_millis, ..Details::default() });
    let images = |images| with(Details { images, ..Details::default() });
    let gone = Ending::Broken(Outcome::ClientGone);
    for (endpoint, ending, came, answers, read, charged, why) in [
        (Endpoint::Speech, Ending::Whole, true, 1, nothing(), (100, 100), "by_table"),
        (Endpoint::Speech, Ending::Whole, true, 1, sound(2_500), (100, 50), "by_table"),
        (Endpoint::Speech, gone, true, 1, sound(1_000), (100, 20), "client_gone"),
        (Endpoint::Speech, gone, false, 1, nothing(), (100, 100), "client_gone"),
        (Endpoint::Transcriptions, Ending::Whole, true, 1, sound(2_000), (40, 0), "by_table"),
        (Endpoint::Transcriptions, Ending::Whole, true, 1, text(80), (100, 20), "not_reported"),
        (Endpoint::Translations, Ending::Whole, true, 1, text(80), (100, 0), "by_table"),
        (Endpoint::Moderations, Ending::Whole, true, 1, nothing(), (100, 0), "by_table"),
        (Endpoint::Rerank, Ending::Whole, true, 1, nothing(), (100, 0), "by_table"),
        (Endpoint::Embeddings, Ending::Whole, true, 1, nothing(), (100, 0), "not_reported"),
        (Endpoint::ImageGenerations, Ending::Whole, true, 4, images(3), (100, 3_600), "by_table"),
        (Endpoint::ImageEdits, Ending::Whole, true, 4, nothing(), (100, 4_800), "by_table"),
        (Endpoint::ImageVariations, gone, true, 1, nothing(), (100, 1_200), "client_gone"),
        // Before any byte: what 4 s at 50 tokens a second can have made.
        (Endpoint::ImageGenerations, gone, false, 1, nothing(), (100, 200), "client_gone"),
        (Endpoint::Moderations, Ending::Broken(Outcome::Timeout), false, 1, nothing(), (100, 0), "timeout"),
    ] {
        let (rig, record) = ended(endpoint, ending, came, answers, read).await;
        let what = format!("{endpoint:?} {ending:?}: {record}");
        let told = (record["input_tokens"].as_u64().unwrap(), record["output_tokens"].as_u64().unwrap());
        assert_eq!((told, &record["usage_source"]), (charged, &"estimated".into()), "{what}");
        assert_eq!(rig.used(), (charged.0 + charged.1, 1), "{what}");
        let path = endpoint.path();
        let series = format!("tollgate_usage_estimated_total{{endpoint=\"{path}\",reason=\"{why}\"}}");
        assert_eq!(rig.metric(&series), 1.0, "{what}");
    }
}

#[tokio::test]
async fn counting_tokens_costs_a_request_and_no_tokens_and_is_not_amiss() {
    for ending in [Ending::Whole, Ending::Broken(Outcome::ClientGone), Ending::Broken(Outcome::Timeout)] {
        for came in [false, true] {
            let read = crate::gateway::call::Reading::default();
            let (rig, record) = ended(Endpoint::InputTokens, ending, came, 1, read).await;
            assert_eq!(rig.used(), (0, 1), "{ending:?}");
            assert!(record["input_tokens"].is_null() && record["usage_source"].is_null(), "{record}");
            let metrics = rig.services.metrics.render();
            for counter in ["tollgate_usage_estimated_total{", "tollgate_unmetered_responses_total{"] {
                assert!(!metrics.contains(counter), "{ending:?} {counter}");
            }
        }
    }
    let reported = crate::gateway::call::Reading { usage: Some(REPORTED), ..Default::default() };
    let (rig, _) = ended(Endpoint::InputTokens, Ending::Whole, true, 1, reported).await;
    assert_eq!(rig.used(), (79, 1), "a report is believed all the same");
}
