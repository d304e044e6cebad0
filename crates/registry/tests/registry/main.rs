//! A registry that behaves, and ones that do not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod fake;
mod lookups;
mod resolving;
mod subjects;

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use registry::{Lookup, Registry, Settings, Waking};

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Settings for the registry at `url` that make tests short.
fn settings(url: &str) -> Settings {
    Settings {
        timeout: Duration::from_secs(5),
        refresh_unknown: Duration::ZERO,
        ..Settings::new(url)
    }
}

/// A registry, and a bell that it rings.
struct Client {
    registry: Arc<Registry>,
    rung: Arc<(Mutex<u64>, Condvar)>,
    _waking: Waking,
}

impl Client {
    fn new(settings: &Settings) -> Client {
        let registry = Arc::new(Registry::new(settings).unwrap());
        let rung = Arc::new((Mutex::new(0), Condvar::new()));
        let theirs = Arc::clone(&rung);
        let waking = registry.on_change(move || {
            *theirs.0.lock().unwrap() += 1;
            theirs.1.notify_all();
        });
        Client {
            registry,
            rung,
            _waking: waking,
        }
    }

    /// What `look` finds, looked for again whenever the registry rings.
    fn wait_for<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.rung.0.lock().unwrap();
        loop {
            let before = *seen;
            drop(seen);
            if let Some(found) = look() {
                return found;
            }
            seen = self.rung.0.lock().unwrap();
            while *seen == before {
                let left = deadline.saturating_duration_since(Instant::now());
                assert!(!left.is_zero(), "nothing came");
                seen = self.rung.1.wait_timeout(seen, left).unwrap().0;
            }
        }
    }

    /// What the registry knows of `id` once it has said something.
    fn settled(&self, id: u32) -> Lookup {
        self.wait_for(|| match self.registry.lookup(id) {
            Lookup::Pending { .. } => None,
            settled => Some(settled),
        })
    }

    /// The error of asking for `id`, once there is one that `is_wanted`.
    fn error(&self, id: u32, is_wanted: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Failures ring no bell: nobody can go on because of them.
            if let Lookup::Pending {
                last_error: Some(error),
                ..
            } = self.registry.lookup(id)
                && is_wanted(&error)
            {
                return error.to_string();
            }
            assert!(Instant::now() < deadline, "no such error came");
            std::thread::yield_now();
        }
    }
}
