//! The thread that asks, and what others see of it.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use crate::client::{Client, RegistryError};
use crate::ids::{Ids, Lookup, Next};
use crate::settings::Settings;

/// A schema registry, asked by a thread of its own. The thread ends with it.
#[derive(Debug)]
pub struct Registry {
    shared: Arc<Shared>,
}

/// How the registry is doing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// Ids whose schema is held.
    pub known: usize,
    /// Ids that the registry did not know lately.
    pub unknown: usize,
    /// Ids that are asked for.
    pub pending: usize,
    /// Answers so far.
    pub answers: u64,
    /// Requests without a clear answer so far.
    pub failures: u64,
    /// What the newest request came to, if it failed.
    pub last_error: Option<String>,
}

type Callback = Arc<dyn Fn() + Send + Sync>;

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Something is to be done: an id to be asked for, or to stop.
    wanted: Condvar,
}

struct State {
    ids: Ids,
    is_stopping: bool,
    answers: u64,
    failures: u64,
    last_error: Option<String>,
    /// The newest request got no answer at all.
    is_down: bool,
    callbacks: Vec<(u64, Callback)>,
    next_callback: u64,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("ids", &self.ids.counts())
            .field("is_stopping", &self.is_stopping)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock leaves it half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Starts asking the registry of `settings`; whether it is there shows later.
    ///
    /// # Errors
    /// The settings are no good, or no thread can be started.
    pub fn new(settings: &Settings) -> Result<Registry, RegistryError> {
        let client = Client::new(settings)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                ids: Ids::new(settings.refresh_unknown),
                is_stopping: false,
                answers: 0,
                failures: 0,
                last_error: None,
                is_down: false,
                callbacks: Vec::new(),
                next_callback: 0,
            }),
            wanted: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("schema-registry".to_owned())
            .spawn(move || ask(&theirs, &client))
            .map_err(|error| RegistryError::Settings(format!("cannot start a thread: {error}")))?;
        Ok(Registry { shared })
    }

    /// What is known of `id`. Never waits; what is not known yet is asked for from now on.
    #[must_use]
    pub fn lookup(&self, id: u32) -> Lookup {
        let (found, is_new) = self.shared.state().ids.lookup(id, Instant::now());
        if is_new {
            self.shared.wanted.notify_one();
        }
        found
    }

    /// Has `callback` called whenever a pending id is settled, until the answer is dropped. It is called
    /// on the registry's thread and must neither wait nor panic; a call may come before whoever is to be woken
    /// waits, so that it has to leave a mark.
    pub fn on_change(&self, callback: impl Fn() + Send + Sync + 'static) -> Waking {
        let mut state = self.shared.state();
        let number = state.next_callback;
        state.next_callback += 1;
        state.callbacks.push((number, Arc::new(callback)));
        Waking {
            shared: Arc::clone(&self.shared),
            number,
        }
    }

    /// How it is doing.
    #[must_use]
    pub fn health(&self) -> Health {
        let state = self.shared.state();
        let counts = state.ids.counts();
        Health {
            known: counts.known,
            unknown: counts.unknown,
            pending: counts.pending,
            answers: state.answers,
            failures: state.failures,
            last_error: state.last_error.clone(),
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Not waited for: a request may be under way.
        self.shared.state().is_stopping = true;
        self.shared.wanted.notify_one();
    }
}

/// Keeps a callback of [`Registry::on_change`] alive.
#[must_use = "the callback is called for as long as this lives"]
#[derive(Debug)]
pub struct Waking {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Waking {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.callbacks.retain(|(number, _)| *number != self.number);
    }
}

/// Asks, until told to stop.
fn ask(shared: &Shared, client: &Client) {
    while let Some(id) = wanted(shared) {
        let answer = client.schema(id);
        let callbacks = match answer {
            Ok(answer) => {
                let mut state = shared.state();
                let now = Instant::now();
                state.answers += 1;
                state.ids.answered(id, answer, now);
                state.last_error = None;
                if std::mem::take(&mut state.is_down) {
                    state.ids.recovered(now);
                    tracing::info!("the schema registry answers again");
                }
                state.callbacks.clone()
            }
            Err(error) => {
                let is_down = matches!(error, RegistryError::Unreachable(_));
                let error = error.to_string();
                let mut state = shared.state();
                state.is_down = is_down;
                state.failures += 1;
                if state.ids.failed(id, &error, Instant::now()) {
                    tracing::warn!(id, "schema not fetched, will be tried again: {error}");
                }
                state.last_error = Some(error);
                continue;
            }
        };
        for (_, callback) in callbacks {
            callback();
        }
    }
}

/// The next id to be asked for, once it is due; none if it is time to stop.
fn wanted(shared: &Shared) -> Option<u32> {
    let mut state = shared.state();
    loop {
        if state.is_stopping {
            return None;
        }
        let now = Instant::now();
        state = match state.ids.next(now) {
            Next::Fetch(id) => return Some(id),
            Next::Idle => shared
                .wanted
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
            Next::At(due) => {
                let wait = shared.wanted.wait_timeout(state, due - now);
                wait.unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_thread_ends_with_the_registry() {
        // Port 9 discards, if anybody is there: either way the id stays pending.
        let registry = Registry::new(&Settings::new("http://127.0.0.1:9")).unwrap();
        let _ = registry.lookup(1);
        let shared = Arc::downgrade(&registry.shared);
        drop(registry);
        let deadline = Instant::now() + Duration::from_secs(30);
        while shared.strong_count() > 0 {
            assert!(Instant::now() < deadline, "the thread goes on");
            thread::yield_now();
        }
    }

    #[test]
    fn a_callback_ends_with_its_guard() {
        let registry = Registry::new(&Settings::new("http://127.0.0.1:9")).unwrap();
        let first = registry.on_change(|| {});
        let _second = registry.on_change(|| {});
        drop(first);
        assert_eq!(registry.shared.state().callbacks.len(), 1);
    }
}
