//! Reads the command line and runs what it says.
//!
//! Must not know how a request is served.

pub mod simulate;
