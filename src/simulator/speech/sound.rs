//! Makes a sound piece by piece: a tone that changes with each token, or silence where the format is too hard for that.
//!
//! Must not know what it stands for. Formats: WAV (RIFF) and raw samples with 24 000 samples a second of 16 bits, one
//! channel; MP3 (ISO 11172-3) with frames of silence.

use super::super::refusal::Refusal;
use super::super::text::Seed;
use bytes::Bytes;

/// Samples in a second.
const RATE: u32 = 24_000;
/// Samples of one token: 120 ms.
const SAMPLES: u32 = 2_880;
/// Bytes of one token in samples.
const TOKEN_BYTES: u32 = SAMPLES * 2;
/// Frames of MP3 in one token, of 24 ms each.
const MP3_FRAMES: usize = 5;
/// The head of a frame: MPEG-1, layer III, no checksum, 64 kbit/s, 48 000 samples a second, no padding, one channel.
const MP3_HEAD: [u8; 4] = [0xff, 0xfb, 0x54, 0xc0];
/// The length of such a frame: 144 · 64 000 / 48 000. What follows the head is zeros: no sound is coded.
const MP3_FRAME: usize = 192;
/// Tokens of one piece at most: more than this is too much to be held.
const MOST_AT_ONCE: u32 = 64;
/// How loud the tone is, of 32 767.
const LOUDNESS: i32 = 6_000;

/// How a sound is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Mp3,
    Wav,
    Pcm,
}

impl Format {
    /// The format of that name; MP3 where none is named.
    pub(super) fn named(name: Option<&str>) -> Result<Self, Refusal> {
        match name {
            None | Some("mp3") => Ok(Format::Mp3),
            Some("wav") => Ok(Format::Wav),
            Some("pcm") => Ok(Format::Pcm),
            Some(_) => {
                let message = "The simulator makes 'mp3', 'wav' and 'pcm'. Ask for one of these as 'response_format'.";
                Err(Refusal::value("response_format", message))
            }
        }
    }

    /// As a header says it.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::Mp3 => "audio/mpeg",
            Format::Wav => "audio/wav",
            Format::Pcm => "audio/pcm",
        }
    }
}

/// The pieces of a sound, so many tokens in each.
pub(super) struct Sound {
    format: Format,
    seed: Seed,
    length: u32,
    made: u32,
    burst: u32,
}

impl Sound {
    /// A sound of `length` tokens, at least one, made `burst` at a time, 1 to [`MOST_AT_ONCE`].
    pub(super) fn new(format: Format, seed: Seed, length: u32, burst: u32) -> Self {
        Sound { format, seed, length: length.max(1), made: 0, burst: burst.clamp(1, MOST_AT_ONCE) }
    }

    /// How many pieces there will be.
    pub(super) fn pieces(&self) -> usize {
        self.length.div_ceil(self.burst) as usize
    }

    /// What comes before the samples (Microsoft, "Multimedia Programming Interface and Data Specifications 1.0").
    fn wav_head(&self) -> Vec<u8> {
        let bytes = self.length.saturating_mul(TOKEN_BYTES);
        let mut head = b"RIFF".to_vec();
        head.extend_from_slice(&bytes.saturating_add(36).to_le_bytes());
        head.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
        head.extend_from_slice(&RATE.to_le_bytes());
        head.extend_from_slice(&(RATE * 2).to_le_bytes());
        head.extend_from_slice(b"\x02\0\x10\0data");
        head.extend_from_slice(&bytes.to_le_bytes());
        head
    }

    /// One token of a triangular wave, whose pitch the seed decides.
    fn tone(&mut self, piece: &mut Vec<u8>) {
        // From 60 to 187 samples a wave: 400 down to 128 Hz.
        let wave = 60 + (self.seed.next() % 128) as i32;
        for sample in 0..SAMPLES as i32 {
            let height = (sample % wave * 4 - wave * 2).abs() - wave;
            let sample = (height * LOUDNESS / wave) as i16;
            piece.extend_from_slice(&sample.to_le_bytes());
        }
    }
}

impl Iterator for Sound {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let now = self.burst.min(self.length - self.made);
        if now == 0 {
            return None;
        }
        let mut piece = match self.format {
            Format::Wav if self.made == 0 => self.wav_head(),
            _ => Vec::new(),
        };
        for _ in 0..now {
            match self.format {
                Format::Wav | Format::Pcm => self.tone(&mut piece),
                Format::Mp3 => {
                    for _ in 0..MP3_FRAMES {
                        piece.extend_from_slice(&MP3_HEAD);
                        piece.resize(piece.len() + MP3_FRAME - MP3_HEAD.len(), 0);
                    }
                }
            }
        }
        self.made += now;
        Some(piece.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(format: Format, length: u32, burst: u32) -> Vec<u8> {
        Sound::new(format, Seed::of(b"x"), length, burst).collect::<Vec<_>>().concat()
    }

    #[test]
    fn a_sound_is_as_long_as_its_head_says_however_it_is_cut() {
        let wav = made(Format::Wav, 7, 1);
        assert_eq!(wav, made(Format::Wav, 7, 3));
        assert_eq!(wav[44..], made(Format::Pcm, 7, 100));
        let field = |at: usize| u32::from_le_bytes(wav[at..at + 4].try_into().unwrap());
        assert_eq!((&wav[..4], &wav[8..16]), (&b"RIFF"[..], &b"WAVEfmt "[..]));
        assert_eq!((field(4) as usize, field(40) as usize), (wav.len() - 8, wav.len() - 44));
        assert_eq!((field(24), field(28), field(40) / field(28) * 1000), (24_000, 48_000, 0));
        assert_eq!(u64::from(field(40)) * 1000 / u64::from(field(28)), 7 * 120);
    }

    #[test]
    fn a_tone_keeps_its_loudness_and_is_no_silence() {
        let samples = made(Format::Pcm, 40, 1);
        let heights: Vec<i32> =
            samples.chunks(2).map(|two| i32::from(i16::from_le_bytes([two[0], two[1]])).abs()).collect();
        assert!(heights.iter().all(|height| *height <= LOUDNESS));
        assert!(heights.iter().filter(|height| **height > LOUDNESS / 2).count() > heights.len() / 4);
    }

    #[test]
    fn each_frame_of_an_mp3_begins_where_the_one_before_it_ends() {
        let mp3 = made(Format::Mp3, 3, 2);
        assert_eq!(mp3.len(), 3 * MP3_FRAMES * MP3_FRAME);
        assert!(mp3.chunks(MP3_FRAME).all(|frame| frame.starts_with(&MP3_HEAD) && frame.len() == MP3_FRAME));
    }
}
