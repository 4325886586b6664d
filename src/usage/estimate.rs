//! Says how many tokens a piece of a call probably took, where the upstream does not say it.
//!
//! Must not know how the bytes were counted or how the ratio was learned.

/// What an image or a file in a request is charged as, in tokens, whatever its size (3-limits.md, "How much to reserve").
pub const TOKENS_PER_ATTACHMENT: u64 = 1_200;

/// What a generated image is charged as, in tokens, where its answer carries no usage.
pub const TOKENS_PER_IMAGE_OUT: u64 = 1_200;

/// What a second of sound is charged as, in tokens, where its answer carries no usage.
pub const TOKENS_PER_SECOND_OF_SOUND: u64 = 20;

/// Bytes of text per token before anything was learned.
pub const START_BYTES_PER_TOKEN: f64 = 4.0;

/// `bytes` of decoded text in tokens, to the nearest whole one; at least 1 for any text at all. A ratio that is no
/// positive number counts as [`START_BYTES_PER_TOKEN`].
#[must_use]
pub fn tokens(bytes: u64, bytes_per_token: f64) -> u64 {
    if bytes == 0 {
        return 0;
    }
    let is_usable = bytes_per_token.is_finite() && bytes_per_token > 0.0;
    let ratio = if is_usable { bytes_per_token } else { START_BYTES_PER_TOKEN };
    // The cast saturates.
    ((bytes as f64 / ratio).round() as u64).max(1)
}

/// Sound of so many milliseconds in tokens; a part of one counts whole.
#[must_use]
pub fn tokens_of_sound(millis: u64) -> u64 {
    millis.saturating_mul(TOKENS_PER_SECOND_OF_SOUND).div_ceil(1_000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_rounded_to_the_nearest_token_and_never_free() {
        assert_eq!(tokens(0, 4.0), 0);
        assert_eq!(tokens(1, 4.0), 1);
        assert_eq!(tokens(5, 4.0), 1);
        assert_eq!(tokens(6, 4.0), 2);
        assert_eq!(tokens(4_000_000_000, 4.0), 1_000_000_000);
        assert_eq!(tokens(u64::MAX, f64::MIN_POSITIVE), u64::MAX);
    }

    #[test]
    fn a_second_of_sound_is_twenty_tokens_and_a_part_of_a_token_is_one() {
        assert_eq!([0, 1, 50, 51, 2_000].map(tokens_of_sound), [0, 1, 1, 2, 40]);
        assert_eq!(tokens_of_sound(u64::MAX), u64::MAX.div_ceil(1_000));
    }

    #[test]
    fn a_ratio_that_is_none_is_the_start_ratio() {
        for ratio in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(tokens(400, ratio), 100);
        }
    }

    proptest! {
        #[test]
        fn more_text_is_never_fewer_tokens(bytes: u64, more: u64, ratio in 2.0f64..12.0) {
            prop_assert!(tokens(bytes, ratio) <= tokens(bytes.saturating_add(more), ratio));
        }
    }
}
