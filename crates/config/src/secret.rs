//! Passwords: where they stand, and what they are once read.
//!
//! Invariant: the configuration holds the place of a password, never the password. So neither
//! `config show`, nor a message, nor `{:?}` can print one.

use std::fmt;
use std::path::PathBuf;

/// Where a password stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SecretSource {
    /// In a file, without the line end that an editor adds.
    File(PathBuf),
    /// In an environment variable of this name.
    Env(String),
}

/// A password. Its `Debug` does not show it, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a password cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the password file {path}: {source}")]
    File {
        /// As it was configured.
        path: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The variable is not set, or is not text.
    #[error(
        "the environment variable {0}, which is configured to hold a password, is not set to a text"
    )]
    Env(String),
    /// There is nothing in it.
    #[error("{0} is configured to hold a password, and is empty")]
    Empty(String),
}

impl Secret {
    /// Takes a password in.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The password itself: for the client that needs it, and nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl SecretSource {
    /// Reads the password from its place, as it is there now.
    ///
    /// # Errors
    /// The file or the variable is not there, is no text, or is empty.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let (name, text) = match self {
            SecretSource::File(path) => {
                let name = path.display().to_string();
                match std::fs::read_to_string(path) {
                    Ok(text) => (name, text),
                    Err(source) => return Err(SecretError::File { path: name, source }),
                }
            }
            SecretSource::Env(name) => match std::env::var(name) {
                Ok(text) => (name.clone(), text),
                Err(_) => return Err(SecretError::Env(name.clone())),
            },
        };
        match text.trim_end_matches(['\r', '\n']) {
            "" => Err(SecretError::Empty(name)),
            password => Ok(Secret::new(password)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_read_but_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "hunter2 \r\n").unwrap();
        let secret = SecretSource::File(path.clone()).read().unwrap();
        assert_eq!(secret.reveal(), "hunter2 ");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        std::fs::write(&path, "\n").unwrap();
        let empty = SecretSource::File(path.clone()).read().unwrap_err();
        assert!(matches!(empty, SecretError::Empty(_)), "{empty}");
        let missing = SecretSource::File(path.join("none")).read().unwrap_err();
        assert!(missing.to_string().contains("none"), "{missing}");
        let unset = SecretSource::Env("CLVSTREAM_TEST_NOT_SET".to_owned());
        let unset = unset.read().unwrap_err().to_string();
        assert!(unset.contains("CLVSTREAM_TEST_NOT_SET"), "{unset}");
    }
}
