//! Holds a credential's value so that it can be used and never be seen.
//!
//! Must not know where a secret is shown to: printing or serialising one gives `[redacted]`.

use std::fmt;
use std::sync::Arc;

/// A secret's value. `Debug` prints `[redacted]`; there is no `Display` and no `Serialize`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<str>);

impl Secret {
    /// Wraps a value that was read from its source.
    #[must_use]
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Secret(value.into())
    }

    /// The value itself, for the one place that has to send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Where a secret comes from; this, never the value, is what is shown to people.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SecretSource {
    /// An environment variable; an empty one counts as absent.
    Env(String),
    /// A file, whose trailing white space is cut off.
    File(std::path::PathBuf),
}

/// Why a secret could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The environment variable is absent or empty.
    #[error("environment variable {0} is not set")]
    NotSet(String),
    /// The file cannot be read.
    #[error("cannot read {path}: {why}")]
    Unreadable {
        /// The file named in the configuration.
        path: String,
        /// The operating system's word.
        why: String,
    },
    /// The file is there, with nothing in it.
    #[error("{0} is empty")]
    Empty(String),
    /// The value cannot stand in an HTTP header.
    #[error("the value in {0} has a character that an HTTP header cannot carry")]
    NotAHeader(String),
}

impl SecretSource {
    /// Reads the value.
    ///
    /// # Errors
    /// [`SecretError`] says which source, never what was in it.
    pub fn read(&self) -> Result<Secret, SecretError> {
        self.read_in(&|name| std::env::var(name).ok())
    }

    /// Reads the value, asking `variable` for environment variables.
    ///
    /// # Errors
    /// [`SecretError`] says which source, never what was in it.
    pub fn read_in(&self, variable: &dyn Fn(&str) -> Option<String>) -> Result<Secret, SecretError> {
        let value = match self {
            SecretSource::Env(name) => match variable(name) {
                Some(value) if !value.trim().is_empty() => value,
                _ => return Err(SecretError::NotSet(name.clone())),
            },
            SecretSource::File(path) => std::fs::read_to_string(path)
                .map_err(|e| SecretError::Unreadable { path: path.display().to_string(), why: e.to_string() })?,
        };
        let value = value.trim();
        if value.is_empty() {
            return Err(SecretError::Empty(self.to_string()));
        }
        if http::HeaderValue::from_str(value).is_err() {
            return Err(SecretError::NotAHeader(self.to_string()));
        }
        Ok(Secret::new(value))
    }
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::Env(name) => write!(f, "environment variable {name}"),
            SecretSource::File(path) => write!(f, "file {}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_cannot_be_printed() {
        assert_eq!(format!("{:?}", Secret::new("sk-live")), "[redacted]");
    }

    #[test]
    fn a_file_is_read_without_its_last_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "sk-live\n").unwrap();
        assert_eq!(SecretSource::File(path).read().unwrap().expose(), "sk-live");
    }

    #[test]
    fn an_absent_source_is_named_and_an_empty_one_counts_as_absent() {
        let absent = SecretSource::Env("TOLLGATE_TEST_NO_SUCH_VARIABLE".into());
        assert!(absent.read().unwrap_err().to_string().contains("TOLLGATE_TEST_NO_SUCH_VARIABLE"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, " \n").unwrap();
        assert!(matches!(SecretSource::File(path).read(), Err(SecretError::Empty(_))));
    }
}
