//! Learns what a tenant's calls on a route are like, so that the next one is estimated and reserved by it.
//!
//! Must not know limits, bodies or dialects: it is told sizes and times, and asked for ratios.
//!
//! Writers share a short mutex; what readers ask for is published in atomics after each observation. Old samples fade by a factor of e
//! an hour, but never below the weight of 20, so that one odd call after a quiet night does not speak alone. As all samples of a
//! statistic fade alike, its value stands still between observations.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use crate::net::clock::Moment;

/// Patterns that have statistics of their own; the others of a tenant share one.
const MOST_PATTERNS: usize = 64;
/// Fewer samples than this teach nothing.
const LEAST_SAMPLES: u32 = 20;
/// Samples fade by a factor of e in this time.
const FADE: Duration = Duration::from_secs(3_600);
/// Bytes per token before enough was seen.
const START_RATIO: f64 = 4.0;
/// Learned bytes per token stay within these.
const RATIOS: (f64, f64) = (2.0, 12.0);
/// Output tokens a second before enough was seen: a common speed of hosted models.
const START_SPEED: f64 = 50.0;
/// Learned speeds stay within these.
const SPEEDS: (f64, f64) = (1.0, 10_000.0);
/// Stands for "too few answers" where the 90th percentile is published.
const UNKNOWN: u64 = u64::MAX;
/// Weights are brought back to 1 beyond this.
const LARGEST_WEIGHT: f64 = 1e12;

/// What one answer was like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Bytes of the input's text; 0 where unknown, as with images.
    pub input_bytes: u64,
    /// Input tokens as the upstream counted them.
    pub input_tokens: u64,
    /// Bytes of the generated text; 0 where unknown.
    pub output_bytes: u64,
    /// Output tokens as the upstream counted them.
    pub output_tokens: u64,
    /// Time that the upstream took to generate; zero where unknown.
    pub output_time: Duration,
}

/// Of so many answers in one piece, the text of one is counted: bytes a token change slowly.
const EVERY: u64 = 8;

/// The statistics of one tenant, by route pattern.
#[derive(Debug, Default)]
pub struct LearnedTable {
    by_pattern: RwLock<HashMap<Arc<str>, Arc<Learned>, foldhash::fast::RandomState>>,
    overflow: OnceLock<Arc<Learned>>,
}

/// What was learned of one tenant on one route pattern.
#[derive(Debug)]
pub struct Learned {
    samples: Mutex<Samples>,
    bytes_per_input_token: AtomicU64,
    bytes_per_output_token: AtomicU64,
    output_p90: AtomicU64,
    output_tokens_per_second: AtomicU64,
    asked: AtomicU64,
}

#[derive(Debug)]
struct Samples {
    /// When the last one came.
    latest: Moment,
    /// What a sample weighs now. It rises where the old ones should fade.
    weight: f64,
    input: Ratio,
    output: Ratio,
    speed: Ratio,
    lengths: Lengths,
}

/// A quotient of weighted sums.
#[derive(Clone, Copy, Debug, Default)]
struct Ratio {
    above: f64,
    below: f64,
    samples: u32,
}

impl LearnedTable {
    /// A table in which nothing was learned yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The statistics of a route pattern. At most 64 patterns have their own; those that come later share one.
    #[must_use]
    pub fn of(&self, pattern: &Arc<str>) -> Arc<Learned> {
        let known = self.by_pattern.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(learned) = known.get(pattern) {
            return Arc::clone(learned);
        }
        if known.len() >= MOST_PATTERNS {
            return self.shared();
        }
        drop(known);
        let mut known = self.by_pattern.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_PATTERNS && !known.contains_key(pattern) {
            return self.shared();
        }
        Arc::clone(known.entry(Arc::clone(pattern)).or_default())
    }

    fn shared(&self) -> Arc<Learned> {
        Arc::clone(self.overflow.get_or_init(Arc::default))
    }
}

impl Default for Learned {
    fn default() -> Self {
        Learned {
            samples: Mutex::new(Samples {
                latest: Moment::ORIGIN,
                weight: 1.0,
                input: Ratio::default(),
                output: Ratio::default(),
                speed: Ratio::default(),
                lengths: Lengths::default(),
            }),
            bytes_per_input_token: AtomicU64::new(START_RATIO.to_bits()),
            bytes_per_output_token: AtomicU64::new(START_RATIO.to_bits()),
            output_p90: AtomicU64::new(UNKNOWN),
            output_tokens_per_second: AtomicU64::new(START_SPEED.to_bits()),
            asked: AtomicU64::new(0),
        }
    }
}

impl Learned {
    /// Bytes of input text per token: sum over sum, within [2, 12]; 4.0 until 20 samples were seen.
    #[must_use]
    pub fn bytes_per_input_token(&self, _now: Moment) -> f64 {
        f64::from_bits(self.bytes_per_input_token.load(Ordering::Relaxed))
    }

    /// Bytes of generated text per token: sum over sum, within [2, 12]; 4.0 until 20 samples were seen.
    #[must_use]
    pub fn bytes_per_output_token(&self, _now: Moment) -> f64 {
        f64::from_bits(self.bytes_per_output_token.load(Ordering::Relaxed))
    }

    /// The output tokens that 90 % of the answers stayed under, at most 5 % too high; `None` until 20 answers were seen.
    #[must_use]
    pub fn output_p90(&self, _now: Moment) -> Option<u64> {
        let tokens = self.output_p90.load(Ordering::Relaxed);
        (tokens != UNKNOWN).then_some(tokens)
    }

    /// Output tokens per second of generation, within [1, 10,000]; 50 until 20 samples were seen.
    #[must_use]
    pub fn output_tokens_per_second(&self, _now: Moment) -> f64 {
        f64::from_bits(self.output_tokens_per_second.load(Ordering::Relaxed))
    }

    /// Whether the text of the next answer is worth counting: always at first, then of every eighth answer.
    #[must_use]
    pub fn wants_text(&self) -> bool {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        asked.is_multiple_of(EVERY) || self.output_p90.load(Ordering::Relaxed) == UNKNOWN
    }

    /// Learns from one answer whose usage the upstream reported.
    pub fn observe(&self, seen: &Observed, now: Moment) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.fade_to(now);
        samples.add(seen);
        let publish = |to: &AtomicU64, value: f64| to.store(value.to_bits(), Ordering::Relaxed);
        publish(&self.bytes_per_input_token, samples.input.within(RATIOS).unwrap_or(START_RATIO));
        publish(&self.bytes_per_output_token, samples.output.within(RATIOS).unwrap_or(START_RATIO));
        publish(&self.output_tokens_per_second, samples.speed.within(SPEEDS).unwrap_or(START_SPEED));
        self.output_p90.store(samples.lengths.p90().unwrap_or(UNKNOWN), Ordering::Relaxed);
    }
}

impl Samples {
    fn fade_to(&mut self, now: Moment) {
        let elapsed = now.since(self.latest);
        self.latest = self.latest.max(now);
        let worth = self.lengths.total / self.weight;
        let least = f64::from(LEAST_SAMPLES);
        if worth <= least {
            return;
        }
        let fade = (-elapsed.as_secs_f64() / FADE.as_secs_f64()).exp();
        self.weight /= fade.max(least / worth);
        if self.weight > LARGEST_WEIGHT {
            self.rescale();
        }
    }

    fn rescale(&mut self) {
        let by = 1.0 / self.weight;
        for ratio in [&mut self.input, &mut self.output, &mut self.speed] {
            ratio.above *= by;
            ratio.below *= by;
        }
        self.lengths.rescale(by);
        self.weight = 1.0;
    }

    fn add(&mut self, seen: &Observed) {
        if seen.input_bytes > 0 && seen.input_tokens > 0 {
            self.input.add(as_f64(seen.input_bytes), as_f64(seen.input_tokens), self.weight);
        }
        if seen.output_bytes > 0 && seen.output_tokens > 0 {
            self.output.add(as_f64(seen.output_bytes), as_f64(seen.output_tokens), self.weight);
        }
        if !seen.output_time.is_zero() && seen.output_tokens > 0 {
            self.speed.add(as_f64(seen.output_tokens), seen.output_time.as_secs_f64(), self.weight);
        }
        // An answer without output, as of embeddings, says nothing of how long the others are.
        if seen.output_tokens > 0 {
            self.lengths.add(seen.output_tokens, self.weight);
        }
    }
}

impl Ratio {
    fn add(&mut self, above: f64, below: f64, weight: f64) {
        self.above += above * weight;
        self.below += below * weight;
        self.samples = self.samples.saturating_add(1);
    }

    /// `None` until enough was seen.
    fn within(&self, (least, most): (f64, f64)) -> Option<f64> {
        let enough = self.samples >= LEAST_SAMPLES && self.below > 0.0;
        enough.then(|| (self.above / self.below).clamp(least, most))
    }
}

/// Buckets of a histogram of lengths, each at most 5 % wide: 1.05^352 is above 20 million tokens.
const BUCKETS: usize = 352;
/// Buckets that share a partial sum, so that a percentile is found in 22 + 16 steps.
const GROUP: usize = 16;
/// Natural logarithm of a bucket's width.
const LN_WIDTH: f64 = 0.048_790_164_169_432;

/// A weighted histogram of answer lengths in tokens, on a logarithmic scale.
#[derive(Debug)]
struct Lengths {
    buckets: [f64; BUCKETS],
    groups: [f64; BUCKETS / GROUP],
    total: f64,
    samples: u32,
}

impl Default for Lengths {
    fn default() -> Self {
        Lengths { buckets: [0.0; BUCKETS], groups: [0.0; BUCKETS / GROUP], total: 0.0, samples: 0 }
    }
}

impl Lengths {
    fn add(&mut self, tokens: u64, weight: f64) {
        let index = bucket_of(tokens);
        if let (Some(bucket), Some(group)) = (self.buckets.get_mut(index), self.groups.get_mut(index / GROUP)) {
            *bucket += weight;
            *group += weight;
        }
        self.total += weight;
        self.samples = self.samples.saturating_add(1);
    }

    /// The upper edge of the bucket below which, itself included, 90 % of the weight lies.
    fn p90(&self) -> Option<u64> {
        if self.samples < LEAST_SAMPLES {
            return None;
        }
        let mut above = self.total * 0.1;
        let mut index = BUCKETS - 1;
        for &group in self.groups.iter().rev() {
            if group > above || index < GROUP {
                break;
            }
            above -= group;
            index -= GROUP;
        }
        while index > 0 {
            let bucket = self.buckets.get(index).copied().unwrap_or(0.0);
            if bucket > above {
                break;
            }
            above -= bucket;
            index -= 1;
        }
        Some(largest_of(index))
    }

    fn rescale(&mut self, by: f64) {
        self.buckets.iter_mut().chain(&mut self.groups).for_each(|sum| *sum *= by);
        self.total *= by;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a logarithm of a u64 is small and not negative"
)]
fn bucket_of(tokens: u64) -> usize {
    let index = as_f64(tokens.max(1)).ln() / LN_WIDTH;
    (index as usize).min(BUCKETS - 1)
}

/// The largest number of tokens that falls into a bucket.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the largest edge is below 2^25")]
fn largest_of(index: usize) -> u64 {
    let edge = (as_f64(index as u64 + 1) * LN_WIDTH).exp();
    (edge.ceil() as u64).saturating_sub(1).max(1)
}

#[expect(clippy::cast_precision_loss, reason = "sizes and counts; 53 bits are enough for a ratio")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
