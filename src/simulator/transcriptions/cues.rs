//! Divides a text over the time that it takes, and writes subtitles.
//!
//! Must not know where text and time come from. Every token takes equally long.

use super::super::tokens;
use std::fmt::Write as _;

/// Some words, and when they are said: seconds from the start.
pub(super) struct Cue {
    pub(super) text: String,
    pub(super) start: f64,
    pub(super) end: f64,
}

/// The sentences of a text that takes `seconds`.
pub(super) fn sentences(text: &str, seconds: f64) -> Vec<Cue> {
    divided(text.split_inclusive(". "), text, seconds)
}

/// Its words.
pub(super) fn words(text: &str, seconds: f64) -> Vec<Cue> {
    divided(text.split_inclusive(' '), text, seconds)
}

fn divided<'a>(parts: impl Iterator<Item = &'a str>, text: &str, seconds: f64) -> Vec<Cue> {
    let each = seconds / tokens::count(text).max(1) as f64;
    let mut tokens = tokens::split(text);
    let (mut said, mut spent, mut count, mut start) = (0, 0, 0_u32, 0.0);
    let cue = |part: &str| {
        said += part.len();
        while spent < said
            && let Some(token) = tokens.next()
        {
            spent += token.len();
            count += 1;
        }
        let end = (f64::from(count) * each * 1000.0).round() / 1000.0;
        Cue { text: part.trim().to_owned(), start: std::mem::replace(&mut start, end), end }
    };
    parts.map(cue).filter(|cue| !cue.text.is_empty()).collect()
}

/// SubRip.
pub(super) fn srt(cues: &[Cue]) -> String {
    let mut text = String::new();
    for (number, cue) in cues.iter().enumerate() {
        let (start, end) = (clock(cue.start, ','), clock(cue.end, ','));
        let _ = write!(text, "{}\n{start} --> {end}\n{}\n\n", number + 1, cue.text);
    }
    text
}

/// WebVTT (W3C).
pub(super) fn vtt(cues: &[Cue]) -> String {
    let mut text = String::from("WEBVTT\n\n");
    for cue in cues {
        let _ = write!(text, "{} --> {}\n{}\n\n", clock(cue.start, '.'), clock(cue.end, '.'), cue.text);
    }
    text
}

fn clock(seconds: f64, point: char) -> String {
    let millis = (seconds * 1000.0).round() as u64;
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    format!("{hours:02}:{minutes:02}:{:02}{point}{:03}", millis / 1000 % 60, millis % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cues_follow_each_other_and_end_with_the_sound() {
        let text = "One two. Three four five. Six.";
        for cues in [sentences(text, 12.0), words(text, 12.0)] {
            assert_eq!((cues[0].start, cues.last().unwrap().end), (0.0, 12.0));
            assert!(cues.windows(2).all(|two| two[0].end == two[1].start && two[0].start < two[0].end));
        }
        assert_eq!(sentences(text, 1.0).len(), 3);
        assert!(sentences("", 1.0).is_empty());
    }

    #[test]
    fn subtitles_have_the_clock_of_their_format() {
        let cues = [Cue { text: "Hi.".into(), start: 0.0, end: 3_725.04 }];
        assert_eq!(srt(&cues), "1\n00:00:00,000 --> 01:02:05,040\nHi.\n\n");
        assert_eq!(vtt(&cues), "WEBVTT\n\n00:00:00.000 --> 01:02:05.040\nHi.\n\n");
    }
}
