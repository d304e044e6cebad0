//! Bookkeeping and commit records as they stand in state and log: today's encoder writes exactly
//! these bytes and today's decoder reads them as what they were. With
//! `CLVSTREAM_WRITE_GOLDEN=true` files that are missing are written; those of a released version
//! never change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::time::TimeMs;
use engine::bookkeeping::{Bookkeeping, Counts};
use engine::chain::Head;
use engine::clock::{ClockSource, StreamClock};
use engine::commit_record::{CommitRecord, Consumed};
use engine::port::TopicPartition;

/// 2011-03-01T08:26:00Z.
const T: TimeMs = TimeMs(1_298_967_960_000);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

#[track_caller]
fn golden(file: &str, written: &[u8]) -> Vec<u8> {
    let path = folder().join(file);
    if !path.exists() && std::env::var("CLVSTREAM_WRITE_GOLDEN").as_deref() == Ok("true") {
        std::fs::write(&path, written).expect("the golden file");
    }
    let golden = std::fs::read(&path).expect("the golden file");
    assert_eq!(golden, written, "{file}, and what is written now");
    golden
}

fn head(number: u64) -> Head {
    Head {
        number,
        hash: u128::from(number) << 100 | 0xc0ffee,
    }
}

#[test]
fn bookkeeping() {
    let book = Bookkeeping {
        clock: StreamClock {
            stream_time: T,
            lowest: T.minus(1),
            input_time: T.plus(2),
            ticked_to: TimeMs::MIN,
            closed_to: T.plus(4),
            sources: BTreeMap::from([
                (ClockSource::Input("orders".into(), 7), T.plus(5)),
                (ClockSource::Upstream(2), TimeMs(-6)),
            ]),
            held_for: 200,
        },
        counts: Counts {
            applied: 1,
            late: 22,
            deduplicated: 333,
            dead_lettered: 4,
            forwarded: 55_555,
            control: 6,
            ignored: 7,
            split_off: 8_888,
            outputs: u64::MAX,
        },
        fed: BTreeMap::from([(3, T), (15, TimeMs::MIN)]),
        chain: head(70_000),
        rescored: Some("17850".into()),
    };
    let newest = golden("bookkeeping_v4.bin", &book.encode());
    assert_eq!(Bookkeeping::decode(&newest), Ok(book.clone()));
    // The third knew no model of value.
    let mut book = book;
    book.rescored = None;
    let third = std::fs::read(folder().join("bookkeeping_v3.bin")).expect("the golden file");
    assert_eq!(Bookkeeping::decode(&third), Ok(book.clone()));
    // The second held nothing back, and had no chain.
    book.clock.held_for = 0;
    book.chain = Head::default();
    let second = std::fs::read(folder().join("bookkeeping_v2.bin")).expect("the golden file");
    assert_eq!(Bookkeeping::decode(&second), Ok(book.clone()));
    // The first version had no mapped topics, and so no records ignored or split.
    let first = std::fs::read(folder().join("bookkeeping_v1.bin")).expect("the golden file");
    let counts = Counts {
        ignored: 0,
        split_off: 0,
        ..book.counts
    };
    let book = Bookkeeping { counts, ..book };
    assert_eq!(Bookkeeping::decode(&first), Ok(book));
}

#[test]
fn a_commit_record() {
    let source = |topic: &str, partition| TopicPartition {
        topic: topic.into(),
        partition,
    };
    let record = CommitRecord {
        previous: head(70_000),
        head: head(70_001),
        consumed: Consumed {
            quarantined: Vec::new(),
            positions: vec![
                (source("orders", 300), 17),
                (source("clickstream", 0), u64::MAX),
            ],
            order: vec![(0, 1), (1, 1_000), (0, 5)],
            peeked: Some(source("orders", 300)),
        },
    };
    let golden = golden("commit_v2.bin", &record.encode());
    assert_eq!(CommitRecord::decode(&golden), Ok(record));
}
