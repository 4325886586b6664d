//! What must hold of `record`.

use super::*;

fn record() -> UsageRecord<'static> {
    UsageRecord {
        time: 1_790_000_000_007,
        id: "req-1",
        tenant: "acme",
        key: Some("laptop"),
        route: Some("gpt-*"),
        model: Some("gpt-x"),
        served_model: Some("gpt-x-2026-01-01"),
        upstream: Some("openai"),
        endpoint: "chat/completions",
        stream: true,
        status: Some(200),
        outcome: Outcome::Ok,
        attempts: 1,
        input_tokens: Some(19),
        cached_tokens: Some(0),
        output_tokens: Some(7),
        reasoning_tokens: Some(0),
        usage_source: Some(Source::Reported),
        cost_usd: Usd::parse("0.000125"),
        price_version: Some("2026-11"),
        first_byte_ms: Some(12),
        duration_ms: 340,
        overhead_us: Some(45),
        bytes_in: 214,
        bytes_out: 1644,
        tag: None,
    }
}

fn line(record: &UsageRecord<'_>) -> String {
    let mut lines = Vec::new();
    record.write(&mut lines);
    String::from_utf8(lines).unwrap()
}

#[test]
fn a_record_is_one_line_with_its_keys_in_the_documented_order() {
    let expected = concat!(
        r#"{"time":"2026-09-21T14:13:20.007Z","id":"req-1","tenant":"acme","key":"laptop","route":"gpt-*","model":"gpt-x","#,
        r#""served_model":"gpt-x-2026-01-01","upstream":"openai","endpoint":"chat/completions","stream":true,"status":200,"#,
        r#""outcome":"ok","attempts":1,"input_tokens":19,"cached_tokens":0,"output_tokens":7,"reasoning_tokens":0,"#,
        r#""usage_source":"reported","cost_usd":0.000125,"price_version":"2026-11","first_byte_ms":12,"duration_ms":340,"#,
        r#""overhead_us":45,"bytes_in":214,"bytes_out":1644}"#,
        "\n"
    );
    assert_eq!(line(&record()), expected);
}

#[test]
fn what_is_not_known_is_null() {
    let refused = UsageRecord {
        key: None,
        route: None,
        model: None,
        served_model: None,
        upstream: None,
        status: None,
        input_tokens: None,
        usage_source: None,
        cost_usd: None,
        ..record()
    };
    let json: serde_json::Value = serde_json::from_str(&line(&refused)).unwrap();
    for key in
        ["key", "route", "model", "served_model", "upstream", "status", "input_tokens", "usage_source", "cost_usd"]
    {
        assert!(json.as_object().unwrap()[key].is_null(), "{key}");
    }
}

#[test]
fn names_from_outside_cannot_break_the_line() {
    let hostile = "a\"}\n{\"tenant\":\"other\u{0}\u{2028}\\";
    let line = line(&UsageRecord { model: Some(hostile), ..record() });
    assert_eq!(line.matches('\n').count(), 1);
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((json["model"].as_str(), json["tenant"].as_str()), (Some(hostile), Some("acme")));
}

#[test]
fn a_cost_has_all_its_digits_and_a_tag_stands_last() {
    let cost_usd = Usd::parse("0.000000000000000000000001");
    let line = line(&UsageRecord { cost_usd, tag: Some("a\"b"), ..record() });
    assert!(line.contains(r#""cost_usd":0.000000000000000000000001,"#), "{line}");
    assert!(line.ends_with("\"bytes_out\":1644,\"tag\":\"a\\\"b\"}\n"), "{line}");
}

#[test]
fn records_are_appended() {
    let mut lines = Vec::new();
    record().write(&mut lines);
    record().write(&mut lines);
    assert_eq!(lines.iter().filter(|&&byte| byte == b'\n').count(), 2);
}

#[test]
fn the_time_has_three_decimals_and_stays_in_the_calendar() {
    let time = |millis| {
        let mut text = Vec::new();
        super::time(&mut text, millis);
        String::from_utf8(text).unwrap()
    };
    assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
    assert_eq!(time(1_790_000_000_999), "2026-09-21T14:13:20.999Z");
    assert!(time(i64::MAX).starts_with("9999-12-30") || time(i64::MAX).starts_with("9999-12-31"));
    assert!(time(i64::MIN).starts_with("-009999"));
}

#[test]
fn outcomes_are_written_as_they_are_labelled() {
    for outcome in [
        Outcome::Ok,
        Outcome::ClientGone,
        Outcome::UpstreamError,
        Outcome::UpstreamTruncated,
        Outcome::Timeout,
        Outcome::Refused,
        Outcome::InternalError,
    ] {
        let json: serde_json::Value = serde_json::from_str(&line(&UsageRecord { outcome, ..record() })).unwrap();
        assert_eq!(json["outcome"], outcome.as_str());
    }
}
