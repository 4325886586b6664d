//! Turns the numbers of one usage object, whatever its dialect calls them, into a [`Usage`], and tells which cannot be true.
//!
//! Must not know where in an answer the object stood, nor who sent it.

use super::{Details, Usage};

/// The most tokens that one call can have used; a larger number is a mistake of the upstream and is clamped to this.
pub const MOST_TOKENS: u64 = 20_000_000;

/// The longest sound that one call can have been about, in milliseconds: a thousand hours. Longer ones are clamped.
pub const MOST_MILLIS: u64 = 3_600_000_000;

/// What was wrong with a usage report. It was clamped, and should be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Anomaly {
    /// Below zero; read as 0.
    Negative,
    /// Above [`MOST_TOKENS`]; read as that.
    TooLarge,
    /// A number with a fraction or an exponent; the fraction is cut off.
    NotWhole,
    /// A string, list, object or boolean where a number belongs; a string of digits is read as the number, all else as 0.
    WrongType,
    /// More cached tokens than input, or more reasoning than output; clamped to the whole.
    DetailAboveTotal,
    /// `total_tokens` is not input plus output; the parts count.
    TotalDiffers,
}

impl Anomaly {
    const ALL: [Anomaly; 6] = [
        Anomaly::Negative,
        Anomaly::TooLarge,
        Anomaly::NotWhole,
        Anomaly::WrongType,
        Anomaly::DetailAboveTotal,
        Anomaly::TotalDiffers,
    ];

    /// The bounded word for the `reason` label of metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Anomaly::Negative => "negative",
            Anomaly::TooLarge => "too_large",
            Anomaly::NotWhole => "not_whole",
            Anomaly::WrongType => "wrong_type",
            Anomaly::DetailAboveTotal => "detail_above_total",
            Anomaly::TotalDiffers => "total_differs",
        }
    }
}

/// Which kinds of [`Anomaly`] one answer showed; each kind counts once an answer, however often it came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Anomalies(u8);

impl Anomalies {
    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds seen, the gravest first.
    pub fn iter(self) -> impl Iterator<Item = Anomaly> {
        Anomaly::ALL.into_iter().filter(move |&anomaly| self.0 & Anomalies::bit(anomaly) != 0)
    }

    pub(crate) fn add(&mut self, anomaly: Anomaly) {
        self.0 |= Anomalies::bit(anomaly);
    }

    pub(crate) fn join(&mut self, other: Anomalies) {
        self.0 |= other.0;
    }

    fn bit(anomaly: Anomaly) -> u8 {
        1 << (anomaly as u8)
    }
}

/// A number of a usage object. Both spellings have a place of their own, as some servers send both and leave one at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Field {
    Prompt,
    Input,
    Completion,
    Output,
    Total,
    CachedDetail,
    CachedTop,
    ReasoningDetail,
    ReasoningTop,
    CacheWrite,
    AudioInput,
    ImageInput,
    AudioOutput,
    ImageOutput,
    /// In milliseconds here, in seconds with a fraction where it is read.
    Seconds,
}

const FIELDS: usize = 15;

/// What one usage object says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Nothing if all is zero.
    pub(crate) usage: Option<Usage>,
    pub(crate) details: Details,
    pub(crate) anomalies: Anomalies,
}

/// The numbers of one usage object as they are read; absent and null are 0.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// None is larger than [`MOST_MILLIS`], which fits.
    numbers: [u32; FIELDS],
    anomalies: Anomalies,
}

impl Counts {
    pub(crate) fn note(&mut self, anomaly: Anomaly) {
        self.anomalies.add(anomaly);
    }

    /// Takes the text of a JSON number; `null` is 0 and no mistake, `true` and `false` are.
    pub(crate) fn set_scalar(&mut self, field: Field, text: &[u8]) {
        let value = match text.first() {
            Some(b'n') => 0,
            Some(b'0'..=b'9' | b'-') => self.number_of(field, text),
            _ => self.wrong_type(),
        };
        self.put(field, value);
    }

    /// Takes the content of a JSON string that stands where a number belongs.
    pub(crate) fn set_string(&mut self, field: Field, text: &[u8]) {
        self.wrong_type();
        let value = match text.first() {
            Some(b'0'..=b'9' | b'-') => self.number_of(field, text),
            _ => 0,
        };
        self.put(field, value);
    }

    /// What the object says.
    pub(crate) fn settle(mut self) -> Settled {
        let mut input = self.either(Field::Prompt, Field::Input);
        let output = self.either(Field::Completion, Field::Output);
        let total = self.get(Field::Total);
        if input == 0 && output == 0 {
            input = total;
        } else if total != 0 && total != input.saturating_add(output) {
            self.note(Anomaly::TotalDiffers);
        }
        let cached = self.either(Field::CachedDetail, Field::CachedTop);
        let reasoning = self.either(Field::ReasoningDetail, Field::ReasoningTop);
        let usage = Usage { input, cached: cached.min(input), output, reasoning: reasoning.min(output) };
        let mut details = self.details();
        if details.clamp(&usage) || cached > input || reasoning > output {
            self.note(Anomaly::DetailAboveTotal);
        }
        Settled { usage: Some(usage).filter(|usage| usage.total() > 0), details, anomalies: self.anomalies }
    }

    fn details(&self) -> Details {
        Details {
            cache_write: self.get(Field::CacheWrite),
            audio_input: self.get(Field::AudioInput),
            image_input: self.get(Field::ImageInput),
            audio_output: self.get(Field::AudioOutput),
            image_output: self.get(Field::ImageOutput),
            audio_millis: self.get(Field::Seconds),
            images: 0,
        }
    }

    fn number_of(&mut self, field: Field, text: &[u8]) -> u64 {
        if field == Field::Seconds { self.millis(text) } else { self.number(text) }
    }

    /// Reads seconds, with a fraction or without, as milliseconds; a part of one counts whole.
    fn millis(&mut self, text: &[u8]) -> u64 {
        let seconds = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
        let Some(seconds) = seconds.filter(|seconds| !seconds.is_nan()) else { return self.wrong_type() };
        if seconds < 0.0 {
            self.note(Anomaly::Negative);
            return 0;
        }
        // The cast saturates.
        let millis = (seconds * 1_000.0).ceil() as u64;
        if millis > MOST_MILLIS {
            self.note(Anomaly::TooLarge);
        }
        millis.min(MOST_MILLIS)
    }

    fn number(&mut self, text: &[u8]) -> u64 {
        let Ok(text) = std::str::from_utf8(text) else { return self.wrong_type() };
        if let Some(digits) = text.strip_prefix('-') {
            let is_minus_zero = digits.parse::<f64>().is_ok_and(|number| number == 0.0);
            if !is_minus_zero {
                self.note(Anomaly::Negative);
            }
            return 0;
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            // Digits that do not fit are larger than anything true.
            return self.clamp(text.parse().unwrap_or(u64::MAX));
        }
        match text.parse::<f64>() {
            Ok(number) => {
                self.note(Anomaly::NotWhole);
                // The cast saturates; the number is not negative here.
                self.clamp(number as u64)
            }
            Err(_) => self.wrong_type(),
        }
    }

    fn clamp(&mut self, number: u64) -> u64 {
        if number > MOST_TOKENS {
            self.note(Anomaly::TooLarge);
        }
        number.min(MOST_TOKENS)
    }

    fn wrong_type(&mut self) -> u64 {
        self.note(Anomaly::WrongType);
        0
    }

    fn put(&mut self, field: Field, value: u64) {
        if let Some(place) = self.numbers.get_mut(field as usize) {
            *place = u32::try_from(value).unwrap_or(u32::MAX);
        }
    }

    fn get(&self, field: Field) -> u64 {
        self.numbers.get(field as usize).copied().map_or(0, u64::from)
    }

    fn either(&self, first: Field, second: Field) -> u64 {
        match self.get(first) {
            0 => self.get(second),
            number => number,
        }
    }
}
