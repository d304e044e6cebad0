//! The writers' schemas that decoders know, shared by all of them, growing while they work.
//!
//! Invariants: an id names one schema for ever, so nothing is ever replaced; a look-up takes no
//! lock; however many schemas come, what is held of them is bounded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::foreign;
use crate::avro::Plan;
use crate::rejection::{Rejection, RejectionClass as Class};
use crate::schema_set::{SchemaError, SchemaSet, SchemaText};

/// How many schemas may become known beyond those of the start.
const LEARNED: usize = 4096;
/// How much the plans of those may hold together, in nodes, fields and symbols.
const ROOM: usize = 2_000_000;
/// Of how many ids it is remembered why there is no schema.
const MISSING: usize = 256;

/// Plans for reading, by schema id. Clones share them.
#[derive(Clone, Debug)]
pub struct SharedSchemas {
    table: Arc<Table>,
}

/// What is known of an id: how to read, or why that is impossible.
type Known = Result<Plan, String>;

/// Empty, or an id and what is known of it: then for ever.
type Slot = OnceLock<Box<(u32, Known)>>;

#[derive(Debug)]
struct Table {
    /// Open addressing, at most half full, so that every search meets an empty slot.
    slots: Box<[Slot]>,
    changing: Mutex<Changing>,
}

/// Held by whoever adds.
#[derive(Debug)]
struct Changing {
    schemas: usize,
    room: usize,
    missing: BTreeMap<u32, String>,
}

impl SharedSchemas {
    /// The schemas of `schemas` and no others.
    ///
    /// # Errors
    /// One of them cannot be read with.
    pub fn closed(schemas: &SchemaSet) -> Result<SharedSchemas, SchemaError> {
        SharedSchemas::with_room(schemas, 0)
    }

    /// The schemas of `schemas`, to which [`SharedSchemas::learn`] adds others.
    ///
    /// # Errors
    /// One of `schemas` cannot be read with.
    pub fn open(schemas: &SchemaSet) -> Result<SharedSchemas, SchemaError> {
        SharedSchemas::with_room(schemas, LEARNED)
    }

    fn with_room(schemas: &SchemaSet, more: usize) -> Result<SharedSchemas, SchemaError> {
        let slots = (2 * (schemas.iter().count() + more)).next_power_of_two();
        let table = Table {
            slots: (0..slots).map(|_| Slot::new()).collect(),
            changing: Mutex::new(Changing {
                schemas: more,
                room: ROOM,
                missing: BTreeMap::new(),
            }),
        };
        for (id, schema) in schemas.iter() {
            let plan =
                Plan::compile(schema).map_err(|message| SchemaError::Unusable { id, message })?;
            table.insert(id, Ok(plan));
        }
        Ok(SharedSchemas {
            table: Arc::new(table),
        })
    }

    /// Whether it is settled what to do with records of schema `id`: to read them, or to reject
    /// them for good.
    #[must_use]
    pub fn knows(&self, id: u32) -> bool {
        self.table.get(id).is_some()
    }

    /// Takes in the schema with the id `id`. One that is known already stays as it is.
    ///
    /// # Errors
    /// The schema cannot be used. Its records are rejected with the same reason from now on.
    pub fn learn(&self, id: u32, schema: &SchemaText) -> Result<(), SchemaError> {
        if self.knows(id) {
            return Ok(());
        }
        self.settle(id, foreign::compile(schema))
    }

    /// Records of schema `id` are to be rejected for good, because of `reason`.
    pub fn refuse(&self, id: u32, reason: &str) {
        // What is an error to `learn` is what is wanted here.
        let _ = self.settle(id, Err(reason.to_owned()));
    }

    /// Why there is no schema with the id `id` so far: to be said of its records that do not wait.
    pub fn note_missing(&self, id: u32, reason: &str) {
        let mut changing = self.table.changing();
        while changing.missing.len() >= MISSING && !changing.missing.contains_key(&id) {
            changing.missing.pop_first();
        }
        changing.missing.insert(id, reason.to_owned());
    }

    fn settle(&self, id: u32, known: Known) -> Result<(), SchemaError> {
        let mut changing = self.table.changing();
        if self.knows(id) {
            return Ok(());
        }
        let size = known.as_ref().map_or(0, Plan::size);
        let room = changing.room.checked_sub(size);
        let (Some(schemas), Some(room)) = (changing.schemas.checked_sub(1), room) else {
            let message = "there are more schemas than can be held at a time: have producers use \
                           fewer, and restart"
                .to_owned();
            drop(changing);
            self.note_missing(id, &message);
            return Err(SchemaError::Unusable { id, message });
        };
        changing.schemas = schemas;
        changing.room = room;
        changing.missing.remove(&id);
        let unusable = known.as_ref().err().cloned();
        self.table.insert(id, known);
        match unusable {
            None => Ok(()),
            Some(message) => Err(SchemaError::Unusable { id, message }),
        }
    }

    /// How to read records of schema `id`.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn plan(&self, id: u32) -> Result<&Plan, Rejection> {
        let message = match self.table.get(id) {
            Some(Ok(plan)) => return Ok(plan),
            Some(Err(reason)) => format!("schema {id} cannot be used: {reason}"),
            None => match self.table.changing().missing.get(&id) {
                Some(reason) => format!("no schema with the id {id}: {reason}"),
                None => format!("no schema has the id {id}: add it to the folder of schemas"),
            },
        };
        Err(Rejection::new(Class::UnknownSchema, message))
    }
}

impl Table {
    fn changing(&self) -> MutexGuard<'_, Changing> {
        // Nothing that is done under the lock leaves it half done.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The slots in which `id` may be, in order.
    #[inline]
    fn slots_of(&self, id: u32) -> impl Iterator<Item = &Slot> {
        // A power of two, so that the mask keeps the index within it. Ids follow one another: an
        // odd factor spreads them and gives each a slot of its own.
        let mask = self.slots.len() - 1;
        let first = id.wrapping_mul(0x9e37_79b1) as usize;
        (0..self.slots.len()).map(move |step| &self.slots[first.wrapping_add(step) & mask])
    }

    #[inline]
    fn get(&self, id: u32) -> Option<&Known> {
        for slot in self.slots_of(id) {
            match slot.get().map(Box::as_ref) {
                Some((known, plan)) if *known == id => return Some(plan),
                Some(_) => {}
                None => return None,
            }
        }
        None
    }

    /// To be called by one thread at a time, with an id that is not there.
    fn insert(&self, id: u32, known: Known) {
        let mut entry = Box::new((id, known));
        for slot in self.slots_of(id) {
            match slot.set(entry) {
                Ok(()) => return,
                Err(back) => entry = back,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> SchemaText {
        SchemaText {
            text: text.to_owned(),
            references: Vec::new(),
        }
    }

    fn reason(schemas: &SharedSchemas, id: u32) -> String {
        let rejection = schemas.plan(id).unwrap_err();
        assert_eq!(rejection.class, Class::UnknownSchema);
        rejection.message
    }

    fn open() -> SharedSchemas {
        SharedSchemas::open(&SchemaSet::embedded().unwrap()).unwrap()
    }

    #[test]
    fn the_first_answer_for_an_id_holds() {
        let schemas = open();
        assert!(!schemas.knows(7));
        schemas.note_missing(7, "the registry is down");
        assert_eq!(
            reason(&schemas, 7),
            "no schema with the id 7: the registry is down"
        );
        schemas.learn(7, &text("\"string\"")).unwrap();
        schemas.refuse(7, "no longer wanted");
        assert!(schemas.plan(7).is_ok());
        schemas.refuse(8, "it is Protobuf");
        assert_eq!(
            reason(&schemas, 8),
            "schema 8 cannot be used: it is Protobuf"
        );
        assert!(reason(&schemas, 9).starts_with("no schema has the id 9"));
    }

    #[test]
    fn what_is_held_is_bounded() {
        let schemas = open();
        for id in 0..LEARNED as u32 {
            schemas.learn(id * 65_536, &text("\"int\"")).unwrap();
        }
        let full = schemas.learn(1, &text("\"int\"")).unwrap_err();
        assert!(full.to_string().contains("more schemas than"), "{full}");
        assert!(reason(&schemas, 1).contains("more schemas than"));
        assert!((0..LEARNED as u32).all(|id| schemas.plan(id * 65_536).is_ok()));
        for id in 0..2 * MISSING as u32 {
            schemas.note_missing(u32::MAX - id, "gone");
        }
        assert!(schemas.table.changing().missing.len() <= MISSING);
    }

    #[test]
    fn a_closed_set_learns_nothing() {
        let schemas = SharedSchemas::closed(&SchemaSet::embedded().unwrap()).unwrap();
        assert!(schemas.learn(1, &text("\"int\"")).is_err());
        assert!(schemas.knows(1_900_000_001) && !schemas.knows(1));
    }
}
