//! Changing the number of tasks on a real broker: killed at each of its steps it is gone on with, exports
//! are the same before and after, byte for byte, and what comes later comes to the same as with
//! that number from the start. Whoever is not to be there is refused, or finds out.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, in its helpers too"
)]

mod scene;

use domain::money::Currency;
use fleet::{App, program_with_failpoints, until};
use kafkatest::Broker;

use scene::{
    assert_same, assert_says, dies_at, drained, in_the_end, refusal, repartition, topics, verified,
};

const DOLLARS: Currency = Currency {
    code: *b"USD",
    decimals: 2,
};
/// Two stretches of the same shop.
const FIRST: [&str; 5] = [
    "simulate",
    "--events=1500",
    "--start=2024-01-01",
    "--days=20",
    "--seed=1",
];
const SECOND: [&str; 5] = [
    "simulate",
    "--events=2500",
    "--start=2024-02-01",
    "--days=20",
    "--seed=2",
];
const DRAIN: [&str; 2] = ["run", "--drain"];
/// Of the second stretch, so many records are consumed when the service is killed.
const SOME: f64 = 600.0;

#[test]
fn the_number_of_tasks_is_changed_wherever_the_command_dies() {
    let test = "the_number_of_tasks_is_changed_wherever_the_command_dies";
    let Some(broker) = Broker::shared(test) else {
        return;
    };
    let app = App::new(
        program_with_failpoints(),
        broker.bootstrap(),
        "repartitioned",
        &scene::SETTINGS,
    );
    let whole = std::thread::spawn(move || drained(broker, 3, &[&FIRST, &SECOND]));
    app.run("a", &FIRST);
    app.run("a", &DRAIN);
    let (profiles, days) = (app.export("profiles"), app.export("days"));
    assert!(profiles.lines().count() > 50, "{profiles}");

    // Beside a service it does nothing.
    let mut service = app.start("a");
    service.wait_ready();
    let plan = app.run("b", &["repartition", "--to=6", "--dry-run", "--json"]);
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(
        (plan["from"].as_u64(), plan["to"].as_u64()),
        (Some(4), Some(6))
    );
    assert!(!plan["members"].as_array().unwrap().is_empty());
    assert_says(
        &refusal(&app, "b", &["repartition", "--to=6"]),
        &["the service is running", "Stop every instance"],
    );
    assert!(service.terminate().success());
    // The number in the configuration says nothing to the contrary.
    assert_says(
        &refusal(&app, "a", &["run", "--drain", "--set=partitions=6"]),
        &["this deployment has 4", "clvstream repartition --to 6"],
    );

    dies_at(&app, 6, "repartition-planned=return");
    let unfinished = ["from 4 to 6", "clvstream repartition --to 6"];
    assert_says(&refusal(&app, "a", &DRAIN), &unfinished);
    assert_says(&refusal(&app, "a", &["repartition", "--to=5"]), &unfinished);
    dies_at(&app, 6, "repartition-copying=1*off->return");
    dies_at(&app, 6, "repartition-copied=return");
    assert_says(&refusal(&app, "a", &DRAIN), &unfinished);
    dies_at(&app, 6, "repartition-switched=return");
    assert_same(&app.export("profiles"), &profiles, "after 4 to 6");
    assert_same(&app.export("days"), &days, "after 4 to 6");
    let said = app.run("a", &["repartition", "--to=6"]);
    assert!(said.contains("nothing to do"), "{said}");

    // A service goes on, and dies with records on their way between tasks, and others not read.
    app.run("a", &SECOND);
    let mut service = app.start("a");
    service.wait_ready();
    let rebuilt = service.logged("from before the number of tasks was changed");
    assert!(rebuilt.contains("rebuilt"), "{rebuilt}");
    until("some is consumed", || {
        (service.metric("clvstream_records_read_total") >= SOME).then_some(())
    });
    service.kill();
    dies_at(&app, 3, "repartition-switching=return");
    repartition(&app, 3);
    app.run("a", &DRAIN);
    verified(&app, "a");

    let whole = whole.join().unwrap();
    let when = "with that number from the start";
    assert_same(&app.export("days"), &whole.export("days"), when);
    assert_same(&in_the_end(&app), &in_the_end(&whole), when);
    // Every customer's outputs are numbered on, in one partition.
    app.outputs().check_sequences(DOLLARS, "after all");
    let before = topics(&app);
    for generation in ["", ".1", ".2"] {
        let changelog = format!("{}.internal.changelog{generation}", app.id);
        assert!(before.contains(&changelog), "{before:?}");
    }
    app.run("a", &["repartition", "--delete-old"]);
    let mut left = before;
    left.retain(|name| {
        !name.contains(".internal.") || name.ends_with(".2") || name.ends_with(".marks")
    });
    until("topics are deleted", || {
        (topics(&app) == left).then_some(())
    });
    let internal = left.iter().filter(|name| name.contains(".internal."));
    assert_eq!(internal.count(), 4, "{left:?}");
    app.run("a", &DRAIN);
}

#[test]
fn who_stood_still_finds_that_the_tasks_are_others_and_what_was_begun_can_be_given_up() {
    let test = "who_stood_still_finds_that_the_tasks_are_others";
    let Some(broker) = Broker::shared(test) else {
        return;
    };
    let app = App::new(
        program_with_failpoints(),
        broker.bootstrap(),
        "straggler",
        &scene::SETTINGS,
    );
    app.run("a", &FIRST);
    app.run("a", &DRAIN);
    let profiles = app.export("profiles");
    dies_at(&app, 2, "repartition-copied=return");
    app.run("a", &["repartition", "--abandon"]);
    app.run("a", &DRAIN);
    assert_same(&app.export("profiles"), &profiles, "given up");

    let mut straggler = app.start("straggler");
    straggler.wait_ready();
    straggler.stop();
    repartition(&app, 2);
    straggler.cont();
    assert!(!straggler.ended().success());
    assert_says(
        &straggler.log(),
        &["the number of tasks has been changed", "started again"],
    );
    assert_same(&app.export("profiles"), &profiles, "after 4 to 2");
    verified(&app, "reader");
    app.run("a", &SECOND);
    app.run("a", &DRAIN);
    verified(&app, "a");
    app.outputs()
        .check_sequences(DOLLARS, "with half the tasks");
}
