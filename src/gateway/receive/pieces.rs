//! Puts together what arrives in frames: one frame stays as it is, more are copied together once.
//!
//! Must not know how many there may be.

use bytes::{Bytes, BytesMut};

/// Room that is made for a body before any of it came; the rest of what `Content-Length` promises, once this much did.
const FIRST_ROOM: usize = 256 * 1024;

/// Frames so far.
#[derive(Default)]
pub(super) struct Pieces {
    first: Bytes,
    all: BytesMut,
}

impl Pieces {
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    /// Adds a frame. `promised` is the length of all, if that is known; `most` what all may become.
    pub(super) fn push(&mut self, data: Bytes, promised: Option<usize>, most: usize) {
        let length = self.len() + data.len();
        let most = most.max(length);
        if self.first.is_empty() && self.all.is_empty() {
            self.first = data;
            return;
        }
        if self.all.is_empty() {
            self.all.reserve(promised.unwrap_or(length * 2).clamp(length, FIRST_ROOM.max(length)));
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        } else if self.all.capacity() < length {
            let room = promised.unwrap_or(self.all.len() * 2).clamp(length, most);
            self.all.reserve(room - self.all.len());
        }
        self.all.extend_from_slice(&data);
    }

    pub(super) fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}
