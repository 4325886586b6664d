//! Tollgate: a stateless inference gateway.

pub mod admin;
pub mod limits;
pub mod net;
pub mod provider;
pub mod routing;
pub mod secret;
pub mod server;
pub mod upstream;
pub mod usage;
pub mod wire;
