//! Holds the place that finished lines are written to: a file that can be opened anew, or standard output.
//!
//! Must not know what a line says, nor who waits for it: nobody does.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// Where lines go.
pub trait Sink: Write + Send {
    /// Opens the place anew, as a file's name may mean another file now. On an error the old one stays.
    ///
    /// # Errors
    /// Those of the operating system.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that lines are appended to.
pub struct FileSink {
    path: PathBuf,
    file: File,
}

impl FileSink {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(FileSink { path: path.to_owned(), file: append_to(path)? })
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Write for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Sink for FileSink {
    fn reopen(&mut self) -> io::Result<()> {
        self.file = append_to(&self.path)?;
        Ok(())
    }
}

/// Standard output, without the buffer of [`io::stdout`]: that one would keep what could not be written and write it later,
/// after it was counted as lost.
pub struct StdoutSink(File);

impl StdoutSink {
    /// A handle of its own.
    ///
    /// # Errors
    /// Where standard output is closed.
    pub fn open() -> io::Result<Self> {
        Ok(StdoutSink(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
    }
}

impl Write for StdoutSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Sink for StdoutSink {}

/// Any other place, such as memory: there is nothing to open anew.
pub(super) struct Plain<W>(pub(super) W);

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write + Send> Sink for Plain<W> {}
