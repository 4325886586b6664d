//! The client side against real sockets: servers of a few lines each, scripted by the test, that record what they read.

mod cancel;
mod cost;
mod faults;
mod pool;
mod reuse;
mod sent;
mod shape;
mod support;
mod time;
mod tls;
