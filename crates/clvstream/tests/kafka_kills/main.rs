//! Instances on a real broker, killed with signal 9 twenty times at random moments of working and of
//! taking over, with the broker killed and restarted five times in between, and the loader killed
//! twice: no customer's sequence has a gap or a repetition, nothing is loaded twice, and
//! the exports are, byte for byte, those of a run that nobody disturbed.
//!
//! Moments are random shares of the work that is left, told by what the instances have consumed,
//! plus a random delay. `CLVSTREAM_TEST_SEED` chooses others.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![allow(clippy::print_stdout, reason = "a test that fails tells its moments")]

mod fleet;
mod load;
#[path = "../kafka_support/mod.rs"]
mod support;

use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::money::Currency;
use engine::group::Span;
use engine::port::TopicPartition;
use kafkalog::{Cluster, KafkaLogError};
use kafkatest::Broker;

use fleet::Fleet;
use load::Loader;
use support::outputs::connect;
use support::{App, until};

const KILLS: usize = 20;
/// Of those, so many hit an instance that has just been started, as it takes over.
const TAKING_OVER: usize = 6;
const BROKER_KILLS: usize = 5;
const PARTITIONS: u32 = 4;
const POUNDS: Currency = Currency {
    code: *b"GBP",
    decimals: 3,
};
/// Commits, checkpoints and so moments of death in between: many. Whoever is dead is found out soon.
const SETTINGS: [&str; 12] = [
    "partitions=4",
    "workers=2",
    "currency.code=GBP",
    "currency.decimals=3",
    "commit.interval=20ms",
    "commit.max_batch=100",
    "state.checkpoint_interval=1s",
    "kafka.session_timeout=2s",
    "kafka.transaction_timeout=2s",
    // Both inputs of a customer are merged by time however slow the broker is to come back.
    "kafka.max_task_idle=1m",
    "time.idle_after=10m",
    "kafka.profile=low_latency",
];
/// Nobody is to wait for an undisturbed run.
const LARGE: [&str; 2] = ["commit.interval=100ms", "commit.max_batch=2000"];
/// Rows of Online Retail: purchases of five months.
const ROWS: usize = 45_000;
/// A shop's browsing, in the months after that.
const SIMULATE: [&str; 4] = [
    "simulate",
    "--events=15000",
    "--start=2011-05-01",
    "--days=90",
];
/// A blow comes at most this many milliseconds after the work has come to the chosen point.
const LATER_MS: f64 = 60.0;
/// An instance that takes over is killed at most this many milliseconds after its start: the group
/// has then noticed, or not, that its predecessor is dead.
const TAKING_OVER_MS: f64 = 3_500.0;
/// For how long the broker is away, apart from the seconds that its start takes.
const AWAY_MS: f64 = 1_500.0;

/// PCG's generator, for shares.
struct Random(u64);

impl Random {
    fn new(test: u64) -> Random {
        let seed: u64 = std::env::var("CLVSTREAM_TEST_SEED").map_or(1, |s| s.parse().unwrap());
        println!("seed {seed}");
        Random(seed.wrapping_mul(1_000_003).wrapping_add(test))
    }

    /// From 0 up to, but not including, 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f64 / (1_u64 << 24) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        (self.share() * n as f64) as usize
    }

    /// Lets a random time pass: what follows is to hit anything that may go on meanwhile.
    fn pass(&mut self, longest_ms: f64) {
        std::thread::sleep(Duration::from_millis((self.share() * longest_ms) as u64));
    }
}

/// What a run comes to, and how much work it was.
struct Whole {
    profiles: String,
    days: String,
    /// Events in the input topics.
    appended: Vec<(String, u64)>,
    /// Records that were consumed, routed ones and what tasks tell each other of their clocks included.
    consumed: u64,
}

impl Whole {
    fn of(app: &App, cluster: &Cluster, fleet: &mut Fleet<'_>) -> Whole {
        let count = |topic: &str| (topic.to_owned(), committed(cluster, &app.id, topic));
        let topics = ["clickstream", "orders", "care", "loyalty", "marketing"];
        Whole {
            profiles: app.export("profiles"),
            days: app.export("days"),
            appended: topics.map(count).to_vec(),
            consumed: fleet.consumed(),
        }
    }
}

/// How many committed records a topic of an application holds.
fn committed(cluster: &Cluster, application: &str, topic: &str) -> u64 {
    let places = places(application, topic);
    let spans = cluster.spans_of(&places).unwrap();
    let mut records = 0;
    let mut reader = cluster.reader(spans).unwrap();
    until("a topic has been read", || {
        let slice = Duration::from_secs(1);
        let done = reader.read::<KafkaLogError>(slice, |_| {
            records += 1;
            Ok(())
        });
        done.unwrap().then_some(records)
    })
}

fn places(application: &str, topic: &str) -> Vec<TopicPartition> {
    let topic: Arc<str> = Arc::from(format!("{application}.{topic}"));
    let place = |partition| TopicPartition {
        topic: Arc::clone(&topic),
        partition,
    };
    (0..PARTITIONS).map(place).collect()
}

/// Whether a transaction is open on a changelog: the last record before its end is not to be had.
fn leaves_a_transaction_open(cluster: &Cluster, application: &str) -> bool {
    let spans = cluster.spans_of(&places(application, "internal.changelog"));
    let last = |span: Span| Span {
        from: span.until.saturating_sub(1).max(span.from),
        ..span
    };
    let spans = spans.unwrap().into_iter().map(last).collect();
    let read = cluster
        .reader(spans)
        .and_then(|mut reader| reader.read::<KafkaLogError>(OPEN, |_| Ok(())));
    !read.unwrap()
}

/// A transaction of one that lives is over by then.
const OPEN: Duration = Duration::from_millis(600);

/// Rows of Online Retail, after their names.
fn rows() -> Vec<String> {
    let slice = support::project().join("test-data/online-retail/slice.csv.zst");
    let slice = zstd::Decoder::new(std::fs::File::open(slice).unwrap()).unwrap();
    let lines = BufReader::new(slice).lines().map(Result::unwrap);
    lines.take(ROWS + 1).collect()
}

/// Loads everything, before anybody works on it, so that nothing of an input is newer than what others
/// have loaded later. Where moments are given, the loader is killed twice. Answers the loader, which
/// waits for somebody to do the work.
fn load<'a>(
    app: &'a App,
    cluster: &Cluster,
    keyed_by: &str,
    random: Option<&mut Random>,
) -> Loader<'a> {
    let rows = rows();
    std::fs::write(app.folder.path().join(load::FILE), rows.join("\n")).unwrap();
    // Without the line of names.
    let rows = rows.len() as u64 - 1;
    app.run("loader", &["topics", "apply"]);
    let orders = || -> u64 {
        let spans = cluster.spans_of(&places(&app.id, "orders")).unwrap();
        spans.iter().map(|span| span.until).sum()
    };
    assert_eq!(orders(), 0);
    let mut loader = Loader::start(app, keyed_by);
    if let Some(random) = random {
        for left in [2.0, 1.0] {
            let now = orders();
            let share = random.share() / (left + 1.0);
            let goal = now + (rows.saturating_sub(now) as f64 * share) as u64;
            until("some is loaded", || (orders() > goal).then_some(()));
            loader.kill();
            println!("killed the loader at about {} of {rows}", orders());
        }
    }
    until("all is loaded", || {
        assert!(!loader.is_done(), "nobody has done the work");
        let all = orders() >= rows && committed(cluster, &app.id, "orders") >= rows;
        all.then_some(())
    });
    app.run("loader", &SIMULATE);
    loader
}

/// The undisturbed run.
fn undisturbed(broker: &Broker, test: &str, keyed_by: &str) -> Whole {
    let started = Instant::now();
    let app = App::new(
        broker.bootstrap(),
        &format!("{test}-undisturbed"),
        &SETTINGS,
    );
    let cluster = connect(broker.bootstrap(), &app.id);
    let mut loader = load(&app, &cluster, keyed_by, None);
    let mut fleet = Fleet::start(&app, 1, &LARGE);
    until("the replay is done", || loader.is_done().then_some(()));
    assert_eq!(loader.failed, 0);
    let whole = Whole::of(&app, &cluster, &mut fleet);
    app.outputs().check_sequences(POUNDS, "undisturbed");
    assert!(whole.profiles.lines().count() > 1_000);
    assert!(whole.days.lines().count() > 100);
    fleet.end();
    println!(
        "undisturbed in {:?}: {:?}",
        started.elapsed(),
        whole.appended
    );
    whole
}

/// What happens to a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Blow {
    /// An instance is killed once more work has been done.
    Working,
    /// The instance that was started last is killed soon after its start.
    TakingOver,
    /// The broker is killed, and restarted.
    Broker,
}

/// All that happens, in a random order.
fn blows(random: &mut Random) -> Vec<Blow> {
    let mut blows = vec![Blow::Working; KILLS - TAKING_OVER];
    blows.extend([Blow::TakingOver; TAKING_OVER]);
    blows.extend([Blow::Broker; BROKER_KILLS]);
    for left in (1..blows.len()).rev() {
        let other = random.below(left + 1);
        blows.swap(left, other);
    }
    blows
}

/// What was hit.
#[derive(Default, Debug)]
struct Hits {
    kills: usize,
    broker_kills: usize,
    /// Blows before which more was consumed than before the last one.
    advanced: usize,
    /// Blows that came while there was work left.
    with_work_left: usize,
    /// Kills that left a transaction open.
    transactions: usize,
}

fn disturbed(test: &str, size: usize, keyed_by: &str, number: u64) {
    let Some(broker) = Broker::own(test) else {
        return;
    };
    let whole = undisturbed(&broker, test, keyed_by);
    let started = Instant::now();
    let mut random = Random::new(number);
    let app = App::new(broker.bootstrap(), test, &SETTINGS);
    let cluster = connect(broker.bootstrap(), &app.id);
    let mut loader = load(&app, &cluster, keyed_by, Some(&mut random));
    let mut fleet = Fleet::start(&app, size, &[]);

    let mut hits = Hits::default();
    let blows = blows(&mut random);
    let mut newest = 0;
    let mut before = 0;
    for (at, blow) in blows.iter().enumerate() {
        let left = whole.consumed.saturating_sub(fleet.consumed()) as f64;
        let share = random.share() / (blows.len() - at + 1) as f64;
        let goal = before.max(fleet.consumed()) + (left * share) as u64;
        if *blow != Blow::TakingOver {
            until("there was some progress", || {
                (loader.is_done() || fleet.consumed() > goal).then_some(())
            });
            random.pass(LATER_MS);
        }
        fleet.assert_sound();
        let which = match blow {
            Blow::Working => random.below(size),
            _ => newest,
        };
        match blow {
            Blow::Working | Blow::TakingOver => {
                if *blow == Blow::TakingOver {
                    random.pass(TAKING_OVER_MS);
                }
                let lived = fleet.kill(which);
                let open = leaves_a_transaction_open(&cluster, &app.id);
                fleet.revive(which);
                newest = which;
                hits.kills += 1;
                hits.transactions += usize::from(open);
                println!("killed i{which} ({blow:?}), {lived} ms old, transaction open: {open}");
            }
            Blow::Broker => {
                fleet.wait_started();
                broker.kill();
                random.pass(AWAY_MS);
                broker.restart();
                hits.broker_kills += 1;
                println!("killed the broker");
            }
        }
        let now = fleet.consumed();
        hits.with_work_left += usize::from(!loader.is_done());
        hits.advanced += usize::from(now > before);
        before = now;
        println!(
            "  {:?}: consumed about {now} of {}",
            started.elapsed(),
            whole.consumed
        );
    }
    println!("{hits:?}");
    until("the replay is done", || loader.is_done().then_some(()));
    println!(
        "done after {:?}; the replay failed {} times; joined anew {} times",
        started.elapsed(),
        loader.failed,
        fleet.logged("joining it anew"),
    );
    assert_eq!((hits.kills, hits.broker_kills), (KILLS, BROKER_KILLS));
    assert!(hits.with_work_left >= 20 && hits.advanced >= 12, "{hits:?}");
    assert!(hits.transactions >= 1, "{hits:?}");
    // It fails when the broker is away, and otherwise never.
    assert!(loader.failed as usize <= BROKER_KILLS);

    let come_to = Whole::of(&app, &cluster, &mut fleet);
    fleet.assert_sound();
    app.outputs().check_sequences(POUNDS, test);
    assert_eq!(come_to.appended, whole.appended);
    assert_same("profiles", &come_to.profiles, &whole.profiles);
    assert_same("days", &come_to.days, &whole.days);
    fleet.end();
    println!("all in {:?}", started.elapsed());
}

/// Says where two exports differ without printing all of them.
fn assert_same(what: &str, export: &str, wanted: &str) {
    let pairs = export.lines().zip(wanted.lines());
    let differing: Vec<_> = pairs.filter(|(a, b)| a != b).collect();
    let lines = |text: &str| text.lines().count();
    assert!(
        export == wanted,
        "export {what} differs from the undisturbed run's in {} lines of {} and {}: {:#?}",
        differing.len(),
        lines(export),
        lines(wanted),
        &differing[..differing.len().min(3)]
    );
}

#[test]
fn one_instance_killed_twenty_times_comes_to_the_same() {
    disturbed("one_instance_killed_twenty_times", 1, "customer", 1);
}

#[test]
fn three_instances_killed_twenty_times_come_to_the_same() {
    disturbed("three_instances_killed_twenty_times", 3, "order", 2);
}
