//! Reads what clients send: the paths, the JSON of a request, and the changes that may be made to it.
//!
//! Pure: knows no runtime, no hyper, no tenant, no upstream.

pub mod endpoint;
pub mod form;
pub mod model_name;
pub mod peek;
pub mod splice;

#[cfg(test)]
mod documents;
