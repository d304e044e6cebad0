//! Structured logs on standard error. No personal data: neither customers nor the contents of
//! records are ever logged.

use std::io::{self, IsTerminal};

use config::{Level, LogFormat, Logging};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;
use tracing_subscriber::util::TryInitError;

use crate::cli::{self, Color, Global};

/// The crates whose log lines are ours; others are heard from `warn` on.
const OURS: [&str; 11] = [
    "clvstream",
    "engine",
    "eventlog",
    "kafka",
    "kafkalog",
    "registry",
    "runtime",
    "server",
    "source",
    "store",
    "wire",
];

/// Starts logging. `is_service`: the log is the main output, rather than results on a terminal.
///
/// # Errors
/// Logging was started before.
pub fn init(logging: &Logging, global: &Global, is_service: bool) -> Result<(), TryInitError> {
    let level = level(logging.level, global, is_service);
    let others = level.min(LevelFilter::WARN);
    let filter = Targets::new()
        .with_default(others)
        .with_targets(OURS.map(|target| (target, level)));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(use_colour(global.color, io::stderr().is_terminal()));
    let as_json = match global.log_format {
        Some(format) => format == cli::LogFormat::Json,
        None => logging.format == LogFormat::Json,
    };
    let lines = if as_json {
        lines.json().flatten_event(true).with_ansi(false).boxed()
    } else {
        lines.with_target(false).boxed()
    };
    // One filter for all: those of single layers lose events of a thread whose last one was filtered
    // out while its callsite was being registered.
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .try_init()
}

/// Whether to use colour on a stream.
#[must_use]
pub fn use_colour(when: Color, is_terminal: bool) -> bool {
    match when {
        Color::Always => true,
        Color::Never => false,
        // As no-color.org has it: set, and not empty.
        Color::Auto => is_terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    }
}

const LEVELS: [LevelFilter; 5] = [
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

fn level(configured: Level, global: &Global, is_service: bool) -> LevelFilter {
    let configured = match configured {
        Level::Error => 0,
        Level::Warn => 1,
        Level::Info => 2,
        Level::Debug => 3,
        Level::Trace => 4,
    };
    // Milestones of a service are of no interest between the rows of a table.
    let base: usize = if is_service || configured > 2 {
        configured
    } else {
        configured.min(1)
    };
    let raised = base + usize::from(global.verbose);
    let index = raised.saturating_sub(usize::from(global.quiet));
    LEVELS.get(index).copied().unwrap_or(LevelFilter::TRACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        let level = |configured, verbose, quiet, is_service| {
            let global = Global {
                verbose,
                quiet,
                ..Global::default()
            };
            super::level(configured, &global, is_service)
        };
        assert_eq!(level(Level::Info, 0, 0, true), LevelFilter::INFO);
        assert_eq!(level(Level::Info, 0, 0, false), LevelFilter::WARN);
        assert_eq!(level(Level::Info, 1, 0, false), LevelFilter::INFO);
        assert_eq!(level(Level::Info, 9, 0, true), LevelFilter::TRACE);
        assert_eq!(level(Level::Debug, 0, 0, false), LevelFilter::DEBUG);
        assert_eq!(level(Level::Warn, 0, 9, true), LevelFilter::ERROR);
    }

    #[test]
    fn colour_only_where_it_is_wanted() {
        assert!(use_colour(Color::Always, false));
        assert!(!use_colour(Color::Never, true));
        assert!(!use_colour(Color::Auto, false));
    }
}
