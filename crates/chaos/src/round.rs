//! A round: an application of its own, worked on by three instances, disturbed for as long as there are
//! faults to come and events to load, and compared, when all is consumed, with a run that nobody
//! disturbed.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fleet::{App, Fleet, Pending, Random, Whole, connect};

use crate::blow::{Outcome, Target};
use crate::disk::Disk;
use crate::fault::{Deck, Fault};
use crate::inputs::{Loads, PARTITIONS, POUNDS, SETTINGS, Wanted};
use crate::report::Report;
use crate::site::Site;
use crate::watch::{Onlooker, Watch};

const INSTANCES: usize = 3;
/// How long an application is waited for at all.
const PATIENCE: Duration = Duration::from_secs(90);
/// After which time it is said which tasks are still standing.
const WORTH_TELLING: Duration = Duration::from_secs(8);
/// Violations of a kind that are told.
const TOLD: usize = 5;

/// What a round goes up to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Faults that are injected.
    pub faults: usize,
    /// Within which time after a fault every task has to get on, and every transaction to end;
    /// `None`: that is measured only.
    pub resumes_within: Option<Duration>,
    /// Further settings of the instances, as after `--set`.
    pub settings: Vec<String>,
    /// Where the logs of instances are kept, by round.
    pub logs: Option<PathBuf>,
}

/// Ends what works beside a round, also when it fails.
struct Beside<'a>(&'a Loads, &'a Watch);

impl Drop for Beside<'_> {
    fn drop(&mut self) {
        self.0.give_up();
        self.1.end();
    }
}

/// Goes through a round, and reports.
///
/// # Panics
/// When what is needed for it fails, other than what is tested.
pub fn run_round(
    site: &Site,
    program: &Path,
    wanted: &Wanted,
    deck: &mut Deck,
    random: &mut Random,
    limits: &Limits,
    report: &mut Report,
) {
    let started = Instant::now();
    let inputs = wanted.inputs;
    let name = format!("{} broker(s), keyed by {:?}", site.size(), inputs.keyed_by);
    println!("round {}: {name}", report.rounds.len() + 1);
    let app = App::new(program, &site.bootstrap(), "chaos", &SETTINGS);
    let cluster = connect(&site.bootstrap(), &app.id);
    let changelog = format!("{}.internal.changelog", app.id);
    let pending = Pending::of(&site.bootstrap(), &changelog, PARTITIONS as usize);
    let onlooker = Onlooker::of(&site.bootstrap(), &app.id);
    inputs.prepare(&app);
    let disk = match Disk::mount(&app.data_dir("i0")) {
        Ok(disk) => Some(disk),
        Err(why) => {
            report.unavailable.insert(Fault::DiskFull.name(), why);
            None
        }
    };
    let (loads, watch) = (Loads::default(), Watch::new(&app.id));
    std::thread::scope(|scope| {
        let _beside = Beside(&loads, &watch);
        scope.spawn(|| watch.run(&onlooker, &pending));
        scope.spawn(|| loads.run(&app, inputs, &|| watch.waiting()));
        let bootstrap = format!("kafka.bootstrap={}", site.by_proxy());
        let settings = limits.settings.iter().map(String::as_str);
        let settings: Vec<&str> = settings.chain([bootstrap.as_str()]).collect();
        let fleet = Fleet::start(&app, INSTANCES, &settings);
        let mut round = Round {
            site,
            app: &app,
            fleet,
            loads: &loads,
            watch: &watch,
            disk: disk.as_ref(),
            random,
            limits,
            report,
            started,
            broker_faults: 0,
        };
        round.disturb(deck, inputs.batches);
        let is_whole = round.finish(wanted);
        watch.end();
        if is_whole {
            let whole = Whole::of(&app, &cluster, PARTITIONS);
            round.check(&whole, wanted);
        }
        round.close();
        // Whoever works removes routed records that are consumed, also while they are read.
        if is_whole {
            verify(&app, report);
        }
    });
    report.rounds.push(name);
    if let Some(logs) = &limits.logs {
        let kept = logs.join(format!("round-{}", report.rounds.len()));
        keep_logs(app.folder.path(), &kept).expect("logs can be kept");
    }
    println!("  over after {:.0} s", started.elapsed().as_secs_f64());
}

/// What the program itself finds in the topics of an application that nobody works on. That it cannot
/// look is told, and is no violation.
fn verify(app: &App, report: &mut Report) {
    /// Exit code of `verify`: something is wrong.
    const WRONG: i32 = 4;
    let (status, said, log) = app.outcome("verifier", &["verify", "--color=never"]);
    if status.code() == Some(WRONG) {
        report.violation(format!("`clvstream verify` says:\n{said}{log}"));
    } else if !status.success() {
        let why = log.lines().next().unwrap_or_default();
        report
            .unavailable
            .insert("verify".to_owned(), format!("{status}: {why}"));
    }
}

/// Copies what instances and loaders have said.
fn keep_logs(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

struct Round<'a> {
    site: &'a Site,
    app: &'a App,
    fleet: Fleet<'a>,
    loads: &'a Loads,
    watch: &'a Watch,
    disk: Option<&'a Disk>,
    random: &'a mut Random,
    limits: &'a Limits,
    report: &'a mut Report,
    started: Instant,
    broker_faults: u64,
}

impl Round<'_> {
    /// Fault after fault, each with its share of the events.
    fn disturb(&mut self, deck: &mut Deck, batches: usize) {
        self.fleet.wait_started();
        self.await_recovery(None);
        for number in 0..self.limits.faults {
            let fault = deck.deal(self.random);
            self.loads
                .release(batches * (number + 1) / self.limits.faults);
            let calm = self
                .random
                .between(Duration::from_millis(300), Duration::from_secs(2));
            std::thread::sleep(calm);
            self.complain();
            self.blow(fault);
        }
        self.loads.release(batches);
    }

    fn blow(&mut self, fault: Fault) {
        self.broker_faults += u64::from(fault == Fault::Broker);
        self.watch.disturbed();
        let began = Instant::now();
        let mut target = Target {
            site: self.site,
            fleet: &mut self.fleet,
            loads: self.loads,
            disk: self.disk,
            random: self.random,
        };
        let outcome = target.hit(fault);
        let lasted = began.elapsed();
        let injected = match outcome {
            Outcome::Injected => true,
            Outcome::Missed => {
                self.report.missed(fault);
                false
            }
            Outcome::Violation(what) => {
                self.report.violation(format!("{}: {what}", fault.name()));
                true
            }
        };
        if injected {
            self.report.injected(fault);
        }
        let recovered = self.await_recovery(Some(fault));
        println!(
            "  {:5.0} s  {:<28} {} {:4.1} s, got on after {}, consumed {}",
            self.started.elapsed().as_secs_f64(),
            fault.name(),
            if injected { "lasted" } else { "missed" },
            lasted.as_secs_f64(),
            recovered.map_or("never".to_owned(), |r| format!("{:.1} s", r.as_secs_f64())),
            self.fleet.consumed(),
        );
    }

    /// Waits until every task gets on.
    fn await_recovery(&mut self, after: Option<Fault>) -> Option<Duration> {
        self.watch.calm();
        let calm = Instant::now();
        let mut told = false;
        let recovered = loop {
            if let Some(recovered) = self.watch.recovered() {
                break Some(recovered);
            }
            if calm.elapsed() > PATIENCE {
                break None;
            }
            if calm.elapsed() > WORTH_TELLING && !told {
                println!("  after {WORTH_TELLING:?}: {}", self.watch.standing());
                told = true;
            }
            self.complain();
            std::thread::park_timeout(Duration::from_millis(100));
        };
        let name = after.map_or("the start".to_owned(), Fault::name);
        match (recovered, self.limits.resumes_within) {
            (None, _) => {
                let (standing, words) = (self.watch.standing(), self.fleet.last_words());
                println!("{words}");
                let what = format!("after {name}, {PATIENCE:?} later: {standing}");
                self.report.violation(what);
                self.restart_stalled();
            }
            (Some(within), limit) => {
                if let Some(after) = after {
                    self.report.recovered(after, within);
                }
                if limit.is_some_and(|limit| within > limit) {
                    let what = format!("after {name} a task got on only after {within:?}");
                    self.report.violation(what);
                }
            }
        }
        recovered
    }

    /// As who operates them does: an instance that says of itself that it does not get on is killed, and
    /// started again.
    fn restart_stalled(&mut self) {
        for which in 0..self.fleet.size() {
            let instance = self.fleet.instance(which);
            let instance = instance.filter(|instance| instance.known_address().is_some());
            let page = instance.and_then(|instance| instance.get("/livez"));
            let Some(page) = page.filter(|page| !page.starts_with("HTTP/1.0 200")) else {
                continue;
            };
            let says = page.lines().last().unwrap_or_default();
            let what = format!("{} says of itself: {says}", self.fleet.name(which));
            self.report.violation(what);
            self.fleet.kill(which);
            self.fleet.revive(which);
        }
    }

    /// Reports what instances say or do that they must not; who is dead because of it comes back.
    fn complain(&mut self) {
        for complaint in self.fleet.complaints() {
            self.report.violation(complaint);
        }
        for which in 0..self.fleet.size() {
            if self.fleet.ended(which).is_some() {
                self.fleet.revive(which);
            }
        }
    }

    /// Waits until all is loaded and consumed; answers whether it is.
    fn finish(&mut self, wanted: &Wanted) -> bool {
        if !self.waits_for(|round| round.loads.is_done()) {
            return false;
        }
        let mut last = wanted.inputs.replay(self.app, true);
        let is_over = self.waits_for(|_| last.is_done());
        let failed = self.loads.failed() + u64::from(last.failed);
        if self.broker_faults == 0 && failed > 0 {
            self.report
                .violation(format!("loading failed {failed} times with no broker away"));
        }
        is_over
    }

    /// Waits for as long as anything gets on.
    fn waits_for(&mut self, mut holds: impl FnMut(&Self) -> bool) -> bool {
        let mut consumed = self.fleet.consumed();
        let mut got_on = Instant::now();
        while !holds(self) {
            self.complain();
            let now = self.fleet.consumed();
            if now > consumed {
                (consumed, got_on) = (now, Instant::now());
            }
            if got_on.elapsed() > PATIENCE {
                let words = self.fleet.last_words();
                println!("{words}");
                let what = format!("nothing was consumed for {PATIENCE:?}, and not all is");
                self.report.violation(what);
                self.restart_stalled();
                return false;
            }
            std::thread::park_timeout(Duration::from_millis(200));
        }
        true
    }

    fn check(&mut self, whole: &Whole, wanted: &Wanted) {
        self.complain();
        for difference in whole.differences(&wanted.whole) {
            self.report.violation(difference);
        }
        let outputs = self.app.outputs();
        let faults = outputs.faults(POUNDS);
        if !faults.is_empty() {
            let told = &faults[..faults.len().min(TOLD)];
            let what = format!("{} faults of sequences: {told:#?}", faults.len());
            self.report.violation(what);
        }
        if !outputs.dead_letters.is_empty() {
            let what = format!("{} dead letters", outputs.dead_letters.len());
            self.report.violation(what);
        }
        let (pause, open) = (self.watch.longest_pause(), self.watch.longest_open());
        if let Some(limit) = self.limits.resumes_within {
            if pause > limit {
                self.report
                    .violation(format!("a task stood still for {pause:?} undisturbed"));
            }
            if open > limit {
                self.report
                    .violation(format!("a transaction was open for {open:?} undisturbed"));
            }
        }
        let counted = self.fleet.counted();
        let told = outputs.counts().values().sum();
        self.report.round(&counted, told, pause, open);
    }

    /// Ends the instances as who operates them does.
    fn close(mut self) {
        for which in 0..self.fleet.size() {
            if self.fleet.instance(which).is_some() {
                let (status, log) = self.fleet.terminate(which);
                if !status.success() {
                    self.report
                        .violation(format!("told to stop, it ended with {status}:\n{log}"));
                }
            }
        }
    }
}
