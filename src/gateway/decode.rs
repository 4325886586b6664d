//! Takes a request's body out of its content coding (gzip, br, zstd), piece by piece, and never makes more than is allowed.
//!
//! Must not know what the decoded bytes say. Besides what it decoded, a decoder holds its window: 32 KiB (gzip), at most
//! 16 MiB (br, RFC 7932 9.1) or 8 MiB (zstd, RFC 9659).

use std::io::{self, Write};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use bytes::{Bytes, BytesMut};
use flate2::write::MultiGzDecoder;
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use super::memory::{self, Held};

/// Room for what one step decodes.
const STEP: usize = 32 * 1024;
/// The largest window of a zstd frame, as a power of two (RFC 9659 3).
const ZSTD_WINDOW: u32 = 23;

/// A content coding that is understood (RFC 9110 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952; `x-gzip` too.
    Gzip,
    /// Brotli, RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// The coding of this name, whatever its case; `None` for one that is not understood.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        match () {
            () if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") => Some(Coding::Gzip),
            () if name.eq_ignore_ascii_case(b"br") => Some(Coding::Brotli),
            () if name.eq_ignore_ascii_case(b"zstd") => Some(Coding::Zstd),
            () => None,
        }
    }
}

/// Why a body was not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It decodes to more than is allowed.
    #[error("decodes to more than is allowed")]
    TooLarge,
    /// It is not what its coding says: damaged, cut, or followed by something else.
    #[error("not valid in its content coding")]
    Corrupt,
    /// There is no room to hold what it decodes to.
    #[error("no room for what it decodes to")]
    Full,
}

/// Decodes one body.
pub struct Decoder(Inner);

enum Inner {
    Gzip(Box<MultiGzDecoder<Capped>>),
    Brotli(Box<Brotli>),
    Zstd(Box<Zstd>),
}

struct Brotli {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    step: Box<[u8]>,
    decoded: Capped,
    ended: bool,
}

struct Zstd {
    decoder: ZstdDecoder<'static>,
    step: Vec<u8>,
    decoded: Capped,
    /// Whether a frame has begun and not ended, or none has begun.
    open: bool,
}

/// What was decoded, and how much it may be.
struct Capped {
    bytes: BytesMut,
    most: usize,
    /// Why no more is taken.
    refused: Option<DecodeError>,
    held: Option<Held>,
}

impl Decoder {
    /// A decoder that makes at most `most` bytes, held by nobody.
    ///
    /// # Errors
    /// As [`Decoder::holding`].
    pub fn new(coding: Coding, most: usize) -> Result<Self, DecodeError> {
        Decoder::holding(coding, most, None)
    }

    /// A decoder that makes at most `most` bytes; what it makes is held by `held`, where there is a gate.
    ///
    /// # Errors
    /// [`DecodeError::Corrupt`] where the coding's library cannot be had.
    pub fn holding(coding: Coding, most: usize, held: Option<Held>) -> Result<Self, DecodeError> {
        let decoded = Capped { bytes: BytesMut::new(), most, refused: None, held };
        Ok(Decoder(match coding {
            Coding::Gzip => Inner::Gzip(Box::new(MultiGzDecoder::new(decoded))),
            Coding::Brotli => {
                let state = BrotliState::new_strict(
                    StandardAlloc::default(),
                    StandardAlloc::default(),
                    StandardAlloc::default(),
                );
                let step = vec![0; STEP].into_boxed_slice();
                Inner::Brotli(Box::new(Brotli { state, step, decoded, ended: false }))
            }
            Coding::Zstd => {
                let mut decoder = ZstdDecoder::new().map_err(corrupt)?;
                decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW)).map_err(corrupt)?;
                Inner::Zstd(Box::new(Zstd { decoder, step: Vec::with_capacity(STEP), decoded, open: true }))
            }
        }))
    }

    /// Decodes the next piece.
    ///
    /// # Errors
    /// [`DecodeError`]; the decoder is of no more use then.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), DecodeError> {
        match &mut self.0 {
            Inner::Gzip(gzip) => match gzip.write_all(piece) {
                Ok(()) => Ok(()),
                Err(_) => Err(gzip.get_ref().refused.unwrap_or(DecodeError::Corrupt)),
            },
            Inner::Brotli(brotli) => brotli.feed(piece),
            Inner::Zstd(zstd) => zstd.feed(piece),
        }
    }

    /// All that was decoded, after the last piece.
    ///
    /// # Errors
    /// [`DecodeError`], also where the body was cut.
    pub fn finish(self) -> Result<Bytes, DecodeError> {
        let decoded = match self.0 {
            Inner::Gzip(mut gzip) => match gzip.try_finish() {
                Ok(()) => gzip.get_mut().take(),
                Err(_) => return Err(gzip.get_ref().refused.unwrap_or(DecodeError::Corrupt)),
            },
            Inner::Brotli(mut brotli) if brotli.ended => brotli.decoded.take(),
            Inner::Zstd(mut zstd) if !zstd.open => zstd.decoded.take(),
            _ => return Err(DecodeError::Corrupt),
        };
        Ok(decoded)
    }
}

impl Brotli {
    fn feed(&mut self, piece: &[u8]) -> Result<(), DecodeError> {
        let (mut left, mut at) = (piece.len(), 0);
        while !self.ended {
            let (mut room, mut made, mut total) = (self.step.len(), 0, 0);
            let outcome = BrotliDecompressStream(
                &mut left,
                &mut at,
                piece,
                &mut room,
                &mut made,
                &mut self.step,
                &mut total,
                &mut self.state,
            );
            self.decoded.push(&self.step[..made])?;
            match outcome {
                BrotliResult::NeedsMoreOutput => {}
                BrotliResult::NeedsMoreInput => return Ok(()),
                BrotliResult::ResultSuccess => self.ended = true,
                BrotliResult::ResultFailure => return Err(DecodeError::Corrupt),
            }
        }
        if left > 0 { Err(DecodeError::Corrupt) } else { Ok(()) }
    }
}

impl Zstd {
    /// Frames may follow each other (RFC 8878 3.1).
    fn feed(&mut self, piece: &[u8]) -> Result<(), DecodeError> {
        let mut input = InBuffer::around(piece);
        while input.pos() < piece.len() {
            loop {
                self.step.clear();
                let mut output = OutBuffer::around(&mut self.step);
                let hint = self.decoder.run(&mut input, &mut output).map_err(corrupt)?;
                self.open = hint != 0;
                self.decoded.push(&self.step)?;
                // A full step may have left something behind.
                if self.step.len() < self.step.capacity() || !self.open {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Capped {
    fn take(&mut self) -> Bytes {
        memory::with(self.held.take(), std::mem::take(&mut self.bytes).freeze())
    }

    fn refuse(&mut self, why: DecodeError) -> DecodeError {
        self.refused = Some(why);
        why
    }

    fn push(&mut self, more: &[u8]) -> Result<(), DecodeError> {
        let length = self.bytes.len() + more.len();
        if length > self.most {
            return Err(self.refuse(DecodeError::TooLarge));
        }
        if memory::grow(&mut self.held, more.len()).is_err() {
            return Err(self.refuse(DecodeError::Full));
        }
        if length > self.bytes.capacity() {
            let room = (self.bytes.capacity() * 2).clamp(length, self.most);
            self.bytes.reserve(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(more);
        Ok(())
    }
}

impl Write for Capped {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        self.push(more).map_err(io::Error::other)?;
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn corrupt(_: io::Error) -> DecodeError {
    DecodeError::Corrupt
}

#[cfg(test)]
mod tests;
