//! Writes log lines for people or machines to standard error, without ever blocking a call.
//!
//! Must not be given content or keys: what is logged is chosen where it is logged.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use super::writer::{LineWriter, QUEUE_BYTES};

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Turns logging on for the process and returns the writer, for counting what was dropped and for the last flush.
/// Where the process logs already, that logging stays.
///
/// # Errors
/// When the writer's thread cannot start, or `level` is not understood.
pub fn start(format: Format, level: &str) -> io::Result<LineWriter> {
    let filter = EnvFilter::try_new(level).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
    let writer = LineWriter::start("log", io::stderr(), QUEUE_BYTES)?;
    let lines = Lines(writer.clone());
    let registry = tracing_subscriber::registry().with(filter);
    let _already = match format {
        Format::Text => {
            let ansi = io::IsTerminal::is_terminal(&io::stderr());
            registry.with(fmt::layer().with_target(false).with_ansi(ansi).with_writer(lines)).try_init()
        }
        Format::Json => registry.with(fmt::layer().json().flatten_event(true).with_writer(lines)).try_init(),
    };
    Ok(writer)
}

struct Lines(LineWriter);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

/// One event: the formatter hands it over in one piece.
struct Line<'a>(&'a LineWriter);

impl Write for Line<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.push(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
