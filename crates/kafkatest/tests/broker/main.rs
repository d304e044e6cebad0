//! What the other tests rely on: a broker that answers, keeps its data over kill -9, and leaves
//! nothing behind.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests may panic"
)]

mod secured;
mod topics;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kafkatest::{Broker, Options, unique};

/// Set for a process that a test starts of its own binary: which part it is to play.
const ROLE: &str = "KAFKATEST_ROLE";

/// This test binary again, to run one test in the role `holder`.
fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(ROLE, "holder")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn in_role() -> bool {
    std::env::var_os(ROLE).is_some()
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "in vain waited until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits for what the process in the role says of the broker that it holds.
fn told(child: &mut Child) -> (String, String) {
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let line = stdout
        .lines()
        .map(Result::unwrap)
        .find_map(|line| Some(line.split_once("HOLDS ")?.1.to_owned()))
        .expect("the process says which broker it holds");
    let (pid, folder) = line.split_once(' ').unwrap();
    (pid.to_owned(), folder.to_owned())
}

/// The folder from the command line of a broker's process.
fn folder_of(pid: u32) -> String {
    let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    let properties = line.trim_end_matches('\0').rsplit('\0').next().unwrap();
    Path::new(properties)
        .parent()
        .unwrap()
        .display()
        .to_string()
}

#[test]
fn data_and_port_outlast_kill_nine() {
    let Some(broker) = Broker::own("data_and_port_outlast_kill_nine") else {
        return;
    };
    let (bootstrap, pid) = (broker.bootstrap().to_owned(), broker.pid());
    topics::create(&bootstrap, "kept");
    assert!(broker.log().contains("Kafka Server started"));

    broker.kill();
    assert_eq!(broker.pid(), None);
    assert!(std::net::TcpStream::connect(&bootstrap).is_err());

    broker.restart();
    assert_eq!(broker.bootstrap(), bootstrap);
    assert_ne!(broker.pid(), pid);
    wait_until("the topic is back", || topics::exists(&bootstrap, "kept"));
    assert!(!topics::exists(&bootstrap, "never_made"));

    let folder = folder_of(broker.pid().unwrap());
    drop(broker);
    assert!(!Path::new(&folder).exists(), "{folder} is left");
}

#[test]
fn a_cluster_goes_on_without_one_of_its_brokers() {
    let test = "a_cluster_goes_on_without_one_of_its_brokers";
    let Some(cluster) = Options::new().proxied().start_cluster(3, test) else {
        return;
    };
    topics::create(cluster.brokers()[0].bootstrap(), "before");
    let [lost, others @ ..] = cluster.brokers() else {
        panic!("three brokers");
    };
    let place = lost.proxied().unwrap();
    assert!(std::net::TcpStream::connect(("127.0.0.1", place.behind)).is_ok());
    assert!(std::net::TcpStream::connect(("127.0.0.1", place.front)).is_err());
    lost.kill();
    let reach: Vec<_> = others.iter().map(|other| other.bootstrap()).collect();
    wait_until("the others have the topic", || {
        reach.iter().all(|other| topics::exists(other, "before"))
    });
    topics::create(reach[0], "meanwhile");
    lost.restart();
    wait_until(
        "the one that was away knows what was made meanwhile",
        || topics::exists(lost.bootstrap(), "meanwhile"),
    );
}

#[test]
fn properties_are_the_brokers() {
    let test = "properties_are_the_brokers";
    let options = Options::new().property("auto.create.topics.enable", "true");
    let Some(broker) = options.start(test) else {
        return;
    };
    let asked = || topics::exists(broker.bootstrap(), "asked_for");
    wait_until("asking makes the topic", asked);
    assert!(broker.security().is_none());
}

#[test]
fn kill_nine_of_the_test_leaves_nothing() {
    let test = "kill_nine_of_the_test_leaves_nothing";
    let Some(broker) = (if in_role() { Broker::own(test) } else { None }) else {
        if !in_role() {
            observe(test, |child| child.kill().unwrap());
        }
        return;
    };
    hold(&broker);
}

#[test]
fn the_shared_broker_ends_with_the_tests() {
    let test = "the_shared_broker_ends_with_the_tests";
    let Some(broker) = Broker::shared(test) else {
        return;
    };
    assert!(std::ptr::eq(broker, Broker::shared(test).unwrap()));
    if in_role() {
        return hold(broker);
    }
    // The end of its input ends it, as tests end when all have run.
    observe(test, |child| drop(child.stdin.take()));
}

/// In the role: names the broker and waits for the end of the input.
fn hold(broker: &Broker) {
    let pid = broker.pid().unwrap();
    println!("HOLDS {pid} {}", folder_of(pid));
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty());
}

/// Ends a process that holds a broker; nothing of the broker may be left.
fn observe(test: &str, end: impl FnOnce(&mut Child)) {
    if Broker::shared(test).is_none() {
        return;
    }
    let mut child = again(test)
        .env_remove("CLVSTREAM_TEST_BOOTSTRAP")
        .spawn()
        .unwrap();
    let (pid, folder) = told(&mut child);
    assert!(Path::new(&folder).join("data").exists());
    end(&mut child);
    child.wait().unwrap();
    wait_until("the broker is gone", || {
        !Path::new(&format!("/proc/{pid}")).exists()
    });
    wait_until("its folder is gone", || !Path::new(&folder).exists());
}

#[test]
fn without_java_17_tests_are_skipped_and_fail_in_ci() {
    let test = "without_java_17_tests_are_skipped_and_fail_in_ci";
    if in_role() {
        assert!(Broker::own(test).is_none());
        return;
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("bin")).unwrap();
    let java = home.path().join("bin/java");
    std::fs::write(&java, "#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n").unwrap();
    std::fs::set_permissions(&java, PermissionsExt::from_mode(0o755)).unwrap();

    for (ci, passes) in [("false", true), ("true", false)] {
        let mut command = again(test);
        command.env("CI", ci).env("JAVA_HOME", home.path());
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        let expected = format!(
            "SKIPPED {test}: {} is Java 11: Kafka needs 17 or newer",
            java.display()
        );
        assert!(said.contains(&expected), "CI={ci}: {said}");
        assert_eq!(output.status.success(), passes, "CI={ci}: {said}");
    }
}

#[test]
fn an_external_broker_is_used_and_never_killed() {
    let test = "an_external_broker_is_used_and_never_killed";
    if !in_role() {
        let mut command = again(test);
        command.env("CLVSTREAM_TEST_BOOTSTRAP", "kafka.example:9092");
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("is not mine: Broker::own starts one"),
            "{said}"
        );
        assert!(!output.status.success());
        return;
    }
    let broker = Broker::start(test).unwrap();
    assert_eq!(broker.bootstrap(), "kafka.example:9092");
    broker.kill();
}

#[test]
fn names_are_unique() {
    let names = [unique("orders"), unique("orders"), unique("carts")];
    assert!(names[0].starts_with("orders-"));
    assert_ne!(names[0], names[1]);
}
