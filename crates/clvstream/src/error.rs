//! How a command fails: what happened, what to do about it, and the exit code.

use std::fmt;
use std::io;
use std::process::ExitCode;

use eventlog::EventLogError;

/// Exit codes, documented in `--help` and docs/cli.md.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// Failed while running.
    Failure = 1,
    /// Wrong usage or configuration. clap uses the same.
    Usage = 2,
    /// Done, and the data had problems.
    DataProblems = 3,
    /// Done, and what the topics hold is not what it should be.
    Violations = 4,
    /// Interrupted before it was done: 128 + SIGINT, as shells have it.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// A command did not succeed.
#[derive(Debug)]
pub struct CliError {
    /// The exit code.
    pub exit: Exit,
    /// What happened; further lines are details.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Nobody reads the output any more (`clvstream … | head`): the end, but no failure.
    pub output_closed: bool,
}

impl CliError {
    /// Ends with `exit`, saying `message`.
    pub fn new(exit: Exit, message: impl Into<String>) -> CliError {
        CliError {
            exit,
            message: message.into(),
            hint: None,
            output_closed: false,
        }
    }

    /// A failure while running.
    pub fn failure(error: impl fmt::Display) -> CliError {
        CliError::new(Exit::Failure, error.to_string())
    }

    /// Wrong usage or configuration.
    pub fn usage(error: impl fmt::Display) -> CliError {
        CliError::new(Exit::Usage, error.to_string())
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> CliError {
        CliError {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CliError {}

impl From<io::Error> for CliError {
    /// Of writing the output: files that are read have errors of their own, which name them.
    fn from(error: io::Error) -> CliError {
        CliError {
            output_closed: error.kind() == io::ErrorKind::BrokenPipe,
            ..CliError::failure(format!("cannot write the output: {error}"))
        }
    }
}

impl From<serde_json::Error> for CliError {
    fn from(error: serde_json::Error) -> CliError {
        CliError::from(io::Error::from(error))
    }
}

impl From<config::LoadError> for CliError {
    fn from(error: config::LoadError) -> CliError {
        let hint = match error {
            config::LoadError::Unreadable { .. } => {
                "--config names the file; without one, every key has its default"
            }
            config::LoadError::Problems(_) => "docs/configuration.md describes every key",
        };
        CliError::usage(error).hint(hint)
    }
}

impl From<runtime::RuntimeError> for CliError {
    fn from(error: runtime::RuntimeError) -> CliError {
        use runtime::RuntimeError as E;
        match error {
            E::Interrupted => CliError::new(Exit::Interrupted, error.to_string()),
            E::Fixed { .. }
            | E::OtherPartitions { .. }
            | E::Mapping(_)
            | E::UnknownTopic { .. }
            | E::LoadUnderWay { .. } => CliError::usage(error),
            E::Output(error) => error.into(),
            E::EventLog(EventLogError::Locked(_)) => CliError::failure(error).hint(
                "`clvstream tail` and `clvstream topics` work beside a service that is running",
            ),
            error => CliError::failure(error),
        }
    }
}
