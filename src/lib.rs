//! Tollgate: a stateless inference gateway.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod gateway;
pub mod limits;
pub mod net;
pub mod provider;
pub mod routing;
pub mod secret;
pub mod server;
pub mod simulator;
pub mod stream;
pub mod telemetry;
pub mod tenant;
pub mod upstream;
pub mod usage;
pub mod wire;
