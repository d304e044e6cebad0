//! Marks: small facts about the application, in a compacted topic of one partition, written in the
//! same transaction as what they are about. The newest value of a name counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::port::{OutRecord, TopicPartition};
use engine::topics::Topics;

use crate::cluster::Cluster;
use crate::error::KafkaLogError;
use crate::transactions::{Failure, Stopping, Transactions};

/// Marks by their names.
pub type Marks = BTreeMap<String, Vec<u8>>;

/// How long reading the marks may take: longer than a dead process's transaction stays open.
const PATIENCE: Duration = Duration::from_secs(30);

impl Cluster {
    /// The partition that holds the marks.
    pub(crate) fn marks_partition(&self) -> TopicPartition {
        TopicPartition {
            topic: Arc::clone(&self.topics().marks),
            partition: 0,
        }
    }

    /// Every mark. What was committed before this call is in the answer.
    ///
    /// # Errors
    /// The topic cannot be read.
    pub fn marks(&self) -> Result<Marks, KafkaLogError> {
        let spans = self.spans_of(&[self.marks_partition()])?;
        let mut marks = Marks::new();
        let deadline = Instant::now() + PATIENCE;
        let going_on = || Instant::now() < deadline;
        let read = self.reader(spans)?.read_all(&going_on, |seen| {
            let name = String::from_utf8_lossy(seen.key.unwrap_or_default()).into_owned();
            match seen.value {
                Some(value) => marks.insert(name, value.to_vec()),
                None => marks.remove(&name),
            };
            Ok::<(), KafkaLogError>(())
        });
        match read {
            Ok(()) => Ok(marks),
            Err(KafkaLogError::Stopped) => Err(KafkaLogError::Restart(
                "what is written down about the application cannot be read to its end: does the \
                 broker answer, or is a transaction open there?"
                    .to_owned(),
            )),
            Err(error) => Err(error),
        }
    }

    /// A record that sets a mark, or removes it.
    pub(crate) fn mark_record(&self, name: &str, value: Option<Vec<u8>>) -> OutRecord {
        OutRecord {
            target: self.marks_partition(),
            key: Some(name.as_bytes().to_vec()),
            value,
            headers: Vec::new(),
        }
    }

    /// Appends from outside the pipeline. `name` is the writer's own: a second one with the same name
    /// ends the first one's work.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn appender(
        self: &Arc<Self>,
        name: &str,
        stopping: Stopping,
    ) -> Result<Appender, KafkaLogError> {
        let id = format!("{}-{name}", self.settings().application);
        Ok(Appender {
            transactions: Transactions::new(self, &id, stopping)?,
            cluster: Arc::clone(self),
        })
    }
}

/// Appends records and marks, all or none.
pub struct Appender {
    transactions: Transactions,
    cluster: Arc<Cluster>,
}

impl Appender {
    /// Writes `records` and sets `marks` in one transaction.
    ///
    /// # Errors
    /// Nothing was written, with [`KafkaLogError::Superseded`] because another writer has the name
    /// now; or, where the message says so, nobody knows.
    pub fn append(
        &mut self,
        records: &[OutRecord],
        marks: &[(&str, Vec<u8>)],
    ) -> Result<(), KafkaLogError> {
        match self.try_append(records, marks, None) {
            Ok(_) => Ok(()),
            Err(failure) => Err(self.not_appended(failure)),
        }
    }

    /// The same, if `may` agrees to the marks as they are when the records are with the brokers, where
    /// everybody finds them who looks how far there is to read; answers whether. So whoever has set a
    /// mark, and then found nothing left to read, is sure that nothing is appended against it.
    ///
    /// # Errors
    /// As [`Appender::append`].
    pub fn append_if(
        &mut self,
        records: &[OutRecord],
        marks: &[(&str, Vec<u8>)],
        may: &dyn Fn(&Marks) -> bool,
    ) -> Result<bool, KafkaLogError> {
        let appended = self.try_append(records, marks, Some(may));
        appended.map_err(|failure| self.not_appended(failure))
    }

    /// The topics that it knows.
    #[must_use]
    pub fn topics(&self) -> &Topics {
        self.cluster.topics()
    }

    fn not_appended(&mut self, failure: Failure) -> KafkaLogError {
        match failure {
            Failure::Halt(error) => error,
            // A broker may say that the transaction is to be aborted where it has been fenced: that shows
            // when it is.
            Failure::Abort(what) => match self.transactions.abort() {
                Err(Failure::Fenced(what)) => KafkaLogError::Superseded(what),
                _ => KafkaLogError::Restart(format!(
                    "appending was aborted, nothing was written: {what}"
                )),
            },
            Failure::Fenced(what) => KafkaLogError::Superseded(what),
            Failure::Unknown(what) => {
                KafkaLogError::Restart(format!("appending, with an unknown outcome: {what}"))
            }
        }
    }

    fn try_append(
        &mut self,
        records: &[OutRecord],
        marks: &[(&str, Vec<u8>)],
        may: Option<&dyn Fn(&Marks) -> bool>,
    ) -> Result<bool, Failure> {
        self.transactions.begin()?;
        for record in records {
            self.transactions.send(record, 0)?;
        }
        if let Some(may) = may {
            // Before marks of its own: those of an open transaction would be waited for.
            self.transactions.flush()?;
            let known = self.cluster.marks();
            if !may(&known.map_err(|error| Failure::Abort(error.to_string()))?) {
                self.transactions.abort()?;
                return Ok(false);
            }
        }
        for (name, value) in marks {
            let record = self.cluster.mark_record(name, Some(value.clone()));
            self.transactions.send(&record, 0)?;
        }
        self.transactions.commit()?;
        Ok(true)
    }
}
