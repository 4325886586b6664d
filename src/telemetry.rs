//! Writes down what happened to a call: metrics, usage records, log lines.
//!
//! Knows only strings and numbers: no tenant, no route, no upstream as a type.

pub mod logging;
pub mod metrics;
pub mod series;
pub mod sink;
pub mod writer;
