//! Who gets which task: cooperative and sticky.
//!
//! Invariant: a task that somebody owns is given to nobody else; it is taken from its owner first, and
//! given away in the rebalance after that.

use std::collections::{BTreeMap, BTreeSet};

/// The assignment by member. `owned` is what each member says that it has; `turn` moves the larger
/// shares, and what is given away, from one member to the next.
pub(super) fn assign(
    tasks: u32,
    owned: &BTreeMap<u64, BTreeSet<u32>>,
    turn: u64,
) -> BTreeMap<u64, BTreeSet<u32>> {
    let mut members: Vec<u64> = owned.keys().copied().collect();
    if members.is_empty() {
        return BTreeMap::new();
    }
    let by = turn as usize % members.len();
    members.rotate_left(by);
    let (share, larger) = (
        tasks as usize / members.len(),
        tasks as usize % members.len(),
    );
    let mut given: BTreeMap<u64, BTreeSet<u32>> = BTreeMap::new();
    let mut claimed: BTreeSet<u32> = BTreeSet::new();
    for (at, member) in members.iter().enumerate() {
        let quota = share + usize::from(at < larger);
        let has = &owned[member];
        let first = has.iter().filter(|task| !claimed.contains(*task));
        let keeps: BTreeSet<u32> = first.copied().take(quota).collect();
        claimed.extend(has);
        given.insert(*member, keeps);
    }
    let mut free: Vec<u32> = (0..tasks).filter(|task| !claimed.contains(task)).collect();
    for (at, member) in members.iter().enumerate() {
        let quota = share + usize::from(at < larger);
        if let Some(has) = given.get_mut(member) {
            while has.len() < quota {
                let Some(task) = free.pop() else { break };
                has.insert(task);
            }
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(of: &[(u64, &[u32])]) -> BTreeMap<u64, BTreeSet<u32>> {
        let of = of.iter();
        of.map(|(member, tasks)| (*member, tasks.iter().copied().collect()))
            .collect()
    }

    #[test]
    fn tasks_move_in_two_steps_and_evenly() {
        for (what, tasks, before, after) in [
            (
                "one gets all",
                4,
                owned(&[(1, &[])]),
                owned(&[(1, &[0, 1, 2, 3])]),
            ),
            (
                "what is to move is taken away first",
                4,
                owned(&[(1, &[0, 1, 2, 3]), (2, &[])]),
                owned(&[(1, &[0, 1]), (2, &[])]),
            ),
            (
                "and given away then",
                4,
                owned(&[(1, &[0, 1]), (2, &[])]),
                owned(&[(1, &[0, 1]), (2, &[2, 3])]),
            ),
            (
                "what is balanced stays",
                4,
                owned(&[(1, &[1, 3]), (2, &[0, 2])]),
                owned(&[(1, &[1, 3]), (2, &[0, 2])]),
            ),
            (
                "of two who say that they own it, one has it",
                2,
                owned(&[(1, &[0]), (2, &[0])]),
                owned(&[(1, &[0]), (2, &[1])]),
            ),
        ] {
            assert_eq!(assign(tasks, &before, 0), after, "{what}");
        }
    }

    #[test]
    fn from_any_start_it_comes_to_an_even_share_of_everything() {
        for members in 1..7_u64 {
            for turn in 0..5 {
                let mut has = owned(&[(0, &[0, 1, 2, 3, 4, 5, 6, 7])]);
                for member in 1..members {
                    has.insert(member, BTreeSet::new());
                }
                has = assign(8, &has, turn);
                has = assign(8, &has, turn);
                let all: BTreeSet<u32> = has.values().flatten().copied().collect();
                assert_eq!(all.len(), 8, "{members} members");
                let sizes: Vec<usize> = has.values().map(BTreeSet::len).collect();
                let spread = sizes.iter().max().unwrap() - sizes.iter().min().unwrap();
                assert!(spread <= 1, "{members} members: {sizes:?}");
            }
        }
    }
}
