//! A wish to stop, by signal or from within.
//!
//! The first SIGTERM or SIGINT asks for a clean stop: what is staged is committed or dropped as a
//! whole, state is written, the log is closed. The second ends the process at once, which loses
//! nothing that was committed.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::error::Exit;

/// Whether to stop. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    requested: Mutex<bool>,
    changed: Condvar,
}

impl Shutdown {
    /// A token that SIGTERM and SIGINT trigger.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn on_signals() -> io::Result<Shutdown> {
        let shutdown = Shutdown::default();
        let token = shutdown.clone();
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                for signal in signals.forever() {
                    if token.is_requested() {
                        signal_hook::low_level::exit(i32::from(Exit::Interrupted as u8));
                    }
                    tracing::info!(signal, "stopping; a second signal ends at once");
                    token.request();
                }
            })?;
        Ok(shutdown)
    }

    /// Asks everyone to stop.
    pub fn request(&self) {
        *self.lock() = true;
        self.0.changed.notify_all();
    }

    /// Whether to stop.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.lock()
    }

    /// Waits until asked to stop, at most `timeout`; answers whether to stop.
    #[must_use]
    pub fn wait(&self, timeout: Duration) -> bool {
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.lock(), timeout, |requested| !*requested);
        let (requested, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *requested
    }

    /// A boolean is whole whatever its holder did.
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.0
            .requested
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_wakes_whoever_waits() {
        let shutdown = Shutdown::default();
        assert!(!shutdown.wait(Duration::ZERO));
        let waiter = {
            let shutdown = shutdown.clone();
            std::thread::spawn(move || shutdown.wait(Duration::from_secs(60)))
        };
        shutdown.request();
        assert!(waiter.join().unwrap());
        assert!(shutdown.is_requested());
    }

    #[test]
    fn sigterm_is_a_request() {
        let shutdown = Shutdown::on_signals().unwrap();
        assert!(!shutdown.is_requested());
        signal_hook::low_level::raise(SIGTERM).unwrap();
        assert!(shutdown.wait(Duration::from_secs(60)));
    }
}
