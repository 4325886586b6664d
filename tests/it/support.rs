//! Stands around the gateway: a scripted upstream, clients that see exact bytes, and a gateway on ports of its own.
//!
//! Must not know what any test is about.
// Each test uses what it needs of this.
#![allow(dead_code, unused_imports)]

use std::time::Duration;

pub(crate) mod client;
pub(crate) mod gateway;
pub(crate) mod http2;
pub(crate) mod message;
pub(crate) mod program;
pub(crate) mod upstream;

pub(crate) use client::{Answer, Ended, RawClient};
pub(crate) use gateway::{KEY, TestGateway, UPSTREAM_KEY, standard};
pub(crate) use http2::{Http2Client, OpenBody};
pub(crate) use message::Head;
pub(crate) use program::Program;
pub(crate) use upstream::{Closed, Gate, How, MockUpstream, Received, Script, Then};

/// How long anything may take before the test is given up: far above what it takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for `work`, but not for ever.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// A file of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Where `needle` begins.
pub(crate) fn position(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Bytes for a message, cut where they get long.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(2_000)]).into_owned();
    if bytes.len() > 2_000 { format!("{text}… ({} bytes)", bytes.len()) } else { text }
}
