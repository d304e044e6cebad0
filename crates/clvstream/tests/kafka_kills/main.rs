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

use std::time::{Duration, Instant};

use domain::money::Currency;
use engine::group::Span;
use fleet::{App, Fleet, Loader, Random, Whole, committed, connect, places, retail, until};
use kafkalog::{Cluster, KafkaLogError};
use kafkatest::Broker;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clvstream");

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
/// A blow comes at most this long after the work has come to the chosen point.
const LATER: Duration = Duration::from_millis(60);
/// An instance that takes over is killed at most this long after its start: the group has then
/// noticed, or not, that its predecessor is dead.
const TAKING_OVER_FOR: Duration = Duration::from_millis(3_500);
/// For how long the broker is away, apart from the seconds that its start takes.
const AWAY: Duration = Duration::from_millis(1_500);
/// The file of rows that are replayed, in the application's folder.
const FILE: &str = "orders.csv";

/// Numbers of a test, under the seed that is asked for.
fn random(test: u64) -> Random {
    let seed: u64 = std::env::var("CLVSTREAM_TEST_SEED").map_or(1, |s| s.parse().unwrap());
    println!("seed {seed}");
    Random::new(seed, test)
}

/// What an undisturbed run comes to, and how much work it was.
struct Undisturbed {
    whole: Whole,
    /// Records that were consumed, routed ones and what tasks tell each other of their clocks included.
    consumed: u64,
}

/// Starts to replay the rows. Keyed by `order`, most purchases reach their customer's task by way of
/// another one.
fn replay<'a>(app: &'a App, keyed_by: &str) -> Loader<'a> {
    let file = app.folder.path().join(FILE);
    let file = file.to_str().unwrap();
    Loader::start(
        app,
        &[
            "replay",
            "--mapping=mappings/online_retail.toml",
            "--until=2012-01-01",
            "--quiet",
            "--color=never",
            "--key-by",
            keyed_by,
            file,
        ],
    )
}

/// Whether a transaction is open on a changelog: the last record before its end is not to be had.
fn leaves_a_transaction_open(cluster: &Cluster, application: &str) -> bool {
    let spans = cluster.spans_of(&places(application, "internal.changelog", PARTITIONS));
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

/// Loads everything, before anybody works on it, so that nothing of an input is newer than what others
/// have loaded later. Where moments are given, the loader is killed twice. Answers the loader, which
/// waits for somebody to do the work.
fn load<'a>(
    app: &'a App,
    cluster: &Cluster,
    keyed_by: &str,
    random: Option<&mut Random>,
) -> Loader<'a> {
    let rows = retail(ROWS);
    std::fs::write(app.folder.path().join(FILE), rows.join("\n")).unwrap();
    // Without the line of names.
    let rows = rows.len() as u64 - 1;
    app.run("loader", &["topics", "apply"]);
    let orders = places(&app.id, "orders", PARTITIONS);
    let appended = || -> u64 {
        let spans = cluster.spans_of(&orders).unwrap();
        spans.iter().map(|span| span.until).sum()
    };
    assert_eq!(appended(), 0);
    let mut loader = replay(app, keyed_by);
    if let Some(random) = random {
        for left in [2.0, 1.0] {
            let now = appended();
            let share = random.share() / (left + 1.0);
            let goal = now + (rows.saturating_sub(now) as f64 * share) as u64;
            until("some is loaded", || (appended() > goal).then_some(()));
            assert!(loader.kill(), "{}", loader.said());
            println!("killed the loader at about {} of {rows}", appended());
        }
    }
    until("all is loaded", || {
        assert!(!loader.is_done(), "nobody has done the work");
        let all = appended() >= rows && committed(cluster, &orders) >= rows;
        all.then_some(())
    });
    app.run("loader", &SIMULATE);
    loader
}

/// The undisturbed run.
fn undisturbed(broker: &Broker, test: &str, keyed_by: &str) -> Undisturbed {
    let started = Instant::now();
    let app = App::new(
        PROGRAM,
        broker.bootstrap(),
        &format!("{test}-undisturbed"),
        &SETTINGS,
    );
    let cluster = connect(broker.bootstrap(), &app.id);
    let mut loader = load(&app, &cluster, keyed_by, None);
    let mut fleet = Fleet::start(&app, 1, &LARGE);
    until("the replay is done", || loader.is_done().then_some(()));
    assert_eq!(loader.failed, 0);
    let whole = Whole::of(&app, &cluster, PARTITIONS);
    let consumed = fleet.consumed();
    app.outputs().check_sequences(POUNDS, "undisturbed");
    assert!(whole.profiles.lines().count() > 1_000);
    assert!(whole.days.lines().count() > 100);
    fleet.end();
    println!(
        "undisturbed in {:?}: {:?}",
        started.elapsed(),
        whole.appended
    );
    Undisturbed { whole, consumed }
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
    random.shuffle(&mut blows);
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
    let wanted = undisturbed(&broker, test, keyed_by);
    let started = Instant::now();
    let mut random = random(number);
    let app = App::new(PROGRAM, broker.bootstrap(), test, &SETTINGS);
    let cluster = connect(broker.bootstrap(), &app.id);
    let mut loader = load(&app, &cluster, keyed_by, Some(&mut random));
    let mut fleet = Fleet::start(&app, size, &[]);

    let mut hits = Hits::default();
    let blows = blows(&mut random);
    let mut newest = 0;
    let mut before = 0;
    for (at, blow) in blows.iter().enumerate() {
        let left = wanted.consumed.saturating_sub(fleet.consumed()) as f64;
        let share = random.share() / (blows.len() - at + 1) as f64;
        let goal = before.max(fleet.consumed()) + (left * share) as u64;
        if *blow != Blow::TakingOver {
            until("there was some progress", || {
                (loader.is_done() || fleet.consumed() > goal).then_some(())
            });
            random.pass(LATER);
        }
        fleet.assert_sound();
        let which = match blow {
            Blow::Working => random.below(size),
            _ => newest,
        };
        match blow {
            Blow::Working | Blow::TakingOver => {
                if *blow == Blow::TakingOver {
                    random.pass(TAKING_OVER_FOR);
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
                random.pass(AWAY);
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
            wanted.consumed
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
    // How many blows fall while the load goes on is up to the machine; most of them have to.
    assert!(hits.with_work_left >= 15 && hits.advanced >= 12, "{hits:?}");
    assert!(hits.transactions >= 1, "{hits:?}");
    // It fails when the broker is away, and otherwise never.
    assert!(loader.failed as usize <= BROKER_KILLS);

    let come_to = Whole::of(&app, &cluster, PARTITIONS);
    fleet.assert_sound();
    app.outputs().check_sequences(POUNDS, test);
    let differences = come_to.differences(&wanted.whole);
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    fleet.end();
    println!("all in {:?}", started.elapsed());
}

#[test]
fn one_instance_killed_twenty_times_comes_to_the_same() {
    disturbed("one_instance_killed_twenty_times", 1, "customer", 1);
}

#[test]
fn three_instances_killed_twenty_times_come_to_the_same() {
    disturbed("three_instances_killed_twenty_times", 3, "order", 2);
}
