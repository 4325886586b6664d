//! Prints the JSON Schema of the configuration.
//!
//! Must not know a key; [`crate::config::schema`] does.

use std::io::{self, Write};

use super::Exit;

/// Writes the schema, indented.
///
/// # Errors
/// Those of `out`.
pub fn run(out: &mut dyn Write) -> io::Result<Exit> {
    serde_json::to_writer_pretty(&mut *out, &crate::config::schema::schema())?;
    writeln!(out)?;
    Ok(Exit::Well)
}
