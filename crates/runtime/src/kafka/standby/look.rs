//! Which tasks this instance is to keep warm, by who is in the group: asked now and then. Their stores are
//! opened here, which takes a few questions to the cluster, and handed to the keeper.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use config::Config;
use kafkalog::{Cluster, Members, Onlooker};

use super::{Board, Opened};
use crate::deployment::Deployment;
use crate::error::RuntimeError;
use crate::kafka::admin_properties;
use crate::kafka::stores::LocalStores;
use crate::observe::Observers;
use crate::placement::place;
use crate::workers::Shared;

/// How often, where the group has changed of late ...
const SOON: Duration = Duration::from_secs(3);
/// ... and where it has not for so long ...
const QUIET: Duration = Duration::from_secs(60);
/// ... how often then: every broker is asked for its groups.
const LATER: Duration = Duration::from_secs(15);

pub(super) fn look<'d>(
    deployment: &'d Deployment,
    cluster: &'d Cluster,
    shared: &Shared,
    observers: &'d Observers,
    board: &Board<'d>,
) {
    let onlooker = match onlooker_of(deployment) {
        Ok(onlooker) => onlooker,
        Err(error) => {
            tracing::warn!(%error, "this instance keeps no task warm");
            return;
        }
    };
    let stores = LocalStores::new(deployment, cluster, observers);
    let instance = &cluster.settings().instance;
    let (mut last, mut changed) = (Members::default(), Instant::now());
    let mut last_error = None;
    loop {
        match onlooker.members() {
            Ok(members) => {
                if members != last {
                    last.clone_from(&members);
                    changed = Instant::now();
                }
                if let Some(mine) = mine(&deployment.config, &members, instance) {
                    board.notes().wanted = mine;
                }
                last_error = None;
            }
            Err(error) => {
                let error = error.to_string();
                if last_error.as_ref() != Some(&error) {
                    tracing::warn!(error, "the same tasks are kept warm as before");
                    last_error = Some(error);
                }
            }
        }
        open_missing(deployment, shared, &stores, board);
        let wait = match changed.elapsed() < QUIET {
            true => SOON,
            false => LATER,
        };
        if shared.wait_for_stop(wait) {
            return;
        }
    }
}

/// Opens what is to be kept warm and is not open.
fn open_missing<'d>(
    deployment: &'d Deployment,
    shared: &Shared,
    stores: &LocalStores<'d>,
    board: &Board<'d>,
) {
    let mut notes = board.notes();
    let now = Instant::now();
    notes.put_off.retain(|_, until| *until > now);
    let is_due = |task: &&u32| !notes.put_off.contains_key(task);
    let wanted: Vec<u32> = notes.wanted.iter().filter(is_due).copied().collect();
    drop(notes);
    for task in wanted {
        if shared.is_stopping() {
            return;
        }
        let Some(lease) = deployment.leases.spare(task) else {
            continue;
        };
        match stores.open_restorable(task) {
            Ok(store) => {
                let opened = Opened {
                    store,
                    _lease: lease,
                };
                board.notes().opened.insert(task, opened);
            }
            Err(error) => board.put_off(task, &error),
        }
    }
}

fn onlooker_of(deployment: &Deployment) -> Result<Onlooker, RuntimeError> {
    let properties = match &deployment.config.kafka {
        Some(kafka) => admin_properties(kafka)?,
        None => Vec::new(),
    };
    let application = &deployment.config.application_id;
    Ok(Onlooker::of(application, &properties)?)
}

/// What falls to `instance`; `None` as long as the group does not say who has what.
fn mine(config: &Config, members: &Members, instance: &str) -> Option<BTreeSet<u32>> {
    if !members.is_stable {
        return None;
    }
    let all = &members.members;
    let instances: BTreeSet<&str> = all.iter().map(|member| member.instance.as_str()).collect();
    // Whoever is not in the group may be about to join it anew.
    if !instances.contains(instance) {
        return None;
    }
    let owned = all.iter().flat_map(|member| {
        let tasks = member.tasks.iter();
        tasks.map(|task| (*task, member.instance.as_str()))
    });
    let owners: BTreeMap<u32, &str> = owned.collect();
    let placed = place(config.partitions, config.standby, &instances, &owners);
    let mine = placed
        .into_iter()
        .filter(|(_, names)| names.contains(instance));
    Some(mine.map(|(task, _)| task).collect())
}

#[cfg(test)]
mod tests {
    use kafkalog::GroupMember;

    use super::*;

    #[test]
    fn every_task_falls_to_one_other_instance_once_the_group_is_settled() {
        let settings = ["kafka.bootstrap=a:1", "partitions=8", "standby=1"].map(str::to_owned);
        let config = config::parse("test", "", &settings).unwrap().config;
        let member = |instance: &str, worker, tasks: &[u32]| GroupMember {
            instance: instance.to_owned(),
            worker,
            host: String::new(),
            tasks: tasks.to_vec(),
        };
        let mut members = Members {
            is_stable: true,
            members: vec![
                member("a", 0, &[0, 1]),
                member("a", 1, &[2]),
                member("b", 0, &[3, 4, 5]),
                member("c", 0, &[6, 7]),
                // More workers than tasks: it has none, and is an instance like any other.
                member("d", 0, &[]),
            ],
        };
        let mut all = Vec::new();
        for (instance, own) in [("a", 0..3), ("b", 3..6), ("c", 6..8), ("d", 8..8)] {
            let mine = mine(&config, &members, instance).unwrap();
            assert!(
                mine.iter().all(|task| !own.contains(task)),
                "{instance}: {mine:?}"
            );
            assert!(!mine.is_empty(), "{instance}");
            all.extend(mine);
        }
        all.sort_unstable();
        assert_eq!(all, (0..8).collect::<Vec<_>>());
        assert_eq!(mine(&config, &members, "e"), None, "it is not in the group");
        members.is_stable = false;
        assert_eq!(
            mine(&config, &members, "a"),
            None,
            "a rebalance is under way"
        );
    }
}
