//! `clvstream profile`.

use std::io::Write;

use ::config::Loaded;
use clap::Args;
use engine::port::{StateReader, Table};
use runtime::export::{Known, profile_row};
use wire::partition_of;

use crate::error::CliError;
use crate::render::table;
use crate::session;

/// `clvstream profile`
#[derive(Args, Debug)]
#[command(after_long_help = "\
ID is a customer id; a visitor who is not identified is `anon:` and his anonymous id.

Examples:
  clvstream profile 17850
  clvstream profile 17850 --json | jq .clv
  clvstream profile anon:3f2a")]
pub struct ProfileArgs {
    /// The customer
    #[arg(value_name = "ID")]
    pub id: String,

    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Shows one profile.
///
/// # Errors
/// The deployment is in use or cannot be read, or nothing is known of the customer.
pub fn run(args: &ProfileArgs, loaded: &Loaded, out: &mut dyn Write) -> Result<(), CliError> {
    let deployment = session::open(loaded, None)?;
    let definitions = &deployment.setup.definitions;
    let task = partition_of(args.id.as_bytes(), deployment.config.partitions);
    let owned = deployment.open_task(task)?;
    let found = owned
        .store
        .get(Table::Profiles, args.id.as_bytes())
        .map_err(CliError::failure)?;
    let unknown = || {
        CliError::failure("nothing is known of this customer").hint(
            "ids are compared byte by byte; a visitor who is not identified is `anon:` and his \
             anonymous id",
        )
    };
    let bytes = found.ok_or_else(unknown)?;
    let known = Known::decode(&args.id, &bytes, owned.task.versions())?;
    let as_of = owned
        .task
        .bookkeeping()
        .clock
        .stream_time
        .max(known.profile.live.clock);
    let row = profile_row(&known, as_of).ok_or_else(unknown)?;
    if args.json {
        let mut object: serde_json::Map<_, _> = row.into_iter().collect();
        object.insert("as_of".to_owned(), as_of.to_string().into());
        object.insert("currency".to_owned(), definitions.currency.as_str().into());
        serde_json::to_writer_pretty(&mut *out, &object)?;
        return Ok(writeln!(out)?);
    }
    writeln!(out, "as of {as_of}, amounts in {}\n", definitions.currency)?;
    let rows = row
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| {
            let text = match value {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            vec![name, text]
        });
    writeln!(out, "{}", table(&["field", "value"], rows.collect()))?;
    Ok(())
}
