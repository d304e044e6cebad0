//! I1, of models of value: in the end all tasks stand under the newest that was promoted, and so does every
//! profile with orders; nothing is left of those before.

use std::sync::Arc;

use engine::bookkeeping::{self, Bookkeeping};
use engine::port::Table;
use engine::valuing;
use wire::state::{decode_model, decode_profile};

use super::ends::{fold, unreadable};
use super::{Found, violated};
use crate::shop::{Shop, TASKS};
use crate::world::Ran;

pub(super) fn newest_everywhere(ran: &Ran, shop: &Arc<Shop>) -> Found {
    (0..TASKS).try_for_each(|task| newest_in(task, ran, shop))
}

fn newest_in(task: u32, ran: &Ran, shop: &Arc<Shop>) -> Found {
    let newest = ran.promotions.newest();
    let version = newest.map_or(0, |model| model.version);
    let tables = fold(ran, shop, task);
    let tables = tables
        .iter()
        .filter_map(|(full, value)| Some((Table::split(full)?, *value)));
    let tables: Vec<_> = tables.collect();
    let of = |which: Table| {
        let of_table = tables.iter().filter(move |((table, _), _)| *table == which);
        of_table.map(|((_, key), value)| (*key, *value))
    };
    let models: Result<Vec<_>, _> = of(Table::Models)
        .map(|(_, value)| decode_model(value))
        .collect();
    let models = models.map_err(|e| unreadable(&e))?;
    if !models.iter().eq(newest) {
        let what = format!("task {task} has {models:?}, and the newest is {newest:?}");
        return violated("I1", what);
    }
    for (_, bytes) in of(Table::Meta).filter(|(key, _)| *key == bookkeeping::KEY) {
        let book = Bookkeeping::decode(bytes).map_err(|e| unreadable(&e))?;
        if let Some(last) = book.rescored {
            let what = format!("profiles of task {task} after {last:?} are still to go over");
            return violated("I1", what);
        }
    }
    let entries = of(Table::Models).map(|(_, value)| value);
    let versions = valuing::versions_of(entries, &shop.setup.definitions);
    let versions = versions.map_err(|e| unreadable(&e))?;
    for (key, bytes) in of(Table::Profiles) {
        let profile = decode_profile(bytes, &versions).map_err(|e| unreadable(&e))?;
        let is_scored = !profile.live.book.is_empty();
        if is_scored && profile.model != version {
            let what = format!(
                "a profile of task {task} stands under version {} of the model, and the newest is {version}: {}",
                profile.model,
                String::from_utf8_lossy(key)
            );
            return violated("I1", what);
        }
    }
    Ok(())
}
