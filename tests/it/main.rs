//! Holds the whole gateway to its promises, from socket to socket: a real one, in front of an upstream that is scripted.
//!
//! Must not know how the gateway keeps them: what is asserted here are bytes on wires, records, metrics and levels.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod support;

mod auth;
mod azure;
mod broken_answers;
mod bytes;
mod cors;
mod disconnect;
mod docs;
mod drain;
mod encodings;
mod endpoints;
mod errors;
mod estimates;
mod forms;
mod harness;
mod headers;
mod limits;
mod memory;
mod metering;
mod mixed;
mod models;
mod policy;
mod prices;
mod records;
mod series;
mod server_keys;
mod smuggling;
mod state;
mod stateful;
mod tidy;
mod trust;
mod unsent;
