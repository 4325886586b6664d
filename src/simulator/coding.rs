//! Compresses an answer with gzip, brotli or zstd, although nobody may have accepted it.
//!
//! Must not know what is compressed. What goes in with one call comes out with it, so that a stream stays one.

use super::body::EventSource;
use super::faults::Coding;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write};

/// The least effort: what matters is that it is compressed, not how well.
const EFFORT: u32 = 1;
/// Bytes in one block of [`Brotli`] at most (RFC 7932, section 9.2: 16 bits of length).
const BLOCK: usize = 1 << 16;

/// A running compression.
pub(super) enum Encoder {
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Brotli(Brotli),
    Zstd(Box<zstd::stream::write::Encoder<'static, Vec<u8>>>),
}

impl Encoder {
    /// `None` if nothing is to be compressed.
    pub(super) fn new(coding: Coding) -> Option<Self> {
        Some(match coding {
            Coding::Identity => return None,
            Coding::Gzip => Encoder::Gzip(Box::new(GzEncoder::new(Vec::new(), Compression::new(EFFORT)))),
            Coding::Brotli => Encoder::Brotli(Brotli { begun: false }),
            Coding::Zstd => Encoder::Zstd(Box::new(zstd::stream::write::Encoder::new(Vec::new(), 1).ok()?)),
        })
    }

    /// The word for it in `content-encoding` (RFC 9110, section 8.4.1).
    pub(super) fn name(&self) -> &'static str {
        match self {
            Encoder::Gzip(_) => "gzip",
            Encoder::Brotli(_) => "br",
            Encoder::Zstd(_) => "zstd",
        }
    }

    /// All of `bytes`, as one compressed body.
    pub(super) fn whole(mut self, bytes: &[u8]) -> Bytes {
        let mut body = self.push(bytes);
        body.extend(self.finish());
        body.into()
    }

    /// The events of a stream, each compressed when it is due, and the end of the compression.
    pub(super) fn events(self, events: EventSource) -> EventSource {
        Box::new(Compressed { events, encoder: Some(self) })
    }

    // Writing into memory cannot fail: where these return early nothing was to be written.
    fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        fn through<W: Write>(encoder: &mut W, bytes: &[u8]) -> io::Result<()> {
            encoder.write_all(bytes)?;
            encoder.flush()
        }
        match self {
            Encoder::Gzip(encoder) => {
                let _ = through(encoder.as_mut(), bytes);
                std::mem::take(encoder.get_mut())
            }
            Encoder::Zstd(encoder) => {
                let _ = through(encoder.as_mut(), bytes);
                std::mem::take(encoder.get_mut())
            }
            Encoder::Brotli(brotli) => brotli.push(bytes),
        }
    }

    fn finish(self) -> Vec<u8> {
        match self {
            Encoder::Gzip(encoder) => encoder.finish().unwrap_or_default(),
            Encoder::Zstd(encoder) => encoder.finish().unwrap_or_default(),
            Encoder::Brotli(brotli) => brotli.finish(),
        }
    }
}

struct Compressed {
    events: EventSource,
    encoder: Option<Encoder>,
}

impl Iterator for Compressed {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let encoder = self.encoder.as_mut()?;
        match self.events.next() {
            Some(event) => Some(encoder.push(&event).into()),
            None => self.encoder.take().map(|encoder| encoder.finish().into()),
        }
    }
}

/// Brotli in blocks that are not compressed: valid for every decoder, and no encoder is needed.
pub(super) struct Brotli {
    begun: bool,
}

impl Brotli {
    fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + 8);
        for block in bytes.chunks(BLOCK) {
            out.extend_from_slice(&self.head(block.len())[..3]);
            out.extend_from_slice(block);
        }
        out
    }

    /// The head of a block of 1 to [`BLOCK`] bytes, padded to three bytes, lowest bits first: before the first one a
    /// window of 16 bits (`0`); then "not the last" (`0`), "four digits of length" (`00`), the length less one, and
    /// "not compressed" (`1`).
    fn head(&mut self, length: usize) -> [u8; 4] {
        let length = u32::try_from(length.saturating_sub(1)).unwrap_or(0) & 0xffff;
        let block = (length << 3) | (1 << 19);
        let bits = if self.begun { block } else { block << 1 };
        self.begun = true;
        bits.to_le_bytes()
    }

    /// "The last" and "empty", after the window if there was none yet.
    fn finish(self) -> Vec<u8> {
        vec![if self.begun { 0b11 } else { 0b110 }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    fn decoded(coding: Coding, body: &[u8]) -> Vec<u8> {
        let mut text = Vec::new();
        match coding {
            Coding::Identity => text.extend_from_slice(body),
            Coding::Gzip => drop(flate2::read::GzDecoder::new(body).read_to_end(&mut text).unwrap()),
            Coding::Brotli => drop(brotli_decompressor::Decompressor::new(body, 4096).read_to_end(&mut text).unwrap()),
            Coding::Zstd => text = zstd::stream::decode_all(body).unwrap(),
        }
        text
    }

    const ALL: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

    proptest! {
        #[test]
        fn what_is_compressed_can_be_read_again(
            events in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6),
            long in 0usize..200_000,
        ) {
            let mut events: Vec<Bytes> = events.into_iter().map(Bytes::from).collect();
            events.push(vec![b'x'; long].into());
            let text = events.concat();
            for coding in ALL {
                let whole = Encoder::new(coding).unwrap().whole(&text);
                prop_assert_eq!(&decoded(coding, &whole), &text);
                let stream = Encoder::new(coding).unwrap().events(Box::new(events.clone().into_iter()));
                prop_assert_eq!(&decoded(coding, &stream.collect::<Vec<_>>().concat()), &text);
            }
        }
    }

    #[test]
    fn an_event_can_be_read_before_the_next_one_is_made() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let first = Encoder::new(coding).unwrap().push(b"data: one\n\n");
            let mut text = [0; 11];
            match coding {
                Coding::Gzip => flate2::read::GzDecoder::new(&first[..]).read_exact(&mut text).unwrap(),
                _ => zstd::stream::read::Decoder::new(&first[..]).unwrap().read_exact(&mut text).unwrap(),
            }
            assert_eq!(&text, b"data: one\n\n");
        }
    }
}
