//! The program, killed with signal 9 again and again at random moments of loading and of processing,
//! and started again: after every kill the log holds a beginning of what an undisturbed run writes,
//! byte for byte, and in the end all of it, nothing twice, with the same state.
//!
//! Moments are random shares of the work that is left, told by what stands in the log, plus a
//! random delay. `CLVSTREAM_TEST_SEED` chooses others.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "a test that fails tells its moments")]

mod contents;
mod victim;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::money::Currency;
use serde_json::Value;

use contents::Contents;
use victim::Victim;

/// Rows of the slice of Online Retail.
const ROWS: usize = 89_401;
const POUNDS: Currency = Currency {
    code: *b"GBP",
    decimals: 3,
};
const DOLLARS: Currency = Currency {
    code: *b"USD",
    decimals: 2,
};
/// Commits, checkpoints and so moments of death in between: many.
const SETTINGS: [&str; 8] = [
    "--set=partitions=4",
    "--set=workers=2",
    "--set=commit.interval=10ms",
    "--set=commit.max_batch=1000",
    "--set=state.checkpoint_interval=100ms",
    "--set=state.checkpoint_bytes=64KiB",
    "--set=http.listen=127.0.0.1:0",
    "--color=never",
];
/// A kill comes at most this many milliseconds after the log has grown to the chosen size.
const LATER_MS: f64 = 20.0;

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
}

/// An undisturbed run.
struct Whole {
    folder: tempfile::TempDir,
    contents: Contents,
    /// What loading and processing write to the log.
    load_bytes: u64,
    process_bytes: u64,
}

impl Whole {
    fn is_loaded(&self, contents: &Contents) -> bool {
        (contents.loaded, contents.control) == (self.contents.loaded, self.contents.control)
    }

    fn is_processed(&self, contents: &Contents) -> bool {
        self.is_loaded(contents) && contents.consumed == self.contents.consumed
    }

    /// Bytes to be written from `contents` on until everything is loaded.
    fn left_to_load(&self, contents: &Contents) -> f64 {
        let done = contents.loaded as f64 / self.contents.loaded as f64;
        self.load_bytes as f64 * (1.0 - done)
    }

    /// Bytes to be written by processing from `contents` on until everything is processed.
    fn left_to_process(&self, contents: &Contents) -> f64 {
        let done = contents.consumed as f64 / self.contents.consumed as f64;
        self.process_bytes as f64 * (1.0 - done)
    }
}

/// What is killed: the command that loads, the one that processes, and how often.
struct Killing<'a> {
    load: (&'a [&'a str], u32),
    process: (&'a [&'a str], u32),
}

/// How many kills found the process at what.
#[derive(Default, Debug)]
struct Hits {
    running: u32,
    loading: u32,
    processing: u32,
    /// Kills before which loading, and processing, had come further.
    load_advanced: u32,
    process_advanced: u32,
}

impl Killing<'_> {
    fn run(&self, folder: &Path, whole: &Whole, random: &mut Random) -> Hits {
        let mut hits = Hits::default();
        let mut now = Contents::of(folder);
        for left in (1..=self.load.1).rev() {
            let share = random.share() / f64::from(left + 1);
            let bytes = share * whole.left_to_load(&now);
            now = kill(folder, self.load.0, bytes, whole, random, (now, &mut hits));
        }
        if self.load.0 != self.process.0 {
            Victim::start(folder, self.load.0).finish();
            now = Contents::of(folder);
        }
        for left in (1..=self.process.1).rev() {
            let share = random.share() / f64::from(left + 1);
            let bytes = match left {
                // Dies as it recovers from having died.
                2 => 0.0,
                _ => whole.left_to_load(&now) + share * whole.left_to_process(&now),
            };
            now = kill(
                folder,
                self.process.0,
                bytes,
                whole,
                random,
                (now, &mut hits),
            );
        }
        hits
    }
}

/// Runs until so many bytes are written and a little longer, kills, and looks at what is left.
fn kill(
    folder: &Path,
    args: &[&str],
    bytes: f64,
    whole: &Whole,
    random: &mut Random,
    (before, hits): (Contents, &mut Hits),
) -> Contents {
    // Half of them at once, when what follows a write is about to happen.
    let later = (2.0 * random.share() - 1.0).max(0.0) * LATER_MS;
    let later = Duration::from_millis(later as u64);
    let running = Victim::start(folder, args).kill_at(bytes as u64, later);
    let after = Contents::of(folder);
    println!(
        "killed {later:?} after {bytes:.0} bytes: loaded {}, consumed {} of {}",
        after.loaded, after.consumed, whole.contents.consumed
    );
    after.assert_begins(&whole.contents);
    hits.running += u32::from(running);
    if !whole.is_loaded(&after) {
        hits.loading += u32::from(running);
        hits.load_advanced += u32::from(after.loaded > before.loaded);
    } else if !whole.is_processed(&after) {
        hits.processing += u32::from(running);
        hits.process_advanced += u32::from(after.consumed > before.consumed);
    }
    after
}

fn slice() -> PathBuf {
    root().join("tests/data/online-retail/slice.csv.zst")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The command line, with the settings of every command.
fn command<'a>(args: &[&'a str], settings: &[&'a str]) -> Vec<&'a str> {
    [args, settings, &SETTINGS].concat()
}

fn assert_same_exports(folder: &Path, other: &Path, settings: &[&str]) {
    for what in ["profiles", "days"] {
        let args = command(&["export", what], settings);
        let (export, _) = Victim::start(folder, &args).finish();
        let (wanted, _) = Victim::start(other, &args).finish();
        assert!(wanted.lines().count() > 100, "{what}: {wanted}");
        assert!(
            export == wanted,
            "export {what} differs from the undisturbed run's"
        );
    }
}

fn replayed(folder: &Path, args: &[&str]) -> (Value, u64) {
    let (report, bytes) = Victim::start(folder, args).finish();
    (serde_json::from_str(&report).unwrap(), bytes)
}

/// Replays lines of Online Retail undisturbed, and once more with ten kills. Answers what is in the
/// log.
fn replay_and_kill(
    data: &Path,
    delivery: &[&str],
    settings: &[&str],
    random: &mut Random,
) -> Contents {
    let mapping = root().join("mappings/online_retail.toml");
    let replay = [
        "replay",
        "--json",
        "--mapping",
        mapping.to_str().unwrap(),
        data.to_str().unwrap(),
    ];
    let args = command(&[&replay, delivery].concat(), settings);
    let undisturbed = tempfile::tempdir().unwrap();
    let (wanted, bytes) = replayed(undisturbed.path(), &args);
    let contents = Contents::of(undisturbed.path());
    let load_bytes = contents.input_bytes();
    let whole = Whole {
        folder: undisturbed,
        contents,
        load_bytes,
        process_bytes: bytes - load_bytes,
    };

    let disturbed = tempfile::tempdir().unwrap();
    let folder = disturbed.path();
    let killing = Killing {
        load: (&args, 4),
        process: (&args, 6),
    };
    let hits = killing.run(folder, &whole, random);
    assert_eq!(hits.running, 10, "{hits:?}");
    assert!(hits.loading >= 3 && hits.load_advanced >= 2, "{hits:?}");
    assert!(
        hits.processing >= 4 && hits.process_advanced >= 3,
        "{hits:?}"
    );

    let (report, _) = replayed(folder, &args);
    assert_eq!(
        report["records"], wanted["records"],
        "what became of records"
    );
    let (again, _) = replayed(folder, &args);
    assert_eq!(
        again["records"], wanted["records"],
        "nothing is left to be done"
    );
    assert_eq!(again["processed"]["records"], Value::from(0));
    let contents = Contents::of(folder);
    assert!(whole.is_processed(&contents));
    contents.assert_equals(&whole.contents);
    let outputs = contents.check_sequences(POUNDS);
    assert_eq!(wanted["records"]["outputs"], Value::from(outputs));
    assert_same_exports(folder, whole.folder.path(), settings);
    contents
}

#[test]
fn a_replay_that_is_killed_ten_times_comes_to_the_same() {
    let contents = replay_and_kill(&slice(), &["--until=2011-09-01"], &[], &mut Random::new(1));
    let ids = contents.input_ids(POUNDS);
    assert_eq!(ids.len(), ROWS);
    for row in 1..=ROWS {
        assert_eq!(ids[&format!("online-retail:{row}")], 1, "row {row}");
    }
}

#[test]
fn a_replay_in_disorder_that_is_killed_ten_times_comes_to_the_same() {
    let delivery = ["--until=2011-09-01", "--shuffle-within=3d", "--duplicate=5"];
    let settings = ["--set=time.grace=3d"];
    let contents = replay_and_kill(&slice(), &delivery, &settings, &mut Random::new(2));
    let ids = contents.input_ids(POUNDS);
    assert_eq!(ids.len(), ROWS);
    assert!(ids.values().all(|times| (1..=2).contains(times)));
    let twice = ids.values().filter(|times| **times == 2).count();
    assert!(
        (ROWS / 25..ROWS / 16).contains(&twice),
        "{twice} delivered twice"
    );
}

#[test]
fn nine_months_whose_replay_is_killed_ten_times_come_to_the_same() {
    let data = std::env::var_os("CLVSTREAM_TEST_DATA")
        .map_or_else(|| root().join("../shared/data"), PathBuf::from)
        .join("online_retail_until_2011-08-31.csv.zst");
    if !data.exists() {
        println!(
            "SKIPPED nine_months_whose_replay_is_killed_ten_times_come_to_the_same: no test data; \
             set CLVSTREAM_TEST_DATA to a folder that has it"
        );
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "test data must be there in CI"
        );
        return;
    }
    let until = ["--until=2011-06-15T12:00:00Z"];
    let contents = replay_and_kill(&data, &until, &[], &mut Random::new(4));
    let ids = contents.input_ids(POUNDS);
    assert_eq!(ids.len() as u64, contents.loaded);
}

/// Runs the service until it has consumed `records`, then asks it to stop. Answers how much it
/// wrote.
fn serve(folder: &Path, args: &[&str], records: u64) -> u64 {
    let mut service = Victim::start(folder, args);
    let consumed = service.wait_for(|service| {
        let stderr = service.stderr();
        let address = stderr.split_once("http=")?.1.split_whitespace().next()?;
        (records_read(address)? >= records).then_some(())
    });
    assert!(consumed.is_some(), "{}", service.stderr());
    service.terminate();
    service.finish().1
}

/// Records that the service at `address` has consumed.
fn records_read(address: &str) -> Option<u64> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let line = answer
        .lines()
        .find_map(|line| line.strip_prefix("clvstream_records_read_total "));
    Some(line.unwrap().parse().unwrap())
}

#[test]
fn a_service_with_two_inputs_that_is_killed_comes_to_the_same() {
    const EVENTS: usize = 60_000;
    let simulate = command(&["simulate", "--events=60000"], &[]);
    let run = command(&["run"], &[]);
    let undisturbed = tempfile::tempdir().unwrap();
    let (_, load_bytes) = Victim::start(undisturbed.path(), &simulate).finish();
    let process_bytes = serve(undisturbed.path(), &run, EVENTS as u64);
    let whole = Whole {
        contents: Contents::of(undisturbed.path()),
        folder: undisturbed,
        load_bytes,
        process_bytes,
    };
    assert!(whole.is_processed(&whole.contents));

    let disturbed = tempfile::tempdir().unwrap();
    let folder = disturbed.path();
    let killing = Killing {
        load: (&simulate, 5),
        process: (&run, 5),
    };
    let hits = killing.run(folder, &whole, &mut Random::new(3));
    assert_eq!(hits.running, 10, "{hits:?}");
    assert!(hits.loading >= 3 && hits.load_advanced >= 2, "{hits:?}");
    assert!(
        hits.processing >= 3 && hits.process_advanced >= 2,
        "{hits:?}"
    );

    let left = EVENTS as u64 - Contents::of(folder).consumed;
    serve(folder, &run, left);
    let contents = Contents::of(folder);
    assert!(whole.is_processed(&contents));
    // Everything was there to be read, so that the inputs were merged in the same order.
    contents.assert_equals(&whole.contents);
    contents.check_sequences(DOLLARS);
    let ids = contents.input_ids(DOLLARS);
    assert_eq!(ids.len(), EVENTS);
    assert!(ids.values().all(|times| *times == 1));
    assert_same_exports(folder, whole.folder.path(), &[]);
}
