//! The access that the application's principal needs, as Kafka's rules. Pure.
//!
//! Reading or writing includes describing, so that is not asked for by itself. What `topics apply` needs
//! beyond this (altering settings and rules) belongs to those who administer the cluster.

use std::fmt;

use engine::topics::Topics;

use super::desired::Desired;
use crate::native::admin::AclRule;

/// One rule that allows something, from any host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Acl {
    /// What kind of thing.
    pub resource: AclResource,
    /// How the name is meant.
    pub pattern: AclPattern,
    /// Its name, or the beginning of its name.
    pub name: String,
    /// What may be done with it.
    pub operation: AclOperation,
}

/// A needed rule, and whether it is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AclState {
    /// The rule.
    pub acl: Acl,
    /// Whether it, or one that includes it, is there.
    pub granted: Granted,
}

/// Whether a needed rule is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Granted {
    /// It is, or one that includes it.
    Yes,
    /// It is not.
    No,
    /// Who asked may not see the rules: that takes `Describe` on the cluster.
    Hidden,
    /// The brokers have no authorizer: everybody may do everything.
    NoAuthorizer,
}

/// What kind of thing a rule is about. The numbers are those of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AclResource {
    /// A topic.
    Topic = 2,
    /// A consumer group.
    Group = 3,
    /// A transactional id.
    TransactionalId = 5,
}

/// How a rule's name is meant. The numbers are those of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AclPattern {
    /// This name.
    Literal = 3,
    /// Every name that begins so.
    Prefixed = 4,
}

/// What a rule allows. The numbers are those of the protocol.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AclOperation {
    /// Consume; commit offsets.
    Read = 3,
    /// Produce.
    Write = 4,
    /// Create.
    Create = 5,
    /// Delete; of a topic, also its first records.
    Delete = 6,
    /// See its settings.
    DescribeConfigs = 10,
}

impl fmt::Display for AclResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AclResource::Topic => "Topic",
            AclResource::Group => "Group",
            AclResource::TransactionalId => "TransactionalId",
        })
    }
}

impl fmt::Display for AclPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AclPattern::Literal => "literal",
            AclPattern::Prefixed => "prefixed",
        })
    }
}

impl fmt::Display for AclOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AclOperation::Read => "Read",
            AclOperation::Write => "Write",
            AclOperation::Create => "Create",
            AclOperation::Delete => "Delete",
            AclOperation::DescribeConfigs => "DescribeConfigs",
        })
    }
}

/// What the application's principal needs to run.
#[must_use]
pub fn needed_acls(wanted: &Desired) -> Vec<Acl> {
    use AclOperation::{Create, Delete, DescribeConfigs, Read, Write};
    use AclPattern::{Literal, Prefixed};
    use AclResource::{Group, Topic, TransactionalId};

    let acl = |resource, pattern, name: &str, operation| Acl {
        resource,
        pattern,
        name: name.to_owned(),
        operation,
    };
    let application = &wanted.application;
    let topics = format!("{application}.");
    let internal = Topics::of_generation(application, wanted.generation);
    let own = [Read, Write, Create, DescribeConfigs];
    let own = own.map(|operation| acl(Topic, Prefixed, &topics, operation));
    // Purging what has been consumed is deleting, as Kafka has it: allowed where it is done only.
    let purged = [&internal.routed];
    let purged = purged.map(|name| acl(Topic, Literal, name, Delete));
    let foreign = wanted.foreign.iter();
    let foreign = foreign.map(|name| acl(Topic, Literal, name, Read));
    let rest = [
        acl(Group, Literal, application, Read),
        // Each instance tells there how far its standbys are, and `status` asks.
        acl(Group, Prefixed, &format!("{application}-standby-"), Read),
        acl(TransactionalId, Prefixed, &format!("{application}-"), Write),
    ];
    own.into_iter()
        .chain(purged)
        .chain(foreign)
        .chain(rest)
        .collect()
}

const ANY_NAME: &str = "*";
const ANY_HOST: &str = "*";
const OPERATION_ALL: i32 = 2;
const PERMISSION_ALLOW: i32 = 3;

impl Acl {
    pub(super) fn rule(&self, principal: &str) -> AclRule {
        AclRule {
            resource: self.resource as i32,
            pattern: self.pattern as i32,
            name: self.name.clone(),
            principal: principal.to_owned(),
            host: ANY_HOST.to_owned(),
            operation: self.operation as i32,
            permission: PERMISSION_ALLOW,
        }
    }

    /// Whether `rule` allows this, or more.
    pub(super) fn is_within(&self, rule: &AclRule) -> bool {
        let prefixed = AclPattern::Prefixed as i32;
        let name_is_within = match rule.pattern == prefixed {
            true => self.name.starts_with(&rule.name),
            false => {
                rule.name == ANY_NAME
                    || (rule.name == self.name && self.pattern == AclPattern::Literal)
            }
        };
        rule.permission == PERMISSION_ALLOW
            && rule.host == ANY_HOST
            && rule.resource == self.resource as i32
            && (rule.operation == self.operation as i32 || rule.operation == OPERATION_ALL)
            && name_is_within
    }
}

#[cfg(test)]
mod tests {
    use super::super::desired::tests::shop;
    use super::*;

    #[test]
    fn a_principal_gets_its_own_names_and_reads_those_of_others() {
        let listed: Vec<String> = needed_acls(&shop())
            .iter()
            .map(|acl| {
                let Acl {
                    resource,
                    pattern,
                    name,
                    operation,
                } = acl;
                format!("{resource} {pattern} {name} {operation}")
            })
            .collect();
        assert_eq!(
            listed,
            [
                "Topic prefixed shop. Read",
                "Topic prefixed shop. Write",
                "Topic prefixed shop. Create",
                "Topic prefixed shop. DescribeConfigs",
                "Topic literal shop.internal.routed Delete",
                "Topic literal erp.orders Read",
                "Group literal shop Read",
                "Group prefixed shop-standby- Read",
                "TransactionalId prefixed shop- Write",
            ]
        );
    }

    #[test]
    fn wider_rules_include_narrower_ones_and_not_the_other_way_round() {
        let acl = |pattern, name: &str| Acl {
            resource: AclResource::Topic,
            pattern,
            name: name.to_owned(),
            operation: AclOperation::Read,
        };
        let prefixed = acl(AclPattern::Prefixed, "shop.");
        let literal = acl(AclPattern::Literal, "shop.orders");
        let rule = |acl: &Acl| acl.rule("User:clv");
        assert!(literal.is_within(&rule(&literal)));
        assert!(literal.is_within(&rule(&prefixed)));
        assert!(!prefixed.is_within(&rule(&literal)));
        let any = AclRule {
            name: "*".to_owned(),
            pattern: AclPattern::Literal as i32,
            ..rule(&prefixed)
        };
        assert!(prefixed.is_within(&any));
        assert!(prefixed.is_within(&AclRule {
            operation: OPERATION_ALL,
            ..rule(&prefixed)
        }));
        let deny = 2;
        for narrower in [
            AclRule {
                permission: deny,
                ..rule(&prefixed)
            },
            AclRule {
                host: "10.0.0.1".to_owned(),
                ..rule(&prefixed)
            },
            AclRule {
                operation: AclOperation::Write as i32,
                ..rule(&prefixed)
            },
            AclRule {
                resource: AclResource::Group as i32,
                ..rule(&prefixed)
            },
            AclRule {
                name: "shop.x".to_owned(),
                ..rule(&prefixed)
            },
            AclRule {
                name: "shop.".to_owned(),
                pattern: AclPattern::Literal as i32,
                ..rule(&prefixed)
            },
        ] {
            assert!(!prefixed.is_within(&narrower), "{narrower:?}");
        }
    }
}
