//! `clvstream export profiles` and `clvstream export days`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use ::config::Loaded;
use clap::{Args, Subcommand, ValueEnum};
use domain::time::TimeMs;
use engine::worker::Owned;
use runtime::export::{Profiles, TableFormat, TableWriter, day_row, days, profile_row};
use store::TaskStore;

use crate::cli::instant;
use crate::error::CliError;
use crate::session;

/// `clvstream export …`
#[derive(Subcommand, Debug)]
pub enum ExportCommand {
    /// Write every customer's profile, in the order of their ids
    Profiles(ProfilesArgs),
    /// Write the shop's totals per day
    Days(DaysArgs),
}

/// `clvstream export profiles`
#[derive(Args, Debug)]
#[command(after_long_help = "\
The order is canonical (customer ids byte by byte), so that equal states give equal files.

Examples:
  clvstream export profiles --output profiles.csv
  clvstream export profiles --as-of 2011-03-01 --format jsonl | jq .customer_id")]
pub struct ProfilesArgs {
    /// Windows and values as of this instant of event time; by default the stream's
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub as_of: Option<TimeMs>,

    /// Where to and how.
    #[command(flatten)]
    pub target: Target,
}

/// `clvstream export days`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Orders without a customer are counted: they belong to the shop and to no profile.

Examples:
  clvstream export days
  clvstream export days --format jsonl --output days.jsonl")]
pub struct DaysArgs {
    /// Where to and how.
    #[command(flatten)]
    pub target: Target,
}

/// Where to write, and how.
#[derive(Args, Debug)]
pub struct Target {
    /// Form of the output
    #[arg(long, value_name = "FORMAT", default_value = "csv")]
    pub format: ExportFormat,

    /// File to write; it appears when it is complete. By default standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Form of an export.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExportFormat {
    /// Comma-separated values with a header
    Csv,
    /// One JSON object a line
    Jsonl,
}

/// Writes profiles or days.
///
/// # Errors
/// The deployment is in use or cannot be read, or the output cannot be written.
pub fn run(command: &ExportCommand, loaded: &Loaded, out: &mut dyn Write) -> Result<(), CliError> {
    let deployment = session::open(loaded, None)?;
    let definitions = &deployment.setup.definitions;
    let mut tasks = deployment.open_all()?;
    for task in &mut tasks {
        // A scan of what is in RocksDB is cheaper than one that merges in what is not.
        task.store.checkpoint().map_err(CliError::failure)?;
    }
    let target = match command {
        ExportCommand::Profiles(args) => &args.target,
        ExportCommand::Days(args) => &args.target,
    };
    to_target(target, out, |writer| match command {
        ExportCommand::Profiles(args) => {
            let as_of = args.as_of.unwrap_or_else(|| stream_time(&tasks));
            for known in Profiles::new(&tasks)? {
                if let Some(row) = profile_row(&known?, as_of) {
                    writer.write(row)?;
                }
            }
            Ok(())
        }
        ExportCommand::Days(_) => {
            for (day, totals) in days(&tasks)? {
                writer.write(day_row(day, &totals, definitions.currency))?;
            }
            Ok(())
        }
    })
}

/// The latest stream time of any task.
#[must_use]
pub fn stream_time(tasks: &[Owned<TaskStore>]) -> TimeMs {
    let times = tasks.iter().map(|o| o.task.bookkeeping().clock.stream_time);
    times.max().unwrap_or(TimeMs::MIN)
}

/// Hands a writer for `target` to `write`; a file appears when it is complete.
pub(super) fn to_target(
    target: &Target,
    out: &mut dyn Write,
    write: impl FnOnce(&mut TableWriter<&mut dyn Write>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let format = match target.format {
        ExportFormat::Csv => TableFormat::Csv,
        ExportFormat::Jsonl => TableFormat::JsonLines,
    };
    let Some(path) = &target.output else {
        let mut writer = TableWriter::new(out, format);
        write(&mut writer)?;
        return Ok(writer.finish()?);
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.partial"));
    let failed = |error: std::io::Error| {
        CliError::failure(format!("cannot write {}: {error}", path.display()))
    };
    let mut file = BufWriter::new(File::create(&partial).map_err(failed)?);
    let mut writer = TableWriter::new(&mut file as &mut dyn Write, format);
    write(&mut writer)?;
    writer.finish()?;
    file.flush().map_err(failed)?;
    std::fs::rename(&partial, path).map_err(failed)
}
