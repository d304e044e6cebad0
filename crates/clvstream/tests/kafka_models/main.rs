//! `clvstream model` on a deployment on real Kafka, beside the instances that work on it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and says on its output what it skips"
)]

#[path = "../model_support/mod.rs"]
mod model_support;

use std::collections::BTreeMap;
use std::process::Command;

use fleet::{App, Instance, until};
use kafkatest::Broker;
use model_support::{
    Sample, args_of, assert_equal, assert_histograms, holdout, open, root, taken_from, versions,
    without_rejected,
};
use runtime::Deployment;
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_clvstream");

/// What a call without a deployment says, as JSON.
fn from_file(args: &[&str]) -> Value {
    let output = Command::new(PROGRAM)
        .args(args)
        .current_dir(root())
        .env_clear()
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn cdnow_from_a_deployment_on_kafka_is_cdnow_from_the_file() {
    let name = "cdnow_from_a_deployment_on_kafka_is_cdnow_from_the_file";
    let (Some(broker), Some(sample)) = (Broker::shared(name), Sample::cdnow(name)) else {
        return;
    };
    let app = App::new(PROGRAM, broker.bootstrap(), "models", &["partitions=3"]);
    let mut instance = app.start("i0");
    instance.wait_ready();
    load(&app, &sample);
    let histories = |name: &str| {
        let file = app.folder.path().join(name);
        (format!("--histories={}", file.display()), file)
    };
    let (option, file) = histories("file.csv");
    let args = ["model", "fit", "--json", &option];
    let wanted = from_file(&[&args[..], &args_of(&sample)].concat());
    let wanted_table = std::fs::read_to_string(file).unwrap();
    let (option, file) = histories("stream.csv");
    let found = app.run("reader", &["model", "fit", "--json", "--quiet", &option]);
    let found: Value = serde_json::from_str(&found).unwrap();
    let found_table = std::fs::read_to_string(file).unwrap();
    assert_equal(&found_table, &wanted_table, sample.customers);
    let wanted = taken_from("files", without_rejected(wanted));
    assert_eq!(taken_from("customers", found), wanted);
    let found = app.run("reader", &["model", "fit", "--json", "--quiet"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    assert_eq!(taken_from("histograms", found), wanted);
    assert_histograms(&seen(&app));
    let evaluate = holdout(&sample);
    let evaluate: Vec<&str> = evaluate.iter().map(String::as_str).collect();
    let found = app.run("reader", &[&evaluate[..], &["--quiet"]].concat());
    let found: Value = serde_json::from_str(&found).unwrap();
    let wanted = from_file(&[&evaluate[..], &args_of(&sample)].concat());
    assert_eq!(found, without_rejected(wanted));

    // A model that is promoted while the instance runs comes to every task.
    assert_eq!(versions(&seen(&app)), [None; 3]);
    app.run("reader", &["model", "fit", "--save", "--quiet"]);
    app.run("reader", &["model", "promote", "1", "--quiet"]);
    until("every task has the model", || {
        (versions(&seen(&app)) == [Some(1); 3]).then_some(())
    });
    until("every customer is scored under it", || {
        let table = app.export("profiles");
        let mut rows = csv::Reader::from_reader(table.as_bytes());
        let rows: Vec<BTreeMap<String, String>> = rows.deserialize().map(Result::unwrap).collect();
        assert_eq!(rows.len(), sample.customers);
        rows.iter()
            .all(|row| row["model_version"] == "1")
            .then_some(())
    });
    app.run("reader", &["verify", "--quiet"]);
    assert!(instance.is_running(), "{}", instance.log());
    end(instance);
}

fn load(app: &App, sample: &Sample) {
    let replay = ["replay", "--quiet"];
    app.run("loader", &[&replay[..], &args_of(sample)].concat());
}

/// The application as this process sees it.
fn seen(app: &App) -> Deployment {
    open(&[
        format!("application_id={}", app.id),
        format!("kafka.bootstrap={}", app.bootstrap()),
        format!("data_dir={}", app.data_dir("onlooker").display()),
    ])
}

fn end(mut instance: Instance) {
    let status = instance.terminate();
    assert!(status.success(), "{status}: {}", instance.log());
}

#[test]
fn the_owner_of_the_first_task_fits_by_the_schedule_and_a_restart_makes_no_other() {
    let name = "the_owner_of_the_first_task_fits_by_the_schedule_and_a_restart_makes_no_other";
    let (Some(broker), Some(sample)) = (Broker::shared(name), Sample::cdnow(name)) else {
        return;
    };
    let settings = ["partitions=2", "workers=1"];
    let app = App::new(PROGRAM, broker.bootstrap(), "refit", &settings);
    let instance = app.start("i0");
    instance.wait_ready();
    load(&app, &sample);
    end(instance);

    let schedule = ["model.refit=7d", "model.family=bg_nbd"];
    let both = ["i0", "i1"].map(|name| app.start_with(name, &schedule));
    let made =
        |instance: &Instance| instance.metric("clvstream_model_refits_total{outcome=\"promoted\"}");
    until("one of the two has fitted a model", || {
        (both.iter().map(made).sum::<f64>() > 0.0).then_some(())
    });
    until("both tasks have it", || {
        (versions(&seen(&app)) == [Some(1); 2]).then_some(())
    });
    both.into_iter().for_each(end);
    let list = || -> Value {
        let listed = app.run("reader", &["model", "list", "--json", "--quiet"]);
        serde_json::from_str(&listed).unwrap()
    };
    let listed = list();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed[0]["family"], "bg_nbd");
    assert_eq!(listed[0]["in_force"], true);
    assert_eq!(listed[0]["note"], "fitted by the schedule");
    assert_eq!(listed[0]["orders"]["customers"], sample.customers);

    let instance = app.start_with("i0", &schedule);
    instance.logged("the next model is fitted when it is due");
    assert_eq!(made(&instance), 0.0);
    end(instance);
    assert_eq!(list(), listed);
}
