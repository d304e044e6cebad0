//! A record at which the process dies, on a real broker: after as many deaths as it takes to be sure it is
//! a dead letter, and everything else goes on.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it did"
)]

use std::os::unix::process::ExitStatusExt;

use fleet::{App, program_with_failpoints, until};
use kafkatest::Broker;

const SETTINGS: [&str; 4] = [
    "partitions=2",
    "workers=1",
    "kafka.session_timeout=2s",
    "kafka.transaction_timeout=2s",
];
/// Where the deadly record stands among those of its partition.
const OFFSET: u64 = 60;
/// Counts it.
const QUARANTINED: &str = "clvstream_dead_letters_total{class=\"quarantined\"}";
/// Two of them before anybody looks for a record, and two at it.
const DEATHS: usize = 4;

#[test]
fn a_record_that_kills_is_a_dead_letter_in_the_end_and_the_rest_goes_on() {
    let test = "a_record_that_kills_is_a_dead_letter_in_the_end_and_the_rest_goes_on";
    let Some(broker) = Broker::start(test) else {
        return;
    };
    let app = App::new(
        program_with_failpoints(),
        broker.bootstrap(),
        "deadly",
        &SETTINGS,
    );
    app.run("loader", &["simulate", "--events=600", "--days=20"]);
    let deadly = format!("{}.clickstream/1@{OFFSET}", app.id);
    let mut deaths = 0;
    let service = loop {
        let mut service = app.start_in("a", &[], &[("DEADLY_RECORD", &deadly)]);
        let ended = until("it dies or has passed the record", || {
            if let Some(status) = service.has_ended() {
                return Some(Some(status));
            }
            (service.metric(QUARANTINED) >= 1.0).then_some(None)
        });
        match ended {
            None => break service,
            Some(status) => {
                assert_eq!(status.signal(), Some(9), "{}", service.log());
                deaths += 1;
                println!("death {deaths}");
                assert!(deaths <= DEATHS, "{}", service.log());
            }
        }
    };
    assert_eq!(deaths, DEATHS);
    until("the rest is consumed", || {
        (service.metric("clvstream_lag_records") == 0.0).then_some(())
    });
    assert!(
        service
            .log()
            .contains("each record is committed before the next one is tried")
    );
    let mut service = service;
    assert!(service.terminate().success());
    let tail = ["tail", "dlq", "--from=beginning", "--json"];
    let letters = app.run("reader", &tail);
    let letters: Vec<&str> = letters.lines().collect();
    assert_eq!(letters.len(), 1, "{letters:?}");
    for part in ["quarantined", &format!("\"{OFFSET}\""), "clickstream"] {
        assert!(letters[0].contains(part), "{part} in {}", letters[0]);
    }
    app.run("admin", &["verify"]);
}
