//! Measures an answer that is no document: sound in seconds where that is known, plain text in bytes.
//!
//! Must not know what is charged for either. Holds the first bytes of a WAV file, nothing else.

use crate::usage::Details;

/// Bytes of a second of what OpenAI calls `pcm`: 24,000 samples of 16 bits, one channel (its text-to-speech guide).
const PCM_RATE: u64 = 48_000;
/// Where a RIFF file with its format first has its data (the canonical header).
const WAV_HEAD: usize = 44;

/// An answer that is no document.
#[derive(Debug)]
pub(in crate::gateway) struct Raw {
    kind: Kind,
    bytes: u64,
}

#[derive(Debug)]
enum Kind {
    /// The text itself, or text with times (`srt`, `vtt`).
    Text,
    Pcm,
    /// The head so far, and how much of it is there.
    Wav([u8; WAV_HEAD], usize),
    /// Its length says nothing.
    Other,
}

impl Raw {
    pub(super) fn text() -> Raw {
        Raw { kind: Kind::Text, bytes: 0 }
    }

    /// Sound of this content type.
    pub(super) fn sound(essence: &[u8]) -> Raw {
        let is = |known: &str| essence.eq_ignore_ascii_case(known.as_bytes());
        let kind = match () {
            () if is("audio/pcm") => Kind::Pcm,
            () if is("audio/wav") || is("audio/x-wav") || is("audio/wave") => Kind::Wav([0; WAV_HEAD], 0),
            () => Kind::Other,
        };
        Raw { kind, bytes: 0 }
    }

    pub(super) fn read(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if let Kind::Wav(head, length) = &mut self.kind {
            let room = head.get_mut(*length..).unwrap_or_default();
            let part = room.len().min(bytes.len());
            if let (Some(place), Some(bytes)) = (room.get_mut(..part), bytes.get(..part)) {
                place.copy_from_slice(bytes);
            }
            *length += part;
        }
    }

    /// Bytes of generated text.
    pub(super) fn text_bytes(&self) -> u64 {
        if matches!(self.kind, Kind::Text) { self.bytes } else { 0 }
    }

    /// How long the sound is so far, where that is known.
    pub(super) fn details(&self) -> Option<Details> {
        let (bytes, rate) = match &self.kind {
            Kind::Pcm => (self.bytes, PCM_RATE),
            Kind::Wav(head, WAV_HEAD) => (self.bytes - WAV_HEAD as u64, wav_rate(head)?),
            _ => return None,
        };
        let millis = bytes.saturating_mul(1_000).checked_div(rate)?;
        let audio_millis = millis.min(crate::usage::counts::MOST_MILLIS);
        Some(Details { audio_millis, ..Details::default() }).filter(|details| !details.is_empty())
    }
}

/// Bytes a second, as the head says.
fn wav_rate(head: &[u8; WAV_HEAD]) -> Option<u64> {
    let is_wav = head.starts_with(b"RIFF") && head.get(8..16) == Some(b"WAVEfmt ");
    let rate = u32::from_le_bytes(*head.get(28..32)?.first_chunk()?);
    (is_wav && rate > 0).then(|| rate.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(rate: u32) -> Vec<u8> {
        let mut head = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
        head.extend_from_slice(&24_000u32.to_le_bytes());
        head.extend_from_slice(&rate.to_le_bytes());
        head.extend_from_slice(b"\x02\0\x10\0data\xff\xff\xff\xff");
        assert_eq!(head.len(), WAV_HEAD);
        head
    }

    fn millis(essence: &str, bytes: &[u8], piece: usize) -> Option<u64> {
        let mut raw = Raw::sound(essence.as_bytes());
        bytes.chunks(piece).for_each(|piece| raw.read(piece));
        raw.details().map(|details| details.audio_millis)
    }

    #[test]
    fn seconds_are_known_of_plain_samples_and_of_nothing_else() {
        let second = [0; 48_000];
        let file = [wav(48_000), second.to_vec(), second.to_vec()].concat();
        for piece in [1, 7, 43, 44, 45, 100_000] {
            assert_eq!(millis("audio/wav", &file, piece), Some(2_000), "{piece}");
            assert_eq!(millis("Audio/PCM", &second[..24_000], piece), Some(500), "{piece}");
        }
        assert_eq!(millis("audio/wav", &[wav(0), second.to_vec()].concat(), 100), None);
        assert_eq!(millis("audio/wav", &second, 100), None);
        assert_eq!(millis("audio/wav", &wav(48_000)[..43], 100), None);
        assert_eq!(millis("audio/mpeg", &file, 100), None);
    }
}
