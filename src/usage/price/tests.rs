//! What must hold of `price`.

use super::*;
use crate::usage::{Details, Source, Tier, Usage};
use proptest::prelude::*;

fn price(text: &str) -> Option<Price> {
    Some(Price::parse(text).unwrap())
}

fn mini() -> Prices {
    Prices {
        input: price("0.25"),
        cached_input: price("0.025"),
        output: price("2.00"),
        tiers: vec![("flex".into(), Factor::parse("0.5").unwrap()), ("priority".into(), Factor::parse("2").unwrap())],
        ..Prices::default()
    }
}

/// What a call used, flat.
#[derive(Clone, Copy, Debug, Default)]
struct Amounts {
    input: u64,
    cached: u64,
    cache_write: u64,
    audio_input: u64,
    image_input: u64,
    output: u64,
    audio_output: u64,
    image_output: u64,
    millis: u64,
    images: u64,
    tier: Option<&'static str>,
}

impl Amounts {
    fn billed(self) -> Billed {
        let Amounts {
            input, cached, cache_write, audio_input, image_input, output, audio_output, image_output, ..
        } = self;
        Billed {
            usage: Usage { input, cached, output, reasoning: 0 },
            details: Details {
                cache_write,
                audio_input,
                image_input,
                audio_output,
                image_output,
                audio_millis: self.millis,
                images: self.images,
            },
            tier: self.tier.and_then(|tier| Tier::new(tier.as_bytes())),
            source: Some(Source::Reported),
        }
    }
}

fn cost(prices: &Prices, used: Amounts) -> String {
    prices.cost(&used.billed()).unwrap().to_string()
}

#[test]
fn a_call_costs_what_its_tokens_cost() {
    let used = Amounts { input: 19, output: 7, ..Amounts::default() };
    assert_eq!(cost(&mini(), used), "0.00001875");
    assert_eq!(cost(&mini(), Amounts { cached: 16, ..used }), "0.00001515");
    assert_eq!(cost(&mini(), Amounts::default()), "0");
    assert_eq!(cost(&mini(), Amounts { input: 1_000_000, output: 1_000_000, ..used }), "2.25");
}

#[test]
fn a_tier_multiplies_all_of_it_and_one_without_a_factor_nothing() {
    let used = Amounts { input: 1_000_000, ..Amounts::default() };
    for (tier, shown) in [("flex", "0.125"), ("priority", "0.5"), ("default", "0.25"), ("ultrafast", "0.25")] {
        assert_eq!(cost(&mini(), Amounts { tier: Some(tier), ..used }), shown, "{tier}");
    }
    let call = Prices { per_request: price("0.01"), ..mini() };
    assert_eq!(cost(&call, Amounts { tier: Some("flex"), ..used }), "0.13");
}

#[test]
fn a_part_has_its_own_price_or_that_of_the_whole() {
    let prices = Prices {
        cache_write: price("0.3125"),
        audio_input: price("10"),
        audio_output: price("20"),
        image_output: price("40"),
        ..mini()
    };
    let used = Amounts {
        input: 100,
        cached: 10,
        cache_write: 20,
        audio_input: 30,
        image_input: 5,
        output: 10,
        audio_output: 3,
        image_output: 2,
        ..Amounts::default()
    };
    // 10 · 0.025 + 20 · 0.3125 + 30 · 10 + (5 + 35) · 0.25 + 3 · 20 + 2 · 40 + 5 · 2
    assert_eq!(cost(&prices, used), "0.0004665");
    let plain = Prices { cached_input: None, ..mini() };
    assert_eq!(cost(&plain, Amounts { input: 100, cached: 40, audio_input: 50, ..Amounts::default() }), "0.000025");
}

#[test]
fn no_token_is_paid_twice_however_the_parts_overlap() {
    let prices = Prices { audio_input: price("10"), ..mini() };
    let used = Amounts { input: 10, cached: 8, audio_input: 8, ..Amounts::default() };
    assert_eq!(cost(&prices, used), "0.0000202");
    assert_eq!(cost(&prices, Amounts { cached: u64::MAX, ..used }), "0.00000025");
}

#[test]
fn seconds_images_and_calls_have_prices_and_tokens_need_none_then() {
    let sound = Prices { per_second: price("0.0001"), ..Prices::default() };
    let used = Amounts { input: 170, millis: 8_470, ..Amounts::default() };
    assert_eq!(cost(&sound, used), "0.000847");
    assert_eq!(sound.cost(&Amounts { millis: 0, ..used }.billed()), Err(Unpriced::Part));
    let images = Prices { per_image: price("0.04"), ..Prices::default() };
    assert_eq!(cost(&images, Amounts { input: 9, output: 2_400, images: 2, ..Amounts::default() }), "0.08");
    let call = Prices { per_request: price("0.001"), ..Prices::default() };
    assert_eq!(cost(&call, Amounts { input: 9, ..Amounts::default() }), "0.001");
}

#[test]
fn what_has_no_price_has_no_cost() {
    let input = Prices { input: price("0.02"), ..Prices::default() };
    assert_eq!(cost(&input, Amounts { input: 5, ..Amounts::default() }), "0.0000001");
    assert_eq!(input.cost(&Amounts { input: 5, output: 1, ..Amounts::default() }.billed()), Err(Unpriced::Part));
    let free = Prices { input: price("0"), output: price("0"), ..Prices::default() };
    assert_eq!(cost(&free, Amounts { input: 5, output: 1, ..Amounts::default() }), "0");
}

#[test]
fn prices_are_bounded_and_exact() {
    assert_eq!(Price::parse("0.000000000001").unwrap().to_string(), "0.000000000001");
    assert_eq!(Price::parse("1000000").unwrap().to_string(), "1000000");
    assert_eq!(Price::parse("0.0000000000001"), Err(Inexact::TooFine));
    assert_eq!(Price::parse("1000000.1"), Err(Inexact::TooLarge));
    assert_eq!(Price::parse("-1"), Err(Inexact::Negative));
    assert_eq!(Factor::parse("0.333333").unwrap().to_string(), "0.333333");
    assert_eq!(Factor::parse("1001"), Err(Inexact::TooLarge));
    assert_eq!(Factor::parse("0.3333333"), Err(Inexact::TooFine));
}

fn some_price() -> impl Strategy<Value = Option<Price>> {
    prop_oneof![1 => Just(None), 4 => (0..1_000_000_000_000_000_000_u64).prop_map(|parts| Some(Price(parts)))]
}

fn some_prices() -> impl Strategy<Value = Prices> {
    let parts = prop::array::uniform8(some_price());
    (some_price(), some_price(), parts, 0..1_000_000_000_u32).prop_map(|(input, output, parts, factor)| {
        let [cached_input, cache_write, audio_input, audio_output, image_input, image_output, per_image, per_second] =
            parts;
        let tiers = vec![("flex".into(), Factor(factor))];
        Prices {
            input,
            cached_input,
            cache_write,
            output,
            audio_input,
            audio_output,
            image_input,
            image_output,
            per_request: None,
            per_second,
            per_image,
            tiers,
        }
    })
}

fn some_amounts() -> impl Strategy<Value = Amounts> {
    let tokens = || 0..20_000_001_u64;
    let millis = prop_oneof![Just(0), 1..3_600_000_000_u64];
    (prop::array::uniform8(tokens()), millis, 0..5_u64, any::<bool>()).prop_map(|(numbers, millis, images, flex)| {
        let [input, cached, cache_write, audio_input, image_input, output, audio_output, image_output] = numbers;
        let tier = flex.then_some("flex");
        Amounts {
            input,
            cached,
            cache_write,
            audio_input,
            image_input,
            output,
            audio_output,
            image_output,
            millis,
            images,
            tier,
        }
    })
}

proptest! {
    #[test]
    fn the_cost_is_the_exact_sum_of_the_parts(prices in some_prices(), used in some_amounts()) {
        // In 10^-18 dollars, part by part, with signed arithmetic of another shape.
        let of = |tokens: i128, own: Option<Price>, base: Option<Price>| {
            if tokens == 0 { Some(0) } else { own.or(base).map(|price| tokens * i128::from(price.0)) }
        };
        let split = |total: u64, parts: &[u64]| -> Vec<i128> {
            let mut taken = 0_i128;
            parts.iter().map(|part| {
                let part = i128::from(*part).min(i128::from(total) - taken);
                taken += part;
                part
            }).collect()
        };
        let input = split(used.input, &[used.cached, used.cache_write, used.audio_input, used.image_input, u64::MAX]);
        let output = split(used.output, &[used.audio_output, used.image_output, u64::MAX]);
        let sums = [
            [(0, prices.cached_input), (1, prices.cache_write), (2, prices.audio_input), (3, prices.image_input), (4, None)]
                .map(|(place, own)| of(input[place], own, prices.input)).into_iter().sum::<Option<i128>>(),
            [(0, prices.audio_output), (1, prices.image_output), (2, None)]
                .map(|(place, own)| of(output[place], own, prices.output)).into_iter().sum::<Option<i128>>(),
        ];
        let mut pieces = None;
        for (price, amount) in [
            (prices.per_second, (used.millis > 0).then(|| i128::from(used.millis) * 1_000)),
            (prices.per_image, (used.images > 0).then(|| i128::from(used.images) * 1_000_000)),
        ] {
            if let (Some(price), Some(amount)) = (price, amount) {
                pieces = Some(pieces.unwrap_or(0) + amount * i128::from(price.0));
            }
        }
        let expected = match (sums, pieces) {
            ([Some(input), Some(output)], pieces) => Some(input + output + pieces.unwrap_or(0)),
            ([input, output], Some(pieces)) => Some(input.unwrap_or(0) + output.unwrap_or(0) + pieces),
            _ => None,
        };
        let factor = if used.tier.is_some() { u128::from(prices.tiers[0].1.0) } else { MILLION };
        let expected = expected.map(|sum| Usd::from_parts(u128::try_from(sum).unwrap().saturating_mul(factor)));
        prop_assert_eq!(prices.cost(&used.billed()).ok(), expected);
    }

    #[test]
    fn nothing_overflows(prices in some_prices(), numbers in prop::array::uniform8(any::<u64>())) {
        let [input, cached, cache_write, audio_input, image_input, output, sound, images] = numbers;
        let used = Amounts {
            input, cached, cache_write, audio_input, image_input, output, audio_output: output, image_output: output,
            millis: sound, images, tier: Some("flex"),
        };
        let _ = prices.cost(&used.billed());
    }

    #[test]
    fn a_sum_does_not_depend_on_its_order(
        parts in prop::collection::vec(0..10_u128.pow(36), 0..50),
        by in any::<u64>(),
    ) {
        let costs: Vec<Usd> = parts.into_iter().map(Usd::from_parts).collect();
        let sum = |costs: &[Usd]| costs.iter().fold(Usd::ZERO, |sum, cost| sum.saturating_add(*cost));
        let mut turned = costs.clone();
        turned.reverse();
        if !turned.is_empty() {
            let by = usize::try_from(by % turned.len() as u64).unwrap();
            turned.rotate_left(by);
        }
        prop_assert_eq!(sum(&costs), sum(&turned));
        // Millionths with their remainders carried are the same sum.
        let (mut micros, mut rest) = (0_u128, 0_u128);
        for cost in &costs {
            let (whole, part) = cost.micros();
            rest += u128::from(part);
            micros += u128::from(whole) + rest / u128::from(money::PARTS_PER_MICRO);
            rest %= u128::from(money::PARTS_PER_MICRO);
        }
        prop_assert_eq!(Usd::from_parts(micros * u128::from(money::PARTS_PER_MICRO) + rest), sum(&costs));
    }

    #[test]
    fn a_price_is_printed_as_it_is_read(parts in 0..=1_000_000_000_000_000_000_u64) {
        let price = Price(parts);
        prop_assert_eq!(Price::parse(&price.to_string()), Ok(price));
    }
}
