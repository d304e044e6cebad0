//! How fast profiles go over to a new model in the background: the owner of a task asks for a few, and for more
//! once these have. Who asks twice, or is not the owner any more, does no harm.

use std::collections::BTreeMap;

use domain::event::Text;
use engine::worker::Owned;
use wire::routed::Routed;

use super::control;
use crate::hand::Hand;
use crate::shop::Shop;
use crate::store::SimStore;
use crate::time::Moment;

/// How often it is looked how far tasks have come.
const LOOK: u64 = 150;
/// After how long it is asked again for what has not been done.
const AGAIN: u64 = 3_000;
/// The most profiles that are asked for at a time.
const MOST: u64 = 12;

/// What a worker has asked for.
#[derive(Default)]
pub(super) struct Pace {
    /// By task: how far it had come when it was asked, and when that was.
    asked: BTreeMap<u32, (Text, Moment)>,
    looked: Moment,
}

impl Pace {
    /// Asks every task that has profiles under an earlier model for the next of them.
    pub(super) fn keep(&mut self, hand: &Hand<'_>, shop: &Shop, owned: &[Owned<SimStore<'_>>]) {
        let now = hand.now();
        if now.since(self.looked) < LOOK {
            return;
        }
        self.looked = now;
        let mut asked = BTreeMap::new();
        for Owned { task, .. } in owned {
            let Some(reached) = task.rescoring() else {
                continue;
            };
            let since = match self.asked.get(&task.id()) {
                Some((before, since)) if before == reached && now.since(*since) < AGAIN => *since,
                _ => {
                    let profiles = 1 + hand.cluster().below(MOST) as u32;
                    control(hand, shop, task.id(), &Routed::Rescore { profiles });
                    now
                }
            };
            asked.insert(task.id(), (reached.clone(), since));
        }
        self.asked = asked;
    }
}
