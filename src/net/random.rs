//! Gives jitter and request ids their randomness; a test gives it a seed.
//!
//! Not for keys: what comes from here is unpredictable to clients, and no more than that.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A generator that threads share (SplitMix64 over a counter).
#[derive(Debug)]
pub struct Random {
    state: AtomicU64,
    stream: u64,
}

impl Random {
    /// Seeded by the operating system; by the clock where that fails.
    #[must_use]
    pub fn from_system() -> Self {
        let seed = getrandom::u64().unwrap_or_else(|_| clock_seed());
        let stream = getrandom::u64().unwrap_or_else(|_| clock_seed());
        Random { state: AtomicU64::new(seed), stream }
    }

    /// Always the same numbers, for tests.
    #[must_use]
    pub const fn from_seed(seed: u64) -> Self {
        Random { state: AtomicU64::new(seed), stream: seed }
    }

    /// The next number.
    pub fn next(&self) -> u64 {
        let step = self.state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        mix(step)
    }

    /// A wait, lengthened by up to a tenth, or by up to 250 ms where that is more. Never shortened.
    pub fn jittered(&self, wait: Duration) -> Duration {
        let most = (wait / 10).max(Duration::from_millis(250));
        let part = u32::try_from(self.next() >> 32).unwrap_or(0);
        wait.saturating_add(most.mul_f64(f64::from(part) / f64::from(u32::MAX)))
    }

    /// An id such as `req_` and 32 hexadecimal digits: unique over processes but for chance.
    pub fn request_id(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let low = self.next();
        let number = u128::from(mix(self.stream ^ low.rotate_left(17))) << 64 | u128::from(low);
        let mut id = String::with_capacity(36);
        id.push_str("req_");
        for shift in (0..32).rev() {
            id.push(char::from(DIGITS[(number >> (shift * 4)) as usize & 15]));
        }
        id
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn clock_seed() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    mix(since.as_nanos() as u64 ^ u64::from(std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_only_lengthens_and_by_no_more_than_a_tenth_or_a_quarter_of_a_second() {
        let random = Random::from_seed(7);
        for _ in 0..1_000 {
            let short = random.jittered(Duration::from_millis(10));
            assert!(short >= Duration::from_millis(10) && short <= Duration::from_millis(260), "{short:?}");
            let long = random.jittered(Duration::from_secs(60));
            assert!(long >= Duration::from_secs(60) && long <= Duration::from_secs(66), "{long:?}");
        }
    }

    #[test]
    fn request_ids_do_not_repeat() {
        let random = Random::from_seed(7);
        let ids: std::collections::HashSet<String> = (0..10_000).map(|_| random.request_id()).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.len() == 36 && id.starts_with("req_")));
    }
}
