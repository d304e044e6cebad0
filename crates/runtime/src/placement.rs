//! Which instances keep which tasks warm: a pure function of who is in the group and who has what.
//!
//! Every instance works it out for itself, from the same answer of the group's coordinator, and so to the
//! same result; nobody decides for others. Each task ranks the instances by a hash of both names, and
//! takes the first that have room: so when an instance comes or goes, most of the others' stay.
//!
//! Invariants: the result depends on nothing but the arguments, in whatever order they were found. A task
//! is never kept warm by its owner, nor twice by one instance; it is by as many as there may be.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// An instance may have so many more than its even share, in quarters of that, for the sake of
/// what need not move.
const SLACK_QUARTERS: usize = 1;

/// The instances that keep each of `tasks` tasks warm, `copies` of them where there are so many besides
/// the task's owner. `owners` has the tasks that somebody has.
#[must_use]
pub(crate) fn place(
    tasks: u32,
    copies: u32,
    instances: &BTreeSet<&str>,
    owners: &BTreeMap<u32, &str>,
) -> BTreeMap<u32, BTreeSet<String>> {
    let mut load: BTreeMap<&str, usize> = instances.iter().map(|name| (*name, 0)).collect();
    let most = room(tasks, copies, instances.len());
    let mut placed = BTreeMap::new();
    for task in 0..tasks {
        let owner = owners.get(&task);
        let mut ranked: Vec<&str> = load.keys().copied().collect();
        ranked.retain(|name| Some(name) != owner);
        ranked.sort_by_key(|name| (std::cmp::Reverse(rank(task, name)), *name));
        let mut chosen = BTreeSet::new();
        for _ in 0..copies {
            let free = |name: &&&str| !chosen.contains(**name);
            let has_room = |name: &&&str| load[**name] < most;
            let first = ranked.iter().filter(free).find(has_room);
            // Where all that may are full, the one that has least.
            let least = || ranked.iter().filter(free).min_by_key(|name| load[**name]);
            let Some(name) = first.or_else(least).copied() else {
                break;
            };
            *load.entry(name).or_default() += 1;
            chosen.insert(name.to_owned());
        }
        placed.insert(task, chosen);
    }
    placed
}

/// How many an instance takes before others have theirs.
fn room(tasks: u32, copies: u32, instances: usize) -> usize {
    // An owner keeps no copy of its own tasks.
    let others = instances.saturating_sub(1);
    let copies = (copies as usize).min(others) * tasks as usize;
    (copies * (4 + SLACK_QUARTERS)).div_ceil(4 * instances.max(1))
}

/// How much a task would like to be kept by an instance: the same on every machine and in every version.
fn rank(task: u32, instance: &str) -> u64 {
    xxh3_64_with_seed(instance.as_bytes(), u64::from(task))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Placed = BTreeMap<u32, BTreeSet<String>>;

    fn names(numbers: &BTreeSet<u32>) -> Vec<String> {
        numbers.iter().map(|n| format!("shop-{n}")).collect()
    }

    /// Owners as a balanced group has them, in an order that `turn` decides.
    fn balanced(tasks: u32, names: &[String], turn: usize) -> BTreeMap<u32, &str> {
        let owner = |task: u32| names[(task as usize * 7 + turn) % names.len()].as_str();
        (0..tasks).map(|task| (task, owner(task))).collect()
    }

    fn place_in(tasks: u32, copies: u32, names: &[String], owners: &BTreeMap<u32, &str>) -> Placed {
        let instances = names.iter().map(String::as_str).collect();
        place(tasks, copies, &instances, owners)
    }

    fn loads(placed: &Placed) -> BTreeMap<&str, usize> {
        let mut loads = BTreeMap::new();
        for name in placed.values().flatten() {
            *loads.entry(name.as_str()).or_default() += 1;
        }
        loads
    }

    /// Copies that are in `after` and were not in `before`.
    fn moved(before: &Placed, after: &Placed) -> usize {
        let new = after
            .iter()
            .map(|(task, names)| names.difference(&before[task]).count());
        new.sum()
    }

    /// Tasks, copies, instances' numbers, and by what owners are turned.
    fn groups() -> impl Strategy<Value = (u32, u32, BTreeSet<u32>, usize)> {
        let instances = prop::collection::btree_set(0_u32..100, 1..12);
        (1_u32..80, 0_u32..4, instances, 0_usize..50)
    }

    proptest! {
        #[test]
        fn every_task_has_as_many_as_there_may_be_and_never_its_owner(
            (tasks, copies, numbers, turn) in groups(),
            owned in prop::collection::btree_map(0_u32..80, 0_usize..12, 0..80),
        ) {
            let names = names(&numbers);
            let mut owners = balanced(tasks, &names, turn);
            // However unevenly tasks are owned, and some by nobody.
            for (task, owner) in &owned {
                match names.get(*owner) {
                    Some(name) => owners.insert(*task, name),
                    None => owners.remove(task),
                };
            }
            let placed = place_in(tasks, copies, &names, &owners);
            prop_assert_eq!(placed.len(), tasks as usize);
            for (task, chosen) in &placed {
                let owner = owners.get(task);
                let possible = names.iter().filter(|name| Some(&name.as_str()) != owner).count();
                prop_assert_eq!(chosen.len(), possible.min(copies as usize));
                prop_assert!(chosen.iter().all(|name| Some(&name.as_str()) != owner));
                prop_assert!(chosen.iter().all(|name| names.contains(name)));
            }
            // The order in which a broker names members makes no difference.
            let mut reversed = names.clone();
            reversed.reverse();
            prop_assert_eq!(&place_in(tasks, copies, &reversed, &owners), &placed);
        }

        #[test]
        fn where_tasks_are_evenly_owned_copies_are_evenly_kept(
            (tasks, copies, numbers, turn) in groups(),
        ) {
            let names = names(&numbers);
            let owners = balanced(tasks, &names, turn);
            let placed = place_in(tasks, copies, &names, &owners);
            let most = loads(&placed).into_values().max().unwrap_or(0);
            let room = room(tasks, copies, names.len());
            prop_assert!(most <= room + 1, "{most} where there is room for {room}");
        }
    }

    /// Over many groups, since a single small one may be unlucky.
    #[test]
    fn little_moves_when_an_instance_goes_or_comes() {
        const TASKS: u32 = 64;
        let (mut needed, mut went, mut came) = (0, 0, 0);
        for first in 0..40 {
            let all: BTreeSet<u32> = (first..first + 6).collect();
            let all = names(&all);
            let owners = balanced(TASKS, &all, first as usize);
            let gone = all[first as usize % 6].as_str();
            // Its tasks have no owner yet: only what it kept has to be kept by others.
            let mut left = owners.clone();
            left.retain(|_, owner| *owner != gone);
            let rest: Vec<String> = all.iter().filter(|name| *name != gone).cloned().collect();
            let (with, without) = (
                place_in(TASKS, 1, &all, &left),
                place_in(TASKS, 1, &rest, &left),
            );
            needed += loads(&with).get(gone).copied().unwrap_or(0);
            went += moved(&with, &without);
            came += moved(&without, &with);
        }
        let (needed, went, came) = (needed as f64, went as f64, came as f64);
        assert!(needed > 300.0, "{needed}");
        assert!(went < needed * 1.5, "{went} moved where {needed} had to");
        assert!(came < needed * 1.5, "{came} moved where {needed} had to");
    }

    /// What is placed stays where it is over releases: a change here moves every copy of every
    /// deployment.
    #[test]
    fn a_group_of_three() {
        let instances = BTreeSet::from(["a", "b", "c"]);
        let owners = BTreeMap::from([(0, "a"), (1, "b"), (2, "c"), (3, "a")]);
        let placed = place(4, 1, &instances, &owners);
        let told: Vec<String> = placed
            .iter()
            .map(|(task, names)| format!("{task}: {}", names.iter().cloned().collect::<String>()))
            .collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        0: c
        1: a
        2: b
        3: b
        ");
    }
}
