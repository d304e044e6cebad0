//! The log's ports on Apache Kafka.
//!
//! A worker ([`KafkaWorker`]) is one member of the consumer group with one transactional producer;
//! the application as a whole is seen through [`Cluster`], from
//! outside through [`Onlooker`]; a [`Follower`] keeps standbys up to date. docs/commit-protocol.md tells the protocol.

mod adding;
mod cluster;
mod context;
mod dead_letter;
mod error;
mod follower;
mod group;
mod input;
mod marks;
mod native;
mod onlooker;
mod purge;
mod reader;
mod settings;
pub mod topics;
mod transactions;
mod worker;

pub use cluster::{Cluster, Sizes};
pub use error::KafkaLogError;
pub use follower::{Followed, Follower, Standing, Told};
pub use marks::{Appender, Marks};
pub use onlooker::{GroupMember, Members, Onlooker};
pub use reader::{Reader, Seen};
pub use settings::Settings;
pub use transactions::{Phases, Stopping};
pub use worker::{Fencing, HandOver, KafkaWorker, OWNER_KEY};
