//! What a run comes to, by which two runs are compared.

use std::io::{BufRead as _, BufReader};
use std::sync::Arc;
use std::time::Duration;

use engine::port::TopicPartition;
use kafkalog::{Cluster, KafkaLogError};

use crate::app::{App, project, until};

/// The input topics of an application that has the usual ones.
const INPUTS: [&str; 5] = ["clickstream", "orders", "care", "loyalty", "marketing"];
/// How many lines that differ are told.
const TOLD: usize = 3;

/// What a run comes to: the same for every run of the same inputs, whatever happens to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Whole {
    /// All profiles, as CSV.
    pub profiles: String,
    /// The shop's days, as CSV.
    pub days: String,
    /// Events in the input topics.
    pub appended: Vec<(String, u64)>,
}

impl Whole {
    /// Of a run that has consumed everything.
    #[must_use]
    pub fn of(app: &App, cluster: &Cluster, partitions: u32) -> Whole {
        let count = |topic: &str| {
            let places = places(&app.id, topic, partitions);
            (topic.to_owned(), committed(cluster, &places))
        };
        Whole {
            profiles: app.export("profiles"),
            days: app.export("days"),
            appended: INPUTS.map(count).to_vec(),
        }
    }

    /// Where this differs from what was wanted; nothing where it does not.
    #[must_use]
    pub fn differences(&self, wanted: &Whole) -> Vec<String> {
        let mut differences = Vec::new();
        if self.appended != wanted.appended {
            let (appended, wanted) = (&self.appended, &wanted.appended);
            differences.push(format!("loaded {appended:?} instead of {wanted:?}"));
        }
        differences.extend(difference("profiles", &self.profiles, &wanted.profiles));
        differences.extend(difference("days", &self.days, &wanted.days));
        differences
    }
}

/// Says where two exports differ without telling all of them.
fn difference(what: &str, export: &str, wanted: &str) -> Option<String> {
    if export == wanted {
        return None;
    }
    let pairs = export.lines().zip(wanted.lines());
    let differing: Vec<_> = pairs.filter(|(a, b)| a != b).collect();
    let lines = |text: &str| text.lines().count();
    let header = wanted.lines().next().unwrap_or_default();
    Some(format!(
        "export {what} differs from the undisturbed run's in {} lines of {} and {}: {header} {:#?}",
        differing.len(),
        lines(export),
        lines(wanted),
        &differing[..differing.len().min(TOLD)]
    ))
}

/// The partitions of a topic of an application.
#[must_use]
pub fn places(application: &str, topic: &str, partitions: u32) -> Vec<TopicPartition> {
    let topic: Arc<str> = Arc::from(format!("{application}.{topic}"));
    let place = |partition| TopicPartition {
        topic: Arc::clone(&topic),
        partition,
    };
    (0..partitions).map(place).collect()
}

/// How many committed records partitions hold.
///
/// # Panics
/// When they cannot be read.
#[must_use]
pub fn committed(cluster: &Cluster, places: &[TopicPartition]) -> u64 {
    let spans = cluster.spans_of(places).unwrap();
    let mut records = 0;
    let mut reader = cluster.reader(spans).unwrap();
    until("partitions have been read", || {
        let slice = Duration::from_secs(1);
        let done = reader.read::<KafkaLogError>(slice, |_| {
            records += 1;
            Ok(())
        });
        done.unwrap().then_some(records)
    })
}

/// The first `rows` rows of the slice of Online Retail that the project has, after their names.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn retail(rows: usize) -> Vec<String> {
    let slice = project().join("tests/data/online-retail/slice.csv.zst");
    let slice = zstd::Decoder::new(std::fs::File::open(slice).unwrap()).unwrap();
    let lines = BufReader::new(slice).lines().map(Result::unwrap);
    lines.take(rows + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_come_to_something_else_are_told_apart() {
        let whole = Whole {
            profiles: "id,orders\na,1\nb,2\n".to_owned(),
            days: "day,orders\n1,3\n".to_owned(),
            appended: vec![("orders".to_owned(), 3)],
        };
        assert_eq!(whole.differences(&whole), Vec::<String>::new());
        let mut other = whole.clone();
        other.profiles = "id,orders\na,1\nb,3\n".to_owned();
        other.appended[0].1 = 4;
        let told = other.differences(&whole);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("loaded "), "{told:?}");
        assert!(
            told[1].contains("1 lines of 3 and 3") && told[1].contains("b,3"),
            "{told:?}"
        );
        // A line more is told too, though no line differs.
        other = whole.clone();
        other.days.push_str("2,1\n");
        assert_eq!(other.differences(&whole).len(), 1);
    }
}
