//! The topics of an application on a cluster: what they should be, how they differ from what is
//! there, and making them so. Access control belongs to it, as the rules follow from the names.
//!
//! [`desired`], [`plan`], [`recreated`] and [`needed_acls`] are pure; [`TopicAdmin`] does what they say.
//!
//! Invariants: nothing is ever deleted here, and no setting is touched that [`desired`] does not name.
//! A topic that a deployment has recorded is not created again when it is gone: its records are gone
//! with it, and an empty topic of the same name would hide that.

mod acls;
mod admin;
mod desired;
mod error;
mod plan;

pub use acls::{Acl, AclOperation, AclPattern, AclResource, AclState, Granted, needed_acls};
pub use admin::{Create, TopicAdmin, TopicState, Usage};
pub use desired::{Desired, Purpose, Rule, Setting, TopicRetention, TopicSpec, desired};
pub use error::TopicsError;
pub use plan::{
    Actual, ActualTopic, Change, Plan, PlannedTopic, Problem, Recreated, plan, recreated,
};
