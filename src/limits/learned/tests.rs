//! What must hold of what is learned.

use proptest::prelude::*;

use super::*;
use crate::limits::testing::schedules;

const HOUR: Duration = Duration::from_secs(3_600);

fn chat(input_bytes: u64, input_tokens: u64, output_tokens: u64) -> Observed {
    Observed {
        input_bytes,
        input_tokens,
        output_bytes: output_tokens * 5,
        output_tokens,
        output_time: Duration::from_millis(output_tokens * 10),
    }
}

fn seen(count: usize, observed: &Observed, now: Moment) -> Learned {
    let learned = Learned::default();
    for _ in 0..count {
        learned.observe(observed, now);
    }
    learned
}

#[test]
fn nothing_is_learned_from_fewer_than_twenty_answers() {
    let now = Moment::ORIGIN;
    let learned = seen(19, &chat(300, 100, 50), now);
    assert_eq!(learned.bytes_per_input_token(now), 4.0);
    assert_eq!(learned.bytes_per_output_token(now), 4.0);
    assert_eq!(learned.output_tokens_per_second(now), 50.0);
    assert_eq!(learned.output_p90(now), None);
    learned.observe(&chat(300, 100, 50), now);
    assert_eq!(learned.bytes_per_input_token(now), 3.0);
    assert_eq!(learned.bytes_per_output_token(now), 5.0);
    assert_eq!(learned.output_tokens_per_second(now), 100.0);
    assert!(matches!(learned.output_p90(now), Some(50..=52)));
}

#[test]
fn ratios_are_quotients_of_sums_not_means_of_quotients() {
    let now = Moment::ORIGIN;
    let learned = seen(20, &chat(30, 10, 1), now);
    learned.observe(&chat(500_000, 100_000, 1), now);
    assert!((learned.bytes_per_input_token(now) - 500_600.0 / 100_200.0).abs() < 1e-9);
}

#[test]
fn ratios_stay_within_two_and_twelve() {
    let now = Moment::ORIGIN;
    assert_eq!(seen(20, &chat(1, 100, 1), now).bytes_per_input_token(now), 2.0);
    assert_eq!(seen(20, &chat(u64::MAX, 1, 1), now).bytes_per_input_token(now), 12.0);
}

#[test]
fn what_is_unknown_teaches_no_ratio() {
    let now = Moment::ORIGIN;
    let images = Observed { input_tokens: 9_000, output_tokens: 7, ..Observed::default() };
    let learned = seen(40, &images, now);
    assert_eq!(learned.bytes_per_input_token(now), 4.0);
    assert_eq!(learned.bytes_per_output_token(now), 4.0);
    assert_eq!(learned.output_tokens_per_second(now), 50.0);
    assert_eq!(learned.output_p90(now), Some(7));
}

#[test]
fn the_last_hours_outweigh_what_was_before() {
    let learned = seen(1_000, &chat(300, 100, 1_000), Moment::ORIGIN);
    let later = Moment::ORIGIN.plus(HOUR * 5);
    for _ in 0..400 {
        learned.observe(&chat(600, 100, 10), later);
    }
    assert!(learned.bytes_per_input_token(later) > 5.7);
    assert!(matches!(learned.output_p90(later), Some(10..=11)));
}

#[test]
fn one_odd_call_after_a_quiet_month_does_not_speak_alone() {
    let learned = seen(1_000, &chat(300, 100, 100), Moment::ORIGIN);
    let later = Moment::ORIGIN.plus(HOUR * 720);
    learned.observe(&chat(1_200, 100, 60_000), later);
    assert!(learned.bytes_per_input_token(later) < 3.6);
    assert!(matches!(learned.output_p90(later), Some(100..=105)));
}

#[test]
fn years_of_samples_stay_finite() {
    let learned = Learned::default();
    let mut now = Moment::ORIGIN;
    for _ in 0..5_000 {
        now = now.plus(HOUR * 3);
        learned.observe(&chat(300, 100, 100), now);
    }
    assert!((learned.bytes_per_input_token(now) - 3.0).abs() < 1e-6);
    assert!(matches!(learned.output_p90(now), Some(100..=105)));
}

#[test]
fn patterns_beyond_sixty_four_share_one_entry() {
    let table = LearnedTable::new();
    let patterns: Vec<Arc<str>> = (0..70).map(|number| Arc::from(format!("model-{number}"))).collect();
    let entries: Vec<_> = patterns.iter().map(|pattern| table.of(pattern)).collect();
    assert!(Arc::ptr_eq(&entries[0], &table.of(&patterns[0])));
    assert!(!Arc::ptr_eq(&entries[0], &entries[63]));
    assert!(!Arc::ptr_eq(&entries[63], &entries[64]));
    assert!(Arc::ptr_eq(&entries[64], &entries[69]));
    assert!(Arc::ptr_eq(&entries[69], &table.of(&patterns[68])));
}

proptest! {
    #![proptest_config(schedules())]

    #[test]
    fn the_percentile_is_right_to_five_percent(lengths in prop::collection::vec(0_u64..20_000_000, 20..200), small in 1_u32..20) {
        let learned = Learned::default();
        let mut lengths: Vec<u64> = lengths.iter().map(|length| (length >> small).max(1)).collect();
        for &output_tokens in &lengths {
            learned.observe(&Observed { output_tokens, ..Observed::default() }, Moment::ORIGIN);
        }
        lengths.sort_unstable();
        let told = learned.output_p90(Moment::ORIGIN).unwrap();
        let above = lengths.iter().filter(|&&length| length > told).count();
        prop_assert!(above * 10 <= lengths.len(), "{above} of {} are above {told}", lengths.len());
        // Of the ten per cent that may be above it, no more than rounding is left out.
        let exact = lengths[lengths.len() - 1 - lengths.len() / 10].max(1);
        prop_assert!(told >= exact && as_f64(told) <= as_f64(exact) * 1.05 + 1.0, "told {told}, exact {exact}");
    }
}

#[test]
fn answers_without_output_do_not_shorten_what_others_are_thought_to_need() {
    let learned = seen(20, &chat(100, 20, 500), Moment::ORIGIN);
    let before = learned.output_p90(Moment::ORIGIN);
    for _ in 0..1_000 {
        learned.observe(&chat(100, 20, 0), Moment::ORIGIN);
    }
    assert_eq!(learned.output_p90(Moment::ORIGIN), before);
}
