//! The grammars, by example and by property.

use proptest::prelude::*;

use super::*;

#[test]
fn numbers_are_whole_however_they_are_written() {
    for (text, value) in [
        ("0", Some(0)),
        ("12", Some(12)),
        ("12_000", Some(12_000)),
        ("12k", Some(12_000)),
        ("1.5M", Some(1_500_000)),
        ("1.5k", Some(1_500)),
        ("10000M", Some(10_000_000_000)),
        ("18446744073709551615", Some(u64::MAX)),
        ("18446744073709551616", None),
        ("18446744073709551615k", None),
        ("1.5", None),
        ("1.0001k", None),
        ("1.", None),
        (".5M", None),
        ("1__0", None),
        ("_1", None),
        ("1_", None),
        ("-1", None),
        ("+1", None),
        (" 1", None),
        ("", None),
        ("k", None),
        ("1e3", None),
        ("12K", None),
        ("١٢", None),
    ] {
        assert_eq!(number(text).ok(), value, "{text}");
    }
}

#[test]
fn sizes_have_binary_units() {
    for (text, value) in [
        ("64KiB", Some(65_536)),
        ("32MiB", Some(32 << 20)),
        ("1GiB", Some(1 << 30)),
        ("1.5KiB", Some(1_536)),
        ("512B", Some(512)),
        ("512", Some(512)),
        ("64KB", None),
        ("64 KiB", None),
        ("99999999999999GiB", None),
    ] {
        assert_eq!(size(text).ok(), value, "{text}");
    }
    assert_eq!(size("64mb").unwrap_err().hint.unwrap(), "did you mean \"64MiB\"?");
}

#[test]
fn durations_name_their_unit() {
    for (text, millis) in [
        ("250ms", Some(250)),
        ("30s", Some(30_000)),
        ("10m", Some(600_000)),
        ("1h", Some(3_600_000)),
        ("0s", Some(0)),
        ("30", None),
        ("1.5s", None),
        ("1h30m", None),
        ("99999999999h", None),
        ("-1s", None),
    ] {
        assert_eq!(duration(text).ok(), millis.map(Duration::from_millis), "{text}");
    }
    assert_eq!(duration("30").unwrap_err().hint.unwrap(), "did you mean \"30s\"?");
    assert_eq!(duration("5min").unwrap_err().hint.unwrap(), "did you mean \"5m\"?");
}

#[test]
fn a_rate_without_burst_holds_a_minutes_amount_or_a_tenth_of_a_longer_periods() {
    for (text, amount, period, burst) in [
        ("600/min", 600, Period::Minute, 600),
        ("200k/min", 200_000, Period::Minute, 200_000),
        ("10/s", 10, Period::Second, 10),
        ("5k/day burst 500", 5_000, Period::Day, 500),
        ("5k/day", 5_000, Period::Day, 500),
        ("11/h", 11, Period::Hour, 2),
        ("1/h", 1, Period::Hour, 1),
        ("10/h  burst  10", 10, Period::Hour, 10),
        ("10000M/min", 10_000_000_000, Period::Minute, 10_000_000_000),
        ("1000M/h", 1_000_000_000, Period::Hour, 100_000_000),
    ] {
        assert_eq!(rate(text), Ok(Quota { amount, period, burst }), "{text}");
    }
}

#[test]
fn rates_that_mean_nothing_are_refused_with_what_was_meant() {
    for (text, hint) in [
        ("600", Some("did you mean \"600/min\"?")),
        ("600/m", Some("did you mean \"600/min\"?")),
        ("600/d", Some("did you mean \"600/day\"?")),
        ("600/fortnight", None),
        ("0/min", Some("leave the limit out to have none")),
        ("10/min burst 0", Some("a bucket that holds nothing admits no call")),
        ("10/min bursts 5", Some("after the period only `burst N` may follow")),
        ("10/min burst", Some("after the period only `burst N` may follow")),
        ("10/min burst 5 6", None),
        ("10001M/min", None),
        ("166666667/s", None),
        ("10/min burst 100000001M", None),
        ("", None),
        ("/min", None),
        ("10 / min", Some("did you mean \"10/min\"?")),
    ] {
        let misread = rate(text).unwrap_err();
        assert_eq!(misread.hint.as_deref(), hint, "{text}");
    }
}

#[test]
fn a_day_is_its_midnight_in_utc() {
    assert_eq!(day("1970-01-02"), Ok(86_400));
    assert_eq!(day("2027-01-01"), Ok(1_798_761_600));
    for text in ["2027-02-29", "2027-1-1", "tomorrow", "2027-01-01T00:00:00", "+002027-01-01", ""] {
        assert!(day(text).is_err(), "{text}");
    }
}

fn quotas() -> impl Strategy<Value = Quota> {
    let amounts = prop_oneof![1..=10_000_u64, 1..=MOST_PER_MINUTE, (1..=10_000_u64).prop_map(|n| n * 1_000)];
    (amounts, 0..4_usize, prop_oneof![Just(None), (1..=LARGEST_BURST).prop_map(Some)]).prop_map(
        |(amount, period, burst)| {
            let period = PERIODS[period];
            let most = MOST_PER_MINUTE.saturating_mul(period.length().as_secs()) / 60;
            let amount = amount.min(most);
            Quota { amount, period, burst: burst.unwrap_or(Quota::default_burst(amount, period)) }
        },
    )
}

proptest! {
    #[test]
    fn a_printed_rate_reads_back(quota in quotas()) {
        prop_assert_eq!(rate(&print_rate(&quota)), Ok(quota));
    }

    #[test]
    fn a_printed_number_reads_back(value: u64) {
        prop_assert_eq!(number(&print_number(value)), Ok(value));
    }

    #[test]
    fn a_printed_size_reads_back(value: u64, shift in 0..40_u32) {
        let value = value << shift;
        prop_assert_eq!(size(&print_size(value)), Ok(value));
    }

    #[test]
    fn a_printed_duration_reads_back(millis in 0..=31_622_400_000_u64) {
        let length = Duration::from_millis(millis);
        prop_assert_eq!(duration(&print_duration(length)), Ok(length));
    }

    #[test]
    fn a_printed_day_reads_back(day_number in 0..=2_900_000_i64) {
        prop_assert_eq!(day(&print_day(day_number * 86_400)), Ok(day_number * 86_400));
    }

    #[test]
    fn no_text_breaks_a_grammar(text in "\\PC{0,40}|[0-9._kMBiGsmhday/ burst]{0,24}") {
        let _ = (number(&text), size(&text), duration(&text), day(&text));
        if let Ok(quota) = rate(&text) {
            prop_assert!(quota.amount >= 1 && quota.burst >= 1 && !too_fast(quota.amount, quota.period));
        }
    }
}
