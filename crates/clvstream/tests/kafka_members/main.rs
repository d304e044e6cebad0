//! Instances that come, go, have each other's name or stand still, under load on a real broker:
//! each task is with one of them at a time, whatever went wrong is named for what it is, and the
//! profiles are, byte for byte, those of a run on the embedded log.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measures"
)]

mod owners;

use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use fleet::{App, Instance, Pending, until};
use kafkatest::Broker;

use owners::{assert_one_owner_at_a_time, logged_after, tasks_of};

const PROGRAM: &str = env!("CARGO_BIN_EXE_clvstream");
const N: usize = 8;
const SHOP: [&str; 3] = ["simulate", "--events=12000", "--days=60"];
/// The shop goes on for twenty seconds.
const RATE: &str = "--rate=600";
/// Whoever is silent is found out soon; and there is nearly always a transaction open.
const SETTINGS: [&str; 7] = [
    "partitions=8",
    "workers=2",
    "commit.interval=1ms",
    "kafka.session_timeout=3s",
    "kafka.max_poll_interval=3s",
    "kafka.transaction_timeout=3s",
    "kafka.profile=low_latency",
];

/// The profiles of a run on the embedded log that nobody disturbed.
static UNDISTURBED: LazyLock<String> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let output = Command::new(PROGRAM)
            .args(args)
            .args(["--set=partitions=8", "--quiet"])
            .args(["--set", &format!("data_dir={}", folder.path().display())])
            .env_clear()
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{args:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&SHOP);
    run(&["run", "--drain"]);
    let profiles = run(&["export", "profiles"]);
    assert!(profiles.lines().count() > 500);
    profiles
});

/// An application whose shop is open.
struct Scene {
    app: App,
    load: Child,
    pending: Pending,
}

impl Scene {
    fn open(broker: &Broker, name: &str) -> Scene {
        let app = App::new(PROGRAM, broker.bootstrap(), name, &SETTINGS);
        let load = app
            .command("load", &[SHOP[0], SHOP[1], SHOP[2], RATE])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Scene {
            pending: Pending::of(
                broker.bootstrap(),
                &format!("{}.internal.changelog", app.id),
                N,
            ),
            app,
            load,
        }
    }

    fn is_open(&mut self) -> bool {
        self.load.try_wait().unwrap().is_none()
    }

    /// Waits until the shop is closed and everything is consumed, and compares.
    fn close(&mut self) {
        let status = until("the load has ended", || self.load.try_wait().unwrap());
        assert!(status.success(), "{status}");
        self.app.run("last", &["run", "--drain"]);
        let profiles = self.app.export("profiles");
        assert!(
            profiles == *UNDISTURBED,
            "{}",
            first_difference(&profiles, &UNDISTURBED)
        );
    }

    /// What the instances have said, as far as it is still there.
    fn tell(&self) {
        let Ok(files) = std::fs::read_dir(self.app.folder.path()) else {
            return;
        };
        for file in files.flatten() {
            let said = std::fs::read_to_string(file.path()).unwrap_or_default();
            println!("--- {}\n{said}", file.path().display());
        }
    }

    /// Stops an instance while one of its transactions is open.
    fn stop_in_transaction(&self, instance: &Instance) {
        until("an instance is stopped in a transaction", || {
            instance.stop();
            let is_open = self.pending.is_stuck();
            if !is_open {
                instance.cont();
            }
            is_open.then_some(())
        });
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = self.load.kill();
        let _ = self.load.wait();
        if std::thread::panicking() {
            self.tell();
        }
    }
}

fn first_difference(is: &str, should: &str) -> String {
    let differs = is
        .lines()
        .zip(should.lines())
        .find(|(is, should)| is != should);
    let (is_lines, should_lines) = (is.lines().count(), should.lines().count());
    format!("{is_lines} lines instead of {should_lines}; first difference: {differs:#?}")
}

/// Waits until these instances have all tasks among them, and each has some.
fn share(instances: &[&Instance]) {
    until("the tasks are shared", || {
        let tasks: Vec<_> = instances.iter().map(|one| tasks_of(one)).collect();
        let all: usize = tasks.iter().map(|tasks| tasks.len()).sum();
        (all == N && tasks.iter().all(|tasks| !tasks.is_empty())).then_some(())
    });
}

/// SIGTERM, which is no failure.
fn end(instance: &mut Instance) {
    let status = instance.terminate();
    assert!(status.success(), "{status}: {}", instance.log());
}

/// How an instance has named, since `from` bytes of its log, what has happened to it.
fn named(instance: &Instance, from: usize) -> Option<&'static str> {
    let log = instance.log();
    let said = &log[from..];
    let names = [
        ("zombie", "zombie: "),
        ("duplicate_id", "duplicate_id: "),
        ("timeout", "timeout: "),
        ("lost", "\"lost: "),
    ];
    let (name, _) = names.into_iter().find(|(_, words)| said.contains(words))?;
    Some(name)
}

/// Waits until metrics count what was named.
fn counted(instance: &Instance, name: &str) {
    let sample = match name {
        "lost" => "clvstream_rebalances_total{kind=\"lost\"}".to_owned(),
        kind => format!("clvstream_fenced_total{{kind=\"{kind}\"}}"),
    };
    until(&format!("{sample} is counted"), || {
        (instance.metric(&sample) >= 1.0).then_some(())
    });
}

#[test]
fn one_then_three_then_one_instance_come_to_the_numbers_of_one() {
    let Some(broker) = Broker::shared("one_then_three_then_one_instance") else {
        return;
    };
    let mut scene = Scene::open(broker, "members-scaling");
    let mut a = scene.app.start("a");
    share(&[&a]);
    let began = Instant::now();
    let mut b = scene.app.start("b");
    let mut c = scene.app.start("c");
    share(&[&a, &b, &c]);
    println!("1 → 3 took {:?}", began.elapsed());
    let began = Instant::now();
    end(&mut a);
    end(&mut b);
    share(&[&c]);
    println!("3 → 1 took {:?}", began.elapsed());
    assert!(scene.is_open(), "the load was to last longer");
    let consumed = c.metric("clvstream_records_read_total");
    until("work goes on", || {
        (c.metric("clvstream_records_read_total") > consumed).then_some(())
    });
    let again = scene.app.start("a");
    share(&[&c, &again]);
    let pause = assert_one_owner_at_a_time(&[&a, &b, &c, &again]);
    println!("a task was without an owner for {pause:?} at most");
    assert!(pause < Duration::from_secs(60));
    scene.close();
    // Beside the instances that went on.
    assert!(c.is_running());
    end(&mut c);
}

#[test]
fn of_two_processes_with_one_name_one_stops_and_says_so() {
    let Some(broker) = Broker::shared("of_two_processes_with_one_name") else {
        return;
    };
    let mut scene = Scene::open(broker, "members-twins");
    let mut first = scene.app.start("twin");
    share(&[&first]);
    let other = format!(
        "data_dir={}",
        scene.app.folder.path().join("other").display()
    );
    let mut second = scene.app.start_with("twin", &[&other]);
    let first_stopped = until("one of them has stopped", || {
        match (first.is_running(), second.is_running()) {
            (true, true) => None,
            (false, false) => panic!("{}{}", first.log(), second.log()),
            (first_runs, _) => Some(!first_runs),
        }
    });
    let (stopped, goes_on) = match first_stopped {
        true => (&mut first, &mut second),
        false => (&mut second, &mut first),
    };
    assert!(!stopped.ended().success());
    let said = stopped.log();
    assert!(said.contains("two processes run as instance"), "{said}");
    assert_eq!(named(stopped, 0), Some("duplicate_id"), "{said}");
    share(&[goes_on]);
    scene.close();
    assert!(goes_on.is_running());
    end(goes_on);
}

#[test]
fn one_that_stood_still_while_another_took_over_is_named_and_works_again() {
    let Some(broker) = Broker::shared("one_that_stood_still_while_another_took_over") else {
        return;
    };
    let mut scene = Scene::open(broker, "members-zombie");
    let zombie = scene.app.start("zombie");
    let other = scene.app.start("other");
    share(&[&zombie, &other]);
    scene.stop_in_transaction(&zombie);
    let before = zombie.log().len();
    share(&[&other]);
    zombie.cont();
    let name = until("it is named", || named(&zombie, before));
    println!("the one that stood still: {name}");
    counted(&zombie, name);
    assert_ne!(name, "duplicate_id");
    until("it works again", || {
        logged_after(&zombie, before, "taken over").then_some(())
    });
    share(&[&zombie, &other]);
    assert_eq!(named(&other, 0), None, "{}", other.log());
    scene.close();
}

#[test]
fn one_that_stood_still_alone_finds_its_transaction_ended() {
    let Some(broker) = Broker::shared("one_that_stood_still_alone") else {
        return;
    };
    let mut scene = Scene::open(broker, "members-alone");
    let alone = scene.app.start("alone");
    share(&[&alone]);
    scene.stop_in_transaction(&alone);
    let before = alone.log().len();
    until("the broker has ended the transaction", || {
        (!scene.pending.is_any()).then_some(())
    });
    alone.cont();
    let name = until("it is named", || named(&alone, before));
    println!("the one that stood still alone: {name}");
    counted(&alone, name);
    assert_ne!(name, "duplicate_id");
    until("it works again", || {
        logged_after(&alone, before, "taken over").then_some(())
    });
    share(&[&alone]);
    scene.close();
}

#[test]
fn one_that_was_replaced_under_its_name_while_it_stood_still_stops() {
    let Some(broker) = Broker::shared("one_that_was_replaced_under_its_name") else {
        return;
    };
    let mut scene = Scene::open(broker, "members-replaced");
    let mut old = scene.app.start("name");
    share(&[&old]);
    scene.stop_in_transaction(&old);
    let other = format!(
        "data_dir={}",
        scene.app.folder.path().join("other").display()
    );
    let mut new = scene.app.start_with("name", &[&other]);
    share(&[&new]);
    old.cont();
    assert!(!old.ended().success());
    let said = old.log();
    assert!(said.contains("two processes run as instance"), "{said}");
    let name = named(&old, 0);
    println!("the one that was replaced: {name:?}");
    assert!(
        matches!(name, Some("zombie" | "duplicate_id" | "lost")),
        "{name:?}: {said}"
    );
    assert_eq!(named(&new, 0), None, "{}", new.log());
    scene.close();
    assert!(new.is_running());
    end(&mut new);
}
