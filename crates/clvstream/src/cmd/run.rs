//! `clvstream run`.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use ::config::Loaded;
use clap::Args;
use runtime::Deployment;
use runtime::workers::{Observers, Until};
use server::{Liveness, Metrics, Readiness, Server, Shown};

use crate::error::CliError;
use crate::render::grouped;
use crate::session;
use crate::shutdown::Shutdown;

/// `clvstream run`
#[derive(Args, Debug)]
#[command(after_long_help = "\
Reads the input topics, keeps every customer's profile, and writes CLV updates, lifecycle transitions
and segment changes to the output topics, each exactly once. On SIGTERM or SIGINT it finishes what was
begun and exits 0; a second signal ends it at once, which loses nothing that was committed.

Metrics and health: http://127.0.0.1:9464/metrics, /livez, /readyz (`http.listen`). What the topics'
retention allows to go is removed from the log once a minute. `clvstream tail` and `clvstream topics` work
beside it; other commands have to wait until it has stopped.

Examples:
  clvstream run
  clvstream run --config shop.toml
  clvstream run --drain
  clvstream run --set partitions=16 --set data_dir=/var/lib/clvstream --log-format json")]
pub struct RunArgs {
    /// Stop once everything in the input topics has been consumed, and say how long it took
    #[arg(long)]
    pub drain: bool,

    /// With --drain: print what it took as JSON
    #[arg(long, requires = "drain")]
    pub json: bool,
}

/// A worker without progress for this long is taken for dead. A checkpoint of a full cache takes
/// seconds on a slow disk.
const LIVENESS_DEADLINE: Duration = Duration::from_secs(60);

/// Runs the service until it is asked to stop.
///
/// # Errors
/// The deployment cannot be opened, the address is taken, or a worker failed.
pub fn run(
    args: &RunArgs,
    loaded: &Loaded,
    shutdown: &Shutdown,
    out: &mut dyn Write,
) -> Result<(), CliError> {
    let deployment = session::open(loaded, None)?;
    if !args.drain {
        return serve(&deployment, shutdown, |_| Ok(()));
    }
    let (counts, took) =
        session::process(&deployment, Until::Drained, shutdown, &Observers::default())?;
    if args.json {
        let report = serde_json::json!({
            "processed": took,
            "records": counts.named().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        });
        serde_json::to_writer_pretty(&mut *out, &report)?;
        return Ok(writeln!(out)?);
    }
    writeln!(
        out,
        "{} records in {:.1} s: {} a second",
        grouped(took.records),
        took.seconds,
        grouped(took.per_second as u64),
    )?;
    Ok(())
}

/// Works on `deployment` and serves metrics and health until asked to stop. `announce` is told where.
///
/// # Errors
/// The address is taken, it could not be announced, or a worker failed.
pub fn serve(
    deployment: &Deployment,
    shutdown: &Shutdown,
    announce: impl FnOnce(SocketAddr) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let registry = server::registry().map_err(CliError::failure)?;
    let metrics = Metrics::new(&registry).map_err(CliError::failure)?;
    metrics.standby_copies(deployment.config.standby);
    let shown = Shown {
        registry,
        liveness: Liveness::new(LIVENESS_DEADLINE),
        readiness: Readiness::default(),
    };
    let observers = Observers {
        metrics: Some(metrics),
        liveness: Some(shown.liveness.clone()),
        readiness: Some(shown.readiness.clone()),
    };
    let server = Server::start(deployment.config.http.listen, shown).map_err(CliError::failure)?;
    tracing::info!(
        application = deployment.config.application_id,
        partitions = deployment.config.partitions,
        workers = deployment.workers(),
        data_dir = %deployment.data_dir().display(),
        http = %server.address(),
        "running"
    );
    announce(server.address())?;
    let done = session::process(deployment, Until::Stopped, shutdown, &observers);
    server.stop().map_err(CliError::failure)?;
    let (counts, took) = done?;
    tracing::info!(
        records = took.records,
        outputs = counts.outputs,
        seconds = took.seconds,
        "stopped; everything consumed is committed"
    );
    Ok(())
}
