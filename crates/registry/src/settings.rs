//! Where the registry is and how it is asked.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How to reach a schema registry.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its address, with `http://` or `https://`, without credentials.
    pub url: String,
    /// User name and password of basic authentication.
    pub credentials: Option<(String, String)>,
    /// A PEM file of the authorities to trust instead of the system's.
    pub ssl_ca: Option<PathBuf>,
    /// How long one request may take as a whole.
    pub timeout: Duration,
    /// For how long it holds that the registry does not know an id.
    pub refresh_unknown: Duration,
}

impl Settings {
    /// The registry at `url`, asked with 10 seconds of patience; an id that it does not know is asked
    /// for again after 10 seconds.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Settings {
        Settings {
            url: url.into(),
            credentials: None,
            ssl_ca: None,
            timeout: Duration::from_secs(10),
            refresh_unknown: Duration::from_secs(10),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The password is nobody's business.
        f.debug_struct("Settings")
            .field("url", &self.url)
            .field("user", &self.credentials.as_ref().map(|(user, _)| user))
            .field("ssl_ca", &self.ssl_ca)
            .field("timeout", &self.timeout)
            .field("refresh_unknown", &self.refresh_unknown)
            .finish_non_exhaustive()
    }
}
