//! Gives every other module what it needs from the outside world: time, randomness, names, TLS.
//!
//! Knows nobody of the rest of the crate.

pub mod clock;
pub mod joined;
pub mod random;
pub mod resolver;
pub mod tls;
