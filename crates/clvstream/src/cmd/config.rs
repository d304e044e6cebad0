//! `clvstream config check` and `clvstream config show`.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use config::LoadError;
use serde_json::json;

use crate::cli::Global;
use crate::error::{CliError, Exit};

/// `clvstream config …`
#[derive(Subcommand, Debug)]
pub enum ConfigCommand {
    /// Check a configuration file and name every problem with its line
    Check(CheckArgs),
    /// Print the configuration in force, defaults included, as TOML
    Show(ShowArgs),
}

/// `clvstream config check`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  clvstream config check shop.toml
  clvstream config check shop.toml --json | jq '.problems[].message'

Exit code 0: usable. 2: not, and every problem has been named.")]
pub struct CheckArgs {
    /// The file; by default the one of --config
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
}

/// `clvstream config show`
#[derive(Args, Debug)]
#[command(after_long_help = "\
What was set has a comment that says where; what has none is at its default.

Examples:
  clvstream config show > shop.toml
  clvstream --config shop.toml --set partitions=16 config show
  clvstream config show --json | jq .commit.interval")]
pub struct ShowArgs {
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Checks a configuration file.
///
/// # Errors
/// It has problems, or cannot be read.
pub fn check(args: &CheckArgs, global: &Global, out: &mut dyn Write) -> Result<(), CliError> {
    let file = args.file.as_ref().or(global.config.as_ref());
    let Some(file) = file else {
        return Err(CliError::usage("there is no file to check")
            .hint("name one: clvstream config check FILE"));
    };
    let name = file.display().to_string();
    match config::load(Some(file), &global.set) {
        Ok(_) if args.json => {
            let verdict = json!({ "file": name, "usable": true, "problems": [] });
            Ok(writeln!(out, "{verdict:#}")?)
        }
        Ok(_) => Ok(writeln!(out, "{name}: no problems")?),
        Err(LoadError::Problems(problems)) if args.json => {
            let listed: Vec<_> = problems
                .0
                .iter()
                .map(|problem| {
                    json!({
                        "origin": problem.origin,
                        "line": problem.place.map(|(line, _)| line),
                        "column": problem.place.map(|(_, column)| column),
                        "message": problem.message,
                        "hint": problem.hint,
                    })
                })
                .collect();
            let verdict = json!({ "file": name, "usable": false, "problems": listed });
            writeln!(out, "{verdict:#}")?;
            Err(CliError::new(Exit::Usage, "the configuration has problems"))
        }
        Err(error) => Err(error.into()),
    }
}

/// Prints the configuration in force.
///
/// # Errors
/// There is none, because of its problems.
pub fn show(args: &ShowArgs, global: &Global, out: &mut dyn Write) -> Result<(), CliError> {
    let text = global.load()?.to_toml();
    if !args.json {
        return Ok(write!(out, "{text}")?);
    }
    let document: toml::Table = toml::from_str(&text).map_err(CliError::failure)?;
    serde_json::to_writer_pretty(&mut *out, &document)?;
    Ok(writeln!(out)?)
}
