//! Reads along in streamed answers while their bytes pass: usage, text, how they end; takes out the one chunk that only we
//! asked for, and writes an end in the stream's own dialect.
//!
//! Pure: knows no runtime, no HTTP, no tenant, no clock. If scanning fails the client notices nothing.

pub mod ending;
mod events;
pub mod scan;
mod strip;
mod template;

pub use crate::usage::Dialect;
pub use scan::{Boundary, Ended, Passed, Scanner, UsageChunk};
