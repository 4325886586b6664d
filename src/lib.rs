//! Tollgate: a stateless inference gateway.

pub mod cli;
pub mod admin;
pub mod config;
pub mod limits;
pub mod net;
pub mod provider;
pub mod routing;
pub mod secret;
pub mod telemetry;
pub mod stream;
pub mod simulator;
pub mod server;
pub mod upstream;
pub mod usage;
pub mod wire;
