//! The program: parse, load the configuration, start logging, do the one thing asked for.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::Parser;
use config::Loaded;

use crate::cli::{Cli, Command};
use crate::cmd::config::ConfigCommand;
use crate::cmd::mapping::MappingCommand;
use crate::error::CliError;
use crate::shutdown::Shutdown;
use crate::{cmd, logging};

/// Does what the command line asks for.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let colour = logging::use_colour(cli.global.color, io::stderr().is_terminal());
    let mut out = io::BufWriter::new(io::stdout().lock());
    let done = run(&cli, &mut out).and_then(|()| Ok(out.flush()?));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.output_closed => ExitCode::SUCCESS,
        Err(error) => {
            // Results that were found before the failure come first.
            let _ = out.flush();
            let _ = tell(&error, colour);
            error.exit.into()
        }
    }
}

/// One line per command. `config` alone does without a usable configuration.
fn run(cli: &Cli, out: &mut dyn Write) -> Result<(), CliError> {
    let global = &cli.global;
    let loaded = || loaded(cli);
    match &cli.command {
        Command::Run(args) => cmd::run::run(args, &loaded()?, &shutdown()?, out),
        Command::Replay(args) => cmd::replay::run(args, &loaded()?, &shutdown()?, out),
        Command::Demo(args) => cmd::demo::run(args, loaded()?, &shutdown()?, out),
        Command::Profile(args) => cmd::profile::run(args, &loaded()?, out),
        Command::Export(command) => cmd::export::run(command, &loaded()?, out),
        Command::Simulate(args) => cmd::simulate::run(args, &loaded()?, &shutdown()?, out),
        Command::Tail(args) => cmd::tail::run(args, &loaded()?.config, &shutdown()?, out),
        Command::Topics(args) => cmd::topics::run(args, &loaded()?, out),
        Command::Status(args) => cmd::status::run(args, &loaded()?, out),
        Command::Repartition(args) => cmd::repartition::run(args, &loaded()?, &shutdown()?, out),
        Command::Verify(args) => {
            cmd::verify::run(args, &loaded()?, global.color, &shutdown()?, out)
        }
        Command::Model(command) => cmd::model::run(command, &loaded()?, out),
        Command::Mapping(MappingCommand::Check(args)) => {
            cmd::mapping::check(args, &loaded()?.config, out)
        }
        Command::Config(ConfigCommand::Check(args)) => cmd::config::check(args, global, out),
        Command::Config(ConfigCommand::Show(args)) => cmd::config::show(args, global, out),
    }
}

/// The configuration in force, with logging as it says.
fn loaded(cli: &Cli) -> Result<Loaded, CliError> {
    let loaded = cli.global.load()?;
    let logging = &loaded.config.logging;
    logging::init(logging, &cli.global, cli.command.is_service()).map_err(CliError::failure)?;
    Ok(loaded)
}

/// A token that signals trigger, for commands that can be stopped at any point.
fn shutdown() -> Result<Shutdown, CliError> {
    Shutdown::on_signals()
        .map_err(|error| CliError::failure(format!("cannot listen to signals: {error}")))
}

fn tell(error: &CliError, colour: bool) -> io::Result<()> {
    let (red, blue) = match colour {
        true => (
            AnsiColor::Red.on_default().bold(),
            AnsiColor::Cyan.on_default().bold(),
        ),
        false => (Style::new(), Style::new()),
    };
    let mut err = io::stderr().lock();
    writeln!(err, "{red}error:{red:#} {}", error.message)?;
    if let Some(hint) = &error.hint {
        writeln!(err, "{blue}hint:{blue:#} {hint}")?;
    }
    Ok(())
}
