//! Who goes on under a worker's transactional id: the newest start under it is written down, so that a producer
//! that was fenced can say why.
//!
//! What is written down only explains: it is the broker who lets nobody but the newest producer commit.

use super::KafkaWorker;
use crate::cluster::Cluster;
use crate::error::KafkaLogError;
use crate::transactions::{Failure, Transactions};

/// Why a producer was fenced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fencing {
    /// The broker ended a transaction that was open for too long.
    Timeout,
    /// This process stood still, and another one has taken its place.
    Zombie,
    /// Another process has the same transactional id.
    DuplicateId,
}

impl Fencing {
    /// Every kind.
    pub const ALL: [Fencing; 3] = [Fencing::Timeout, Fencing::Zombie, Fencing::DuplicateId];

    /// Its name in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Fencing::Timeout => "timeout",
            Fencing::Zombie => "zombie",
            Fencing::DuplicateId => "duplicate_id",
        }
    }
}

impl KafkaWorker {
    /// Whether another process goes on under this transactional id.
    ///
    /// # Errors
    /// [`KafkaLogError::Duplicate`] if so; or the cluster does not answer.
    pub fn check_not_replaced(
        cluster: &Cluster,
        number: u32,
        nonce: &str,
    ) -> Result<(), KafkaLogError> {
        let id = cluster.settings().transactional_id(number);
        match cluster.marks()?.remove(&instance_mark(&id)) {
            Some(holder) if holder != nonce.as_bytes() => Err(KafkaLogError::Duplicate {
                id,
                instance: cluster.settings().instance.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// How the last fencing came about, once.
    pub fn take_fencing(&mut self) -> Option<Fencing> {
        self.fenced.take()
    }

    /// Finds out how the fencing came about that was just met, and keeps it for [`KafkaWorker::take_fencing`].
    pub(super) fn note_fencing(&mut self) -> Fencing {
        let fencing = self.classify();
        self.fenced = Some(fencing);
        fencing
    }

    /// Who has ended this producer's transactions. The newest start under this transactional id is
    /// written down: if it is another one, that one goes on.
    fn classify(&self) -> Fencing {
        let settings = self.cluster.settings();
        let open = self.transactions.began().elapsed();
        let id = settings.transactional_id(self.number);
        let holder = self
            .cluster
            .marks()
            .ok()
            .and_then(|mut m| m.remove(&instance_mark(&id)));
        match holder {
            Some(nonce) if nonce != self.nonce.as_bytes() => {
                if self.last_poll.elapsed() > settings.session_timeout
                    || open > settings.transaction_timeout
                {
                    Fencing::Zombie
                } else {
                    Fencing::DuplicateId
                }
            }
            _ => Fencing::Timeout,
        }
    }
}

/// Name of the mark that holds the newest start under a transactional id.
fn instance_mark(id: &str) -> String {
    format!("instance/{id}")
}

/// Writes down that `nonce` is the newest start under transactional id `id`.
pub(super) fn register(
    cluster: &Cluster,
    transactions: &mut Transactions,
    id: &str,
    nonce: &str,
) -> Result<(), KafkaLogError> {
    let record = cluster.mark_record(&instance_mark(id), Some(nonce.as_bytes().to_vec()));
    let mut write = || {
        transactions.begin()?;
        transactions.send(&record, 0)?;
        transactions.commit()
    };
    match write() {
        Ok(_) => Ok(()),
        Err(Failure::Halt(error)) => Err(error),
        Err(Failure::Abort(what) | Failure::Fenced(what) | Failure::Unknown(what)) => {
            Err(KafkaLogError::Restart(format!("registering: {what}")))
        }
    }
}
