//! What a walk finds: in the whole answer, and in the event in hand.
//!
//! Must not know how it is found.

use crate::usage::counts::Settled;
use crate::usage::{Anomalies, Details, Tier, Usage};

/// What was found in the answer so far, over all its events.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The last usage that was not null and not all zero.
    pub(crate) usage: Option<Usage>,
    /// What that object said besides; none if all is zero.
    pub(crate) details: Option<Box<Details>>,
    /// Usage from places that few answers have.
    aside: Option<Box<Asides>>,
    /// Images in the answer so far.
    pub(crate) images: u32,
    /// The last that was named.
    pub(crate) tier: Option<Tier>,
    pub(crate) anomalies: Anomalies,
    /// Decoded bytes of generated text that came in pieces.
    pub(crate) text: u64,
    /// Decoded bytes of generated text in whole response objects.
    pub(crate) whole_text: u64,
    pub(crate) model: Option<Box<str>>,
    pub(crate) id: Option<Box<str>>,
    /// Unix seconds.
    pub(crate) created: Option<u64>,
    pub(crate) sequence: Option<u64>,
    /// An error was told in the answer itself.
    pub(crate) failure: bool,
    pub(crate) progress: Progress,
}

/// A place beside the usual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aside {
    /// In a choice: it counts where there is none at the usual place.
    Choice,
    /// `svg_usage`: it is added.
    Svg,
}

#[derive(Debug, Default)]
struct Asides {
    choice: Option<Usage>,
    svg: Usage,
}

impl Found {
    /// What the answer used, all places taken together.
    pub(crate) fn used(&self) -> Option<Usage> {
        let Some(aside) = &self.aside else { return self.usage };
        let usage = self.usage.or(aside.choice).unwrap_or_default();
        let sum = usage.plus(&aside.svg);
        Some(sum).filter(|sum| sum.total() > 0)
    }

    /// What it says besides, the number of its images included; none if all is zero.
    pub(crate) fn all_details(&self) -> Option<Details> {
        if self.images == 0 {
            return self.details.as_deref().copied();
        }
        let details = self.details.as_deref().copied().unwrap_or_default();
        Some(Details { images: self.images.into(), ..details })
    }

    /// Takes in a usage object that stands at another place than the usual.
    pub(super) fn note_aside(&mut self, settled: &Settled, place: Aside) {
        self.anomalies.join(settled.anomalies);
        let Some(usage) = settled.usage else { return };
        let aside = self.aside.get_or_insert_default();
        match place {
            Aside::Choice => aside.choice = Some(usage),
            Aside::Svg => aside.svg = usage,
        }
    }

    /// How long the sound was, where the answer says it apart from its usage.
    pub(super) fn note_millis(&mut self, millis: u64) {
        if millis > 0 {
            self.details.get_or_insert_default().audio_millis = millis;
        }
    }

    /// Takes in a usage object: the last that says anything counts, and nothing is added up.
    pub(super) fn note(&mut self, settled: &Settled) {
        self.anomalies.join(settled.anomalies);
        if settled.usage.is_none() && settled.details.is_empty() {
            return;
        }
        self.usage = settled.usage.or(self.usage);
        match &mut self.details {
            Some(kept) => {
                let millis = kept.audio_millis;
                **kept = settled.details;
                if kept.audio_millis == 0 {
                    kept.audio_millis = millis;
                }
            }
            None if settled.details.is_empty() => {}
            none => *none = Some(Box::new(settled.details)),
        }
    }
}

/// Which choices of the answer were begun, and which of them were said to be finished. The first 127 have a place each,
/// all others share the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    begun: u128,
    finished: u128,
}

/// The choice in hand, within one event.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Choice {
    pub(super) index: u64,
    /// It has a `finish_reason` that is a string and not empty.
    pub(super) finished: bool,
}

impl Progress {
    /// Takes in what one event says of a choice. What is finished stays so, whatever comes after.
    pub(super) fn note(&mut self, choice: Choice) {
        let place = 1 << choice.index.min(127);
        self.begun |= place;
        if choice.finished {
            self.finished |= place;
        }
    }

    /// Whether there was a choice, and all that there were are finished.
    pub(crate) fn is_finished(self) -> bool {
        self.begun != 0 && self.begun == self.finished
    }
}

/// What is known about `choices` of the event in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Choices {
    #[default]
    Unseen,
    Empty,
    Filled,
}

/// The `type` of a Responses event, as far as it matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Other,
    /// `response.completed`, `.incomplete`, `.cancelled`, `speech.audio.done`, `transcript.text.done`
    Ended,
    /// `response.failed`, `error`
    Failed,
    /// `image_generation.completed`, `image_edit.completed`: an end, and an image.
    Drawn,
    /// `response.audio.delta`, `speech.audio.delta`: its `delta` is no text.
    Audio,
}

/// What was found in the event in hand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EventFound {
    pub(crate) choices: Choices,
    /// A `usage` at the top that is not null, whatever it says.
    pub(crate) usage: bool,
    /// A usage object at any of its places.
    pub(crate) usage_anywhere: bool,
    /// An `error` that is not null.
    pub(crate) error: bool,
    /// It names another service tier than the event before.
    pub(crate) tier_changed: bool,
    pub(crate) kind: Kind,
    /// Bytes of a `delta` that count once its type is known.
    pub(super) delta: u64,
}

/// A place in the event whose content differs from event to event; all else of it tends to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) what: Varying,
    /// First byte of the content, counted from the start of the event's data.
    pub(crate) start: u64,
    /// The byte after the content.
    pub(crate) end: u64,
}

/// What stands at a [`Mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Varying {
    /// Generated text that counts at once.
    Text,
    /// Text that counts unless the event's type says no.
    Delta,
    /// A string that says nothing.
    Pad,
    /// A sequence number: digits only.
    Sequence,
}

impl EventFound {
    pub(super) fn delta_that_counts(&self) -> u64 {
        if self.kind == Kind::Audio { 0 } else { self.delta }
    }

    /// Whether a `delta` of this event is generated text.
    pub(crate) fn has_text_delta(&self) -> bool {
        self.kind != Kind::Audio
    }
}
