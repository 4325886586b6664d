//! Reads a compressed answer through a decoded copy of it, while the bytes themselves pass as they came.
//!
//! Must not know what is read in the copy. Bounded in memory (a window of at most 8 MiB) and in work: at most
//! [`MOST_RATIO`] times what came, and [`MOST_DECODED`] in all; beyond that it gives up, so that a bomb costs nothing.
//! A usage chunk that only we asked for cannot be taken out of a compressed stream: the client sees it.

use std::io::{self, Write};

use brotli_decompressor::DecompressorWriter;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

use super::Reader;

/// Decoded bytes for each byte that came, at most. JSON reaches some tens.
const MOST_RATIO: u64 = 100;
/// What may be decoded whatever came, in bytes.
const FREE: u64 = 1 << 20;
/// The most that is decoded of one answer, in bytes.
const MOST_DECODED: u64 = 64 << 20;
/// The largest window that is kept for zstd, as a power of two (RFC 9659 allows this much for HTTP).
const ZSTD_WINDOW: u32 = 23;
/// The largest for brotli, likewise; it is what servers use (RFC 7932 allows 24).
const BROTLI_WINDOW: u32 = 22;
/// Bytes that brotli writes at once.
const BROTLI_BUFFER: usize = 8 * 1024;

/// A content coding that can be read (RFC 9110 8.4.1, RFC 7932, RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    /// A zlib stream by the book; raw deflate by some servers.
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    /// The coding of this name; none for others, and for several one upon the other.
    pub(super) fn named(name: &[u8]) -> Option<Coding> {
        let is = |known: &[u8]| name.trim_ascii().eq_ignore_ascii_case(known);
        match () {
            () if is(b"gzip") || is(b"x-gzip") => Some(Coding::Gzip),
            () if is(b"deflate") => Some(Coding::Deflate),
            () if is(b"br") => Some(Coding::Brotli),
            () if is(b"zstd") => Some(Coding::Zstd),
            () => None,
        }
    }
}

/// An answer's decoded copy.
pub(in crate::gateway) struct Decoded {
    coding: Coding,
    state: State,
}

enum State {
    /// No byte came yet.
    Fresh(Box<Reader>),
    Running(Box<Decoder>),
    Over {
        reader: Box<Reader>,
        /// Why nothing more was read; none at the end.
        why: Option<&'static str>,
    },
}

/// Where decoded bytes go.
struct Tap {
    reader: Box<Reader>,
    /// What may still be decoded.
    left: u64,
    decoded: u64,
    burst: bool,
}

impl Write for Tap {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len() as u64;
        if length > self.left || self.decoded.saturating_add(length) > MOST_DECODED {
            self.burst = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.left -= length;
        self.decoded += length;
        self.reader.read(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Decoder {
    Gzip(MultiGzDecoder<Tap>),
    Zlib(ZlibDecoder<Tap>),
    Deflate(DeflateDecoder<Tap>),
    Brotli(Box<DecompressorWriter<Tap>>),
    Zstd(zstd::stream::write::Decoder<'static, Tap>),
}

impl Decoder {
    /// A decoder for a stream that begins with `first`; gives the tap back where there can be none.
    fn start(coding: Coding, first: u8, tap: Tap) -> Result<Decoder, Tap> {
        Ok(match coding {
            Coding::Gzip => Decoder::Gzip(MultiGzDecoder::new(tap)),
            // RFC 1950 2.2: the method, 8, and a window of at most 32 KiB.
            Coding::Deflate if first & 0x0f == 8 && first >> 4 <= 7 => Decoder::Zlib(ZlibDecoder::new(tap)),
            Coding::Deflate => Decoder::Deflate(DeflateDecoder::new(tap)),
            Coding::Brotli if brotli_window(first).is_none_or(|bits| bits > BROTLI_WINDOW) => return Err(tap),
            Coding::Brotli => Decoder::Brotli(Box::new(DecompressorWriter::new(tap, BROTLI_BUFFER))),
            Coding::Zstd => {
                let Ok(mut decoder) = zstd::stream::raw::Decoder::new() else { return Err(tap) };
                if decoder.set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(ZSTD_WINDOW)).is_err() {
                    return Err(tap);
                }
                Decoder::Zstd(zstd::stream::write::Decoder::with_decoder(tap, decoder))
            }
        })
    }

    fn tap(&mut self) -> &mut Tap {
        match self {
            Decoder::Gzip(decoder) => decoder.get_mut(),
            Decoder::Zlib(decoder) => decoder.get_mut(),
            Decoder::Deflate(decoder) => decoder.get_mut(),
            Decoder::Brotli(decoder) => decoder.get_mut(),
            Decoder::Zstd(decoder) => decoder.get_mut(),
        }
    }

    /// Decodes all that these bytes give.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let writer: &mut dyn Write = match self {
            Decoder::Gzip(decoder) => decoder,
            Decoder::Zlib(decoder) => decoder,
            Decoder::Deflate(decoder) => decoder,
            Decoder::Brotli(decoder) => &mut **decoder,
            Decoder::Zstd(decoder) => decoder,
        };
        writer.write_all(bytes)?;
        writer.flush()
    }

    /// Whether what came is whole.
    fn end(&mut self) -> io::Result<()> {
        match self {
            Decoder::Gzip(decoder) => decoder.try_finish(),
            Decoder::Zlib(decoder) => decoder.try_finish(),
            Decoder::Deflate(decoder) => decoder.try_finish(),
            Decoder::Brotli(decoder) => decoder.close(),
            Decoder::Zstd(decoder) => decoder.do_finish(),
        }
    }
}

/// The window that a brotli stream says it needs, in bits (RFC 7932 9.1); none for a reserved value.
fn brotli_window(first: u8) -> Option<u32> {
    if first & 1 == 0 {
        return Some(16);
    }
    match (first >> 1 & 7, first >> 4 & 7) {
        (0, 0) => Some(17),
        (0, 1) => None,
        (0, bits) => Some(8 + u32::from(bits)),
        (bits, _) => Some(17 + u32::from(bits)),
    }
}

impl Decoded {
    pub(super) fn new(coding: Coding, reader: Reader) -> Decoded {
        Decoded { coding, state: State::Fresh(Box::new(reader)) }
    }

    /// Reads the next piece.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        let Some(&first) = bytes.first() else { return };
        self.begin(first);
        let State::Running(decoder) = &mut self.state else { return };
        let tap = decoder.tap();
        tap.left = tap.left.saturating_add((bytes.len() as u64).saturating_mul(MOST_RATIO));
        if decoder.take(bytes).is_err() {
            self.stop(Some("compressed"));
        }
    }

    fn begin(&mut self, first: u8) {
        let State::Fresh(reader) = &mut self.state else { return };
        let reader = std::mem::replace(&mut **reader, Reader::Blind("compressed"));
        let tap = Tap { reader: Box::new(reader), left: FREE, decoded: 0, burst: false };
        self.state = match Decoder::start(self.coding, first, tap) {
            Ok(decoder) => State::Running(Box::new(decoder)),
            Err(tap) => State::Over { reader: tap.reader, why: Some("compressed") },
        };
    }

    /// No more is read, and the decoder's memory is free.
    fn stop(&mut self, why: Option<&'static str>) {
        let State::Running(decoder) = &mut self.state else { return };
        let tap = decoder.tap();
        let why = if tap.burst { Some("decoded_too_large") } else { why };
        let reader = std::mem::replace(&mut tap.reader, Box::new(Reader::Blind("compressed")));
        self.state = State::Over { reader, why };
    }

    /// The answer's bytes are all here: whether the copy is whole, or could not be read for other reasons.
    pub(super) fn end(&mut self) -> bool {
        let State::Running(decoder) = &mut self.state else { return true };
        let whole = decoder.end().is_ok();
        self.stop(if whole { None } else { Some("compressed") });
        whole
    }

    /// What reads in the copy.
    pub(super) fn reader(&self) -> &Reader {
        match &self.state {
            State::Fresh(reader) | State::Over { reader, .. } => reader,
            State::Running(decoder) => match &**decoder {
                Decoder::Gzip(decoder) => &decoder.get_ref().reader,
                Decoder::Zlib(decoder) => &decoder.get_ref().reader,
                Decoder::Deflate(decoder) => &decoder.get_ref().reader,
                Decoder::Brotli(decoder) => &decoder.get_ref().reader,
                Decoder::Zstd(decoder) => &decoder.get_ref().reader,
            },
        }
    }

    /// Why the copy was not read to its end.
    pub(super) fn why_not(&self) -> Option<&'static str> {
        match self.state {
            State::Over { why, .. } => why,
            _ => None,
        }
    }
}
