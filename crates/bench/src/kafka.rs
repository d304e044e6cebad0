//! The whole measurement: throughput, latency at half load, commits with next to no load; each of
//! the floor and of the program, on the same broker and the same load, one after the other.
//!
//! Invariants: every stretch of events is worked off by a process of its own, whose CPU time is
//! taken at its end; each deployment has its own application id and begins with empty topics.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;

use crate::error::BenchError;
use crate::floor::FloorReport;
use crate::latency::{self, Latency};
use crate::process::{self, Took, Usage, Watched};
use crate::program::{self, Histogram, Program};
use crate::report::{Both, IdleCommit, Results, Throughput};
use crate::setup::Setup;
use crate::{READY, load, topics};

/// The slowest that anything may be, in events a second.
const SLOWEST: f64 = 1_000.0;
/// For processes to start and end.
const PATIENCE: Duration = Duration::from_secs(120);
/// Events a second of a broker that is called idle.
const IDLE_RATE: f64 = 5.0;
/// How long it is called so.
const IDLE_SPAN: Duration = Duration::from_secs(20);
/// A load that was written this late was too much for the machine.
const TOO_LATE_MS: f64 = 500.0;
/// So was one of which half became visible only after this.
const TOO_SLOW_MS: f64 = 2_000.0;
/// How often half of a load that was too much is tried.
const TRIES: u32 = 4;

/// Throughput, CPU, memory and latency on Kafka, of the program and of the floor
#[derive(Args, Debug)]
pub(crate) struct KafkaArgs {
    /// The broker; the floor's topics and the program's are made there
    #[arg(long)]
    bootstrap: String,
    /// Events in the input topics when the clock starts
    #[arg(long, default_value_t = 2_000_000)]
    events: u64,
    /// Partitions of every topic
    #[arg(long, default_value_t = 4)]
    partitions: u32,
    /// Override one key of the configuration, for the program and the floor
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Events a second of the latency measurement, instead of half of the throughput
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds of the latency measurement, after five that are not counted
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// The program; by default the one beside this
    #[arg(long)]
    bin: Option<PathBuf>,
    /// Beginning of application ids
    #[arg(long, default_value = "bench")]
    application: String,
    /// Folder for configurations and state, emptied by whoever made it
    #[arg(long)]
    work: PathBuf,
    /// Where the results go, as JSON
    #[arg(long, default_value = "target/bench-kafka.json")]
    output: PathBuf,
}

/// Measures everything.
///
/// # Errors
/// Any part fails: half a result is none.
pub(crate) fn run(args: &KafkaArgs) -> Result<(), BenchError> {
    let bench = Bench {
        args,
        binary: program::binary(args.bin.as_deref())?,
        broker: broker(&args.bootstrap),
        run: since_1970().as_secs(),
    };
    if bench.broker.is_none() {
        eprintln!("the broker is not a process of this machine: its CPU time is not measured");
    }

    let deployment = bench.deployment("throughput")?;
    step(&format!("writing {} events", args.events));
    let input_bytes = load::fill(&deployment.setup, args.events)?;
    step("the floor works them off");
    let floor = bench.floor_throughput(&deployment)?;
    step("clvstream works them off");
    let program = bench.program_throughput(&deployment)?;

    let plain = bench.deployment("floor-latency")?;
    step("commits of the floor with one event every 200 ms");
    let (_, idle) = bench.floor_live(&plain, IDLE_RATE, IDLE_SPAN, 1)?;
    let served = bench.deployment("latency")?;
    step("commits of clvstream with one event every 200 ms");
    let idle_program = bench.idle_commit(&served)?;
    let rate = args.rate.unwrap_or(program.events_per_second / 2.0);
    let program_latency = bench.program_latency(&served, rate)?;
    // At the very load that the program was found to bear.
    let rate = program_latency.asked_per_second;
    step(&format!("the floor's latency at {rate:.0} events a second"));
    let (floor_latency, _) = bench.floor_live(&plain, rate, bench.span(), 2)?;

    let results = Results {
        about: about(args),
        pinned: deployment.setup.pinned(),
        events: args.events,
        input_bytes,
        share_of_floor: program.events_per_second / floor.events_per_second,
        throughput: Both { floor, program },
        latency: Both {
            floor: floor_latency,
            program: program_latency,
        },
        idle_commit: Both {
            floor: IdleCommit {
                commits: idle.commits,
                mean_ms: idle.commit_ms.mean,
                p50_ms: idle.commit_ms.p50,
                p99_ms: idle.commit_ms.p99,
            },
            program: idle_program,
        },
    };
    results.write(&args.output)?;
    println!("\n{}", results.table());
    println!("all of it: {}", args.output.display());
    Ok(())
}

fn step(what: &str) {
    eprintln!("==> {what}");
}

struct Bench<'a> {
    args: &'a KafkaArgs,
    binary: PathBuf,
    broker: Option<u32>,
    /// Makes application ids this run's own.
    run: u64,
}

/// A deployment: its configuration, its topics.
pub(crate) struct Deployment {
    pub(crate) setup: Setup,
    pub(crate) program: Program,
    pub(crate) http: SocketAddr,
}

/// What a deployment is made of.
pub(crate) struct Making<'a> {
    pub(crate) bootstrap: &'a str,
    pub(crate) partitions: u32,
    pub(crate) work: &'a Path,
    pub(crate) overrides: &'a [String],
    pub(crate) binary: PathBuf,
}

impl Making<'_> {
    /// A new deployment, with empty topics.
    pub(crate) fn deployment(
        self,
        application: &str,
        name: &str,
    ) -> Result<Deployment, BenchError> {
        let folder = self.work.join(name);
        let http = program::free_address()?;
        let config = self.work.join(format!("{name}.toml"));
        // TOML's strings are JSON's, for everything that stands here.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let text = format!(
            "application_id = {}\ndata_dir = {}\npartitions = {}\n\n[kafka]\nbootstrap = {}\nreplication = 1\n\n[http]\nlisten = {}\n",
            quoted(application),
            quoted(&folder.to_string_lossy()),
            self.partitions,
            quoted(self.bootstrap),
            quoted(&http.to_string()),
        );
        write(&config, &text)?;
        let setup = Setup::load(&config, self.overrides)?;
        topics::create(&setup)?;
        let program = Program {
            binary: self.binary,
            config,
            overrides: self.overrides.to_vec(),
        };
        Ok(Deployment {
            setup,
            program,
            http,
        })
    }
}

impl Bench<'_> {
    /// A new deployment, with empty topics.
    fn deployment(&self, name: &str) -> Result<Deployment, BenchError> {
        let application = format!("{}-{}-{name}", self.args.application, self.run);
        let making = Making {
            bootstrap: &self.args.bootstrap,
            partitions: self.args.partitions,
            work: &self.args.work,
            overrides: &self.args.overrides,
            binary: self.binary.clone(),
        };
        making.deployment(&application, name)
    }

    fn floor_command(&self, of: &Deployment, name: &str) -> Result<Command, BenchError> {
        let this = std::env::current_exe()
            .map_err(|error| BenchError::failed(format!("where this program is: {error}")))?;
        let mut command = Command::new(this);
        command.arg("floor").arg("--config").arg(&of.program.config);
        for one in &self.args.overrides {
            command.arg("--set").arg(one);
        }
        let group = format!("{}-{name}", of.setup.application);
        command.arg("--group").arg(group);
        Ok(command)
    }

    fn floor_throughput(&self, of: &Deployment) -> Result<Throughput, BenchError> {
        let mut command = self.floor_command(of, "floor")?;
        command.arg("--records").arg(self.args.events.to_string());
        let before = self.broker_usage();
        let took = Watched::start(command)?.finish(self.longest())?;
        let report = floor_report(&took)?;
        let ms = report.commit_ms;
        eprintln!(
            "    {} commits, p50 {:.1} ms, p99 {:.1} ms",
            report.commits, ms.p50, ms.p99
        );
        Ok(self.throughput(report.seconds, &took, before))
    }

    fn program_throughput(&self, of: &Deployment) -> Result<Throughput, BenchError> {
        of.program.apply_topics()?;
        let before = self.broker_usage();
        let (processed, took) = of.program.drain(self.longest())?;
        Ok(self.throughput(processed.seconds, &took, before))
    }

    fn throughput(&self, seconds: f64, took: &Took, broker: Option<Usage>) -> Throughput {
        let millions = self.args.events as f64 / 1e6;
        eprintln!(
            "    {:.0} a second, {:.1} CPU s/M",
            self.args.events as f64 / seconds,
            took.usage.cpu_s() / millions
        );
        let broker = broker
            .zip(self.broker_usage())
            .map(|(before, after)| after.since(before).cpu_s() / millions);
        Throughput {
            seconds,
            events_per_second: self.args.events as f64 / seconds,
            wall_s: took.wall_s,
            cpu_s_per_million: took.usage.cpu_s() / millions,
            broker_cpu_s_per_million: broker,
            peak_rss_bytes: took.peak_rss_bytes,
        }
    }

    /// The floor under a paced load: latencies, and what it says of itself at its end.
    fn floor_live(
        &self,
        of: &Deployment,
        rate: f64,
        span: Duration,
        seed: u64,
    ) -> Result<(Latency, FloorReport), BenchError> {
        let mut floor = Watched::start(self.floor_command(of, "floor")?)?;
        let said = floor.line()?;
        if said != READY {
            return Err(BenchError::failed(format!("the floor said {said:?}")));
        }
        let outputs = std::slice::from_ref(&of.setup.floor_output);
        let latency = latency::measure(&of.setup, outputs, rate, span, seed)?;
        floor.close_stdin();
        let report = floor_report(&floor.finish(PATIENCE)?)?;
        let (commit, visible) = (report.commit_ms, latency.visible_ms);
        eprintln!(
            "    {} commits, p50 {:.1} ms, p99 {:.1} ms; visible: p50 {:.1} ms, p99 {:.1} ms",
            report.commits, commit.p50, commit.p99, visible.p50, visible.p99
        );
        Ok((latency, report))
    }

    fn idle_commit(&self, of: &Deployment) -> Result<IdleCommit, BenchError> {
        const COMMITS: &str = "clvstream_commit_seconds";
        of.program.apply_topics()?;
        let mut served = of.program.serve(of.http)?;
        let before = Histogram::fetch(of.http, COMMITS)?;
        load::pace(&of.setup, IDLE_RATE, IDLE_SPAN, 1)?;
        let commits = Histogram::fetch(of.http, COMMITS)?.since(&before);
        served.terminate()?;
        served.finish(PATIENCE)?;
        Ok(IdleCommit {
            commits: commits.count as u64,
            mean_ms: commits.mean_ms(),
            p50_ms: commits.quantile_ms(0.5),
            p99_ms: commits.quantile_ms(0.99),
        })
    }

    /// At `rate`, or at the largest of its halves, quarters and so on that the machine can do with a
    /// writer and a reader beside it.
    fn program_latency(&self, of: &Deployment, rate: f64) -> Result<Latency, BenchError> {
        let mut served = of.program.serve(of.http)?;
        let mut rate = rate;
        for number in 1..=TRIES {
            step(&format!("clvstream's latency at {rate:.0} events a second"));
            let seed = u64::from(number) + 1;
            let found = latency::measure(&of.setup, &of.setup.outputs, rate, self.span(), seed)?;
            if found.samples == 0 {
                return Err(BenchError::failed("no output of a paced event was seen"));
            }
            let is_too_much =
                found.writer_late_ms > TOO_LATE_MS || found.visible_ms.p50 > TOO_SLOW_MS;
            if !is_too_much {
                served.terminate()?;
                served.finish(PATIENCE)?;
                return Ok(found);
            }
            eprintln!(
                "too much for this machine: written up to {:.0} ms late, p50 {:.0} ms",
                found.writer_late_ms, found.visible_ms.p50
            );
            rate /= 2.0;
        }
        Err(BenchError::failed(format!(
            "even {:.0} events a second are too much for this machine",
            rate * 2.0
        )))
    }

    fn broker_usage(&self) -> Option<Usage> {
        process::usage_of(self.broker?)
    }

    fn span(&self) -> Duration {
        Duration::from_secs(self.args.seconds)
    }

    fn longest(&self) -> Duration {
        PATIENCE + Duration::from_secs_f64(self.args.events as f64 / SLOWEST)
    }
}

/// The report is the last line that the floor prints.
fn floor_report(took: &Took) -> Result<FloorReport, BenchError> {
    let last = took.output.lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|source| BenchError::Json {
        what: "the floor's report".into(),
        source,
    })
}

/// The broker's process, if it runs on this machine.
fn broker(bootstrap: &str) -> Option<u32> {
    let first = bootstrap.split(',').next()?;
    let address = first.to_socket_addrs().ok()?.next()?;
    if !address.ip().is_loopback() {
        return None;
    }
    process::listening_on(address)
}

pub(crate) fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn write(path: &Path, text: &str) -> Result<(), BenchError> {
    let failed = |source| BenchError::File {
        path: path.to_owned(),
        source,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, text).map_err(failed)
}

/// What is needed to judge a result, and to repeat it.
fn about(args: &KafkaArgs) -> serde_json::Value {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|l| l.strip_prefix("model name"));
    let model = model.map(|m| m.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let commit = Command::new("git").args(["rev-parse", "HEAD"]).output();
    let commit = commit
        .ok()
        .filter(|done| done.status.success())
        .map(|done| String::from_utf8_lossy(&done.stdout).trim().to_owned());
    serde_json::json!({
        "unix_seconds": since_1970().as_secs(),
        "cores": cores,
        "cpu": model,
        "commit": commit,
        "overrides": args.overrides,
        "librdkafka": rdkafka::util::get_rdkafka_version().1,
    })
}
