//! `clvstream model` on an embedded deployment: what the pipeline keeps of customers gives what their orders in
//! files give.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking and says on its output what it skips"
)]

#[path = "model_support/mod.rs"]
mod model_support;
#[allow(dead_code, reason = "shared with tests that need all of it")]
#[path = "service/process.rs"]
mod process;

use std::path::Path;
use std::process::Command;

use model_support::{
    Sample, args_of, assert_equal, assert_histograms, holdout, open, root, taken_from, versions,
    without_rejected,
};
use process::{Process, Samples, until};
use serde_json::Value;

/// Standard output of a call in the project's root, which has to end well.
fn run(data: Option<&Path>, args: &[&str]) -> String {
    let (code, said, errors) = outcome(data, args);
    assert_eq!(code, 0, "{args:?}: {said}{errors}");
    said
}

/// How a call ends, its output and its errors.
fn outcome(data: Option<&Path>, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_clvstream"));
    command
        .args(args)
        .arg("--quiet")
        .current_dir(root())
        .env_clear();
    if let Some(data) = data {
        command.arg(format!("--set=data_dir={}", data.display()));
    }
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().unwrap();
    (code, text(&output.stdout), text(&output.stderr))
}

fn json(data: Option<&Path>, args: &[&str]) -> Value {
    serde_json::from_str(&run(data, args)).unwrap()
}

/// Loads the sample, and holds histories, fits and evaluation against those from the file.
fn assert_as_from_the_file(sample: &Sample) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let load = ["replay", "--mapping", sample.mapping, &sample.file];
    run(Some(&data), &load);
    let written = |data: Option<&Path>, name: &str, of: &[&str]| {
        let file = folder.path().join(name);
        let file = format!("--histories={}", file.display());
        let found = json(data, &[&["model", "fit", "--json", &file], of].concat());
        let table = std::fs::read_to_string(folder.path().join(name)).unwrap();
        (found, table)
    };
    let (from_file, wanted) = written(None, "file.csv", &args_of(sample));
    let (from_stream, found) = written(Some(&data), "stream.csv", &[]);
    assert_equal(&found, &wanted, sample.customers);
    let from_file = taken_from("files", without_rejected(from_file));
    assert_eq!(taken_from("customers", from_stream), from_file);
    // And from the histograms that the pipeline keeps.
    let from_stream = json(Some(&data), &["model", "fit", "--json"]);
    assert_eq!(taken_from("histograms", from_stream), from_file);
    assert_histograms(&open(&settings(&data)));
    let evaluate = holdout(sample);
    let evaluate: Vec<&str> = evaluate.iter().map(String::as_str).collect();
    let from_stream = json(Some(&data), &evaluate);
    let from_file = json(None, &[&evaluate[..], &args_of(sample)].concat());
    assert_eq!(from_stream, without_rejected(from_file));
    // So is the report, but for what it says of where the orders come from.
    let report = |data: Option<&Path>, name: &str, of: &[&str]| {
        let file = folder.path().join(name);
        let out = format!("--out={}", file.display());
        let said = run(
            data,
            &[&["model", "report", "--until", sample.until, &out], of].concat(),
        );
        assert!(said.ends_with(" customers, 7 plots\n"), "{said}");
        let page = std::fs::read_to_string(file).unwrap();
        let (other, lines): (Vec<&str>, Vec<&str>) = page.lines().partition(|line| {
            ["<dt>Orders</dt>", "<dt>Rejected</dt>"]
                .iter()
                .any(|dt| line.contains(dt))
        });
        (other.join("\n"), lines.join("\n"))
    };
    let (orders, from_stream) = report(Some(&data), "stream.html", &[]);
    assert!(
        orders.contains("of the customers of the application "),
        "{orders}"
    );
    let (orders, from_file) = report(None, "file.html", &args_of(sample));
    assert!(orders.contains(", read by "), "{orders}");
    assert!(from_stream == from_file, "the pages differ");
    // Earlier ends too, where orders that come later are none yet.
    let early = ["model", "fit", "--json", "--as-of", sample.until];
    let from_stream = json(Some(&data), &early);
    let from_file = json(None, &[&early[..], &args_of(sample)].concat());
    let from_file = taken_from("files", without_rejected(from_file));
    assert_eq!(taken_from("customers", from_stream), from_file);
}

fn settings(data: &Path) -> [String; 1] {
    [format!("data_dir={}", data.display())]
}

#[test]
fn cdnow_from_an_embedded_deployment_is_cdnow_from_the_file() {
    let name = "cdnow_from_an_embedded_deployment_is_cdnow_from_the_file";
    let Some(sample) = Sample::cdnow(name) else {
        return;
    };
    assert_as_from_the_file(&sample);
}

#[test]
fn online_retail_with_cancellations_and_refunds_is_the_same_from_an_embedded_deployment() {
    let name =
        "online_retail_with_cancellations_and_refunds_is_the_same_from_an_embedded_deployment";
    let Some(sample) = Sample::online_retail(name) else {
        return;
    };
    assert_as_from_the_file(&sample);
}

#[test]
fn mapping_and_input_go_together() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, said) = outcome(
        Some(folder.path()),
        &["model", "fit", "--mapping", "mappings/cdnow.toml"],
    );
    assert_eq!(code, 2);
    assert!(
        said.contains("--mapping says how files are read, and no file is named"),
        "{said}"
    );
    let (code, _, said) = outcome(
        Some(folder.path()),
        &["model", "evaluate", "--until", "1997-09-30", "orders.csv"],
    );
    assert_eq!(code, 2);
    assert!(
        said.contains("files are named, and no --mapping says how they are read"),
        "{said}"
    );
    let (code, _, said) = outcome(Some(folder.path()), &["model", "fit"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("no customer of the deployment has an order"),
        "{said}"
    );
}

#[test]
fn models_are_saved_listed_and_shown() {
    let Some(sample) = Sample::cdnow("models_are_saved_listed_and_shown") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let data = Some(folder.path());
    let refused = |args: &[&str], code: i32, why: &str| {
        let (found, _, said) = outcome(data, &[&["model"], args].concat());
        assert_eq!(found, code, "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
    };
    run(data, &["replay", "--mapping", sample.mapping, &sample.file]);
    refused(&["list"], 1, "no model has been saved");
    refused(&["show"], 1, "no model has been saved");
    refused(&["fit", "--save", "--holdout", "36h"], 2, "whole days");
    refused(
        &[&["fit", "--save"], &args_of(&sample)[..]].concat(),
        2,
        "cannot be used with",
    );

    let told = json(data, &["model", "fit", "--save", "--json"]);
    let first = &told["saved"];
    assert_eq!(first["version"], 1);
    assert_eq!(first["family"], "mbg_nbd");
    assert_eq!(first["promoted_at"], Value::Null);
    assert_eq!(first["data"]["until"], told["as_of"]);
    assert_eq!(first["data"]["first"], "1997-01-01");
    // What is saved is what is told of MBG/NBD and Gamma-Gamma.
    for (part, fit) in [("orders", &told["fits"][1]), ("spend", &told["fits"][3])] {
        let part = &first[part];
        assert_eq!(part["customers"], fit["customers"]);
        assert_eq!(part["ln_likelihood"], fit["ln_likelihood"]);
        for parameter in fit["parameters"].as_array().unwrap() {
            let saved = &part["parameters"][parameter["name"].as_str().unwrap()];
            assert_eq!(saved["value"], parameter["value"]);
            assert_eq!(saved["standard_error"], parameter["standard_error"]);
        }
    }
    // The scores are those of an evaluation over the last 91 days.
    let holdout = &first["holdout"];
    assert_eq!(holdout["until"], "1998-03-31");
    assert_eq!(holdout["in_force"], Value::Null);
    let evaluated = json(
        data,
        &["model", "evaluate", "--json", "--until", "1998-03-31"],
    );
    assert_eq!(evaluated["scores"][2]["by"], "MBG/NBD");
    for what in ["orders", "revenue"] {
        for score in ["predicted", "actual", "mae", "rmse", "correlation", "gini"] {
            let evaluated = &evaluated["scores"][2][what][score];
            assert_eq!(&holdout["scores"][what][score], evaluated, "{what} {score}");
        }
    }

    let save = ["model", "fit", "--save", "--family=bg-nbd", "--holdout=39w"];
    let said = run(data, &[&save[..], &["--note=another family"]].concat());
    assert!(said.contains("saved as version 2 (BG/NBD)"), "{said}");
    assert!(
        said.contains("holdout: 273 days until 1998-06-30, of 2,357 customers"),
        "{said}"
    );
    let listed = json(data, &["model", "list", "--json"]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(listed[0]["in_force"], false);
    assert_eq!(listed[1]["note"], "another family");
    assert_eq!(&json(data, &["model", "show", "1", "--json"]), first);
    // None is in force: the latest is shown.
    let said = run(data, &["model", "show"]);
    assert!(said.starts_with("version 2, saved "), "{said}");
    assert!(said.contains("\nanother family\n"), "{said}");
    refused(&["show", "7"], 1, "there is no version 7");
}

#[test]
fn a_model_is_promoted_where_it_predicts_no_worse_or_where_it_must() {
    let name = "a_model_is_promoted_where_it_predicts_no_worse_or_where_it_must";
    let Some(sample) = Sample::cdnow(name) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let data = Some(folder.path());
    let promote = |args: &[&str]| outcome(data, &[&["model", "promote"], args].concat());
    let save = |args: &[&str]| {
        let fit = ["model", "fit", "--save", "--json"];
        json(data, &[&fit[..], args].concat())["saved"].clone()
    };
    let in_force = || -> Vec<u64> {
        let listed = json(data, &["model", "list", "--json"]);
        let listed = listed.as_array().unwrap().clone().into_iter();
        let in_force = listed.filter(|model| model["in_force"] == true);
        in_force
            .map(|model| model["version"].as_u64().unwrap())
            .collect()
    };
    run(data, &["replay", "--mapping", sample.mapping, &sample.file]);
    save(&[]);
    let (code, _, said) = promote(&["7"]);
    assert_eq!(
        (code, said.contains("there is no version 7")),
        (1, true),
        "{said}"
    );
    let (code, said, _) = promote(&["1"]);
    assert_eq!(
        (code, said.as_str()),
        (0, "version 1 is in force: no model is in force\n")
    );
    let (code, said, _) = promote(&["1"]);
    assert_eq!(
        (code, said.as_str()),
        (0, "version 1 is in force already\n")
    );
    // The tasks have it once they have come to the record.
    let tasks = || versions(&open(&settings(folder.path())));
    assert_eq!(tasks(), [None; 4]);
    run(data, &["run", "--drain"]);
    assert_eq!(tasks(), [Some(1); 4]);

    // One that was drawn far away from what the data say.
    let said = run(data, &["model", "fit", "--save", "--l2=1"]);
    let unasked = "it is not promoted unasked: it predicts revenue worse than version 1";
    assert!(said.contains(unasked), "{said}");
    assert!(
        said.contains("`clvstream model promote 2 --force`"),
        "{said}"
    );
    let second = json(data, &["model", "show", "2", "--json"]);
    assert_eq!(second["holdout"]["in_force"]["version"], 1);
    let (code, _, said) = promote(&["2"]);
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains("version 2 is not promoted: it predicts revenue worse than version 1"),
        "{said}"
    );
    assert!(said.contains("--force promotes it all the same"), "{said}");
    assert_eq!(in_force(), [1]);
    assert_eq!(promote(&["2", "--force"]).0, 0);
    assert_eq!(in_force(), [2]);
    run(data, &["run", "--drain"]);
    assert_eq!(tasks(), [Some(2); 4]);

    // Back to what there was: as a version of its own, since tasks go forward only.
    let (code, _, said) = promote(&["1"]);
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains("version 2 is in force, and is later"),
        "{said}"
    );
    let (code, said, _) = promote(&["1", "--force", "--json"]);
    assert_eq!(code, 0);
    let third: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&third["version"], &third["note"]),
        (&3.into(), &"version 1 once more".into())
    );
    assert_eq!(in_force(), [3]);

    // Two are saved beside the third; once one of them is in force the other is held against that.
    save(&[]);
    let fifth = save(&[]);
    assert_eq!(fifth["holdout"]["in_force"]["version"], 3);
    assert_eq!(promote(&["4"]).0, 0);
    let (code, said, errors) = promote(&["5", "--json"]);
    assert_eq!(code, 0, "{said}{errors}");
    let fifth: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(fifth["holdout"]["in_force"]["version"], 4);
    run(data, &["run", "--drain"]);
    assert_eq!(tasks(), [Some(5); 4]);
    // What the topics hold is what comes of what was consumed, promotions included.
    run(data, &["verify"]);
}

#[test]
fn an_embedded_service_fits_by_the_schedule_and_a_restart_makes_no_other() {
    let name = "an_embedded_service_fits_by_the_schedule_and_a_restart_makes_no_other";
    let Some(sample) = Sample::cdnow(name) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let data = Some(folder.path());
    run(data, &["replay", "--mapping", sample.mapping, &sample.file]);
    let start = || {
        let data = format!("--set=data_dir={}", folder.path().display());
        let serve = ["run", "--log-format=json", "--set=http.listen=127.0.0.1:0"];
        Process::start(
            folder.path(),
            &[
                &serve[..],
                &[&data, "--set=model.refit=7d", "--set=model.holdout=39w"],
            ]
            .concat(),
        )
    };
    let mut service = start();
    let address = service.logged("running")["http"]
        .as_str()
        .unwrap()
        .to_owned();
    let fitted = service.logged("fitted a model by the schedule");
    assert_eq!(
        (&fitted["version"], &fitted["promoted"]),
        (&1.into(), &true.into())
    );
    let control = "clvstream_records_total{outcome=\"control\"}";
    until("every task has come to the model", || {
        Samples::of(&address).one(control) >= 4.0
    });
    let refits = |of: &str| format!("clvstream_model_refits_total{{outcome={of:?}}}");
    assert_eq!(Samples::of(&address).one(&refits("promoted")), 1.0);
    assert_eq!(service.terminate(), 0);
    assert_eq!(versions(&open(&settings(folder.path()))), [Some(1); 4]);

    // The same as a command makes of the same orders.
    let saved = json(data, &["model", "show", "1", "--json"]);
    assert_eq!(saved["holdout"]["until"], "1997-09-30");
    let made = ["model", "fit", "--save", "--holdout=39w", "--json"];
    let made = &json(data, &made)["saved"];
    for of in ["family", "data", "currency", "asked", "orders", "spend"] {
        assert_eq!(saved[of], made[of], "{of}");
    }

    let mut service = start();
    service.logged("the next model is fitted when it is due");
    assert_eq!(service.terminate(), 0);
    let listed = json(data, &["model", "list", "--json"]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
}

/// Milliseconds of an instant or a day.
fn ms(text: &str) -> i64 {
    let instant: jiff::Timestamp = text.parse().unwrap();
    instant.as_millisecond()
}

const DAY: f64 = 86_400_000.0;

/// P(alive) under MBG/NBD on the day of the last order, and the instant at which it has fallen to a share of that
/// if no other order comes: the formulas of docs/models.md.
fn half_life(model: &Value, x: f64, first: i64, last: i64) -> (f64, i64) {
    let of = |name: &str| {
        model["orders"]["parameters"][name]["value"]
            .as_f64()
            .unwrap()
    };
    let (r, alpha, a, b) = (of("r"), of("alpha"), of("a"), of("b"));
    let whole = |at: i64| (at as f64 / DAY).floor();
    let recency = whole(last) - whole(first);
    let then = 1.0 / (1.0 + a / (b + x));
    let threshold = then / 2.0;
    let odds = (1.0 - threshold) / threshold * (b + x) / a;
    let age = (alpha + recency) * odds.powf(1.0 / (r + x)) - alpha;
    (then, (whole(first) * DAY + (age * DAY).ceil()) as i64)
}

#[test]
fn whoever_stops_buying_is_told_of_at_the_instant_that_the_model_says() {
    let name = "whoever_stops_buying_is_told_of_at_the_instant_that_the_model_says";
    let Some(sample) = Sample::cdnow(name) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let data = Some(folder.path());
    let until = |instant: &str| {
        let until = format!("--until={instant}");
        run(
            data,
            &["replay", "--mapping", sample.mapping, &sample.file, &until],
        );
    };
    // What the model learns of, and what it is in force for.
    until("1997-09-30T23:59:59.999Z");
    run(data, &["model", "fit", "--save"]);
    run(data, &["model", "promote", "1"]);
    run(data, &["run", "--drain"]);
    until("1999-12-31T00:00:00Z");
    let model = json(data, &["model", "show", "--json"]);
    let lines = |args: &[&str]| -> Vec<Value> {
        let said = run(data, args);
        let lines = said.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let mut by_timer = std::collections::BTreeMap::new();
    for line in lines(&["tail", "clv.updates", "--from=beginning", "--json"]) {
        let update = &line["value"];
        if update["kind"] == "timer" && update["predicted"].is_object() {
            let customer = update["customer"].as_str().unwrap().to_owned();
            let as_of = ms(update["as_of"].as_str().unwrap());
            let p_alive = update["predicted"]["p_alive"].as_f64().unwrap();
            by_timer.insert((customer, as_of), p_alive);
        }
    }
    let (from, to) = (ms("1997-10-01T00:00:00Z"), ms("1999-12-31T00:00:00Z"));
    let mut found = 0;
    for row in lines(&["export", "profiles", "--format=jsonl"]) {
        let of = |name: &str| row[name].as_str().unwrap().to_owned();
        let (first, last) = (ms(&of("first_order")), ms(&of("last_order")));
        let (then, at) = half_life(&model, row["repeat_orders"].as_f64().unwrap(), first, last);
        // Who never came back: time alone has to tell it. (The file is in no order of time: of others an order may
        // come after stream time has passed the instant, and correct what was told.)
        if last >= from || at <= from || at > to {
            continue;
        }
        // The powers of two libraries differ in their last digit.
        let about = (at - 1..=at + 1).filter_map(|at| by_timer.get(&(of("customer_id"), at)));
        let p_alive: Vec<&f64> = about.collect();
        let [p_alive] = p_alive.as_slice() else {
            panic!(
                "{} is not told of at {at} ms: {p_alive:?}",
                of("customer_id")
            );
        };
        assert!((*p_alive / then - 0.5).abs() < 1e-6, "{p_alive} {then}");
        found += 1;
    }
    assert!(found > 500, "only {found}");
    println!("{found} customers were told of when P(alive) had fallen to half");
}
