//! State bytes: profiles and day totals, as they stand in the store and in the changelog.
//!
//! Every value begins with its format version. This version reads itself; a later one must also
//! read this one, held by golden bytes in the tests. The layout is described in
//! `docs/state-format.md`.
//!
//! Invariants: one profile has one encoding; what was written is read again as it was. The live view
//! is not stored: it is the fold of the settled view and the pending events.

mod behaviour;
mod book;
mod day;
mod model;
mod view;

use domain::definitions::{Definitions, Tag};
use domain::prediction::{Told, Versions};
use domain::profile::{Profile, StageState, View};
use domain::time::TimeMs;

use crate::bin::{Corrupt, Put, Take};
use crate::bin_event::{put_event, take_event};

pub use day::{day_key, decode_day, encode_day, split_day_key};
pub use model::{decode_model, encode_model, model_key};
pub(crate) use model::{put_model, take_model};

/// Format of profile bytes.
const FORMAT: u8 = 1;

/// A timer is armed; its instant follows.
const ARMED: u64 = 1;
/// Something has settled; the settled view follows.
const SETTLED: u64 = 1 << 1;
/// Events are pending; they follow.
const PENDING: u64 = 1 << 2;
/// The settled view stands at an instant of its own, not at the live view's; it follows.
const BEHIND: u64 = 1 << 3;
/// The settled view has a timer, at another instant than the armed one; it follows.
const WAKES: u64 = 1 << 4;
/// The settled view has a timer at the armed instant.
const WAKES_AS_ARMED: u64 = 1 << 5;
/// A model of value was in force when it was evaluated last; its version follows, and what the settled view told
/// of its prediction.
const SCORED: u64 = 1 << 6;
const ALL_FLAGS: u64 = (1 << 7) - 1;

/// An instant as 8 bytes that sort as the instants do.
#[must_use]
pub fn sortable(time: TimeMs) -> [u8; 8] {
    ((time.0 as u64) ^ (1 << 63)).to_be_bytes()
}

/// The inverse of [`sortable`].
#[must_use]
pub fn from_sortable(bytes: [u8; 8]) -> TimeMs {
    TimeMs((u64::from_be_bytes(bytes) ^ (1 << 63)) as i64)
}

/// Key of a timer: the due instant, then the profile's key.
#[must_use]
pub fn timer_key(due: TimeMs, profile: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(8 + profile.len());
    key.extend_from_slice(&sortable(due));
    key.extend_from_slice(profile);
    key
}

/// The inverse of [`timer_key`].
#[must_use]
pub fn split_timer_key(key: &[u8]) -> Option<(TimeMs, &[u8])> {
    let (due, profile) = key.split_first_chunk::<8>()?;
    Some((from_sortable(*due), profile))
}

/// The instant that the profile with these bytes has a timer armed for, without decoding the rest;
/// `None`: no timer, or no profile.
#[must_use]
pub fn armed_timer(profile: &[u8]) -> Option<TimeMs> {
    let mut from = Take::new(profile, "a profile");
    take_head(&mut from).ok().and_then(|(_, armed)| armed)
}

/// The timer's key that belongs to a profile's bytes: what a restore derives.
#[must_use]
pub fn derived_timer(key: &[u8], profile: &[u8]) -> Option<Vec<u8>> {
    armed_timer(profile).map(|due| timer_key(due, key))
}

/// Appends `profile` to `buf`.
pub fn encode_profile(profile: &Profile, buf: &mut Vec<u8>) {
    let settled = profile.settled.as_deref().unwrap_or(&profile.live);
    // What the live view reached by timers of its own, so that the fold reaches it again; all other
    // instants are told by how much earlier they are.
    let reached = profile.live.clock;
    let is_armed = profile.armed != TimeMs::MAX;
    let has_settled = *settled != View::default();
    let wakes = has_settled && settled.next_timer != TimeMs::MAX;
    let as_armed = settled.next_timer == profile.armed;
    let is_scored = profile.model != 0 && !profile.live.book.is_empty();
    buf.put_u8(FORMAT);
    buf.put_flags(&[
        (ARMED, is_armed),
        (SETTLED, has_settled),
        (PENDING, !profile.pending.is_empty()),
        (BEHIND, has_settled && settled.clock != reached),
        (WAKES, wakes && !as_armed),
        (WAKES_AS_ARMED, wakes && as_armed),
        (SCORED, is_scored),
    ]);
    if is_armed {
        buf.put_time(profile.armed);
    }
    if is_scored {
        buf.put_u32(profile.model);
    }
    buf.put_time(reached);
    for sequence in profile.next_sequence {
        buf.put_varint(sequence);
    }
    if has_settled {
        if settled.clock != reached {
            buf.put_ago(reached, settled.clock);
        }
        if wakes && !as_armed {
            buf.put_near(reached, settled.next_timer);
        }
        view::put_view(buf, reached, settled);
        if is_scored {
            buf.put_opt(settled.told, |buf, told| {
                buf.put_u8(told.below);
                buf.put_signed(told.amount);
            });
        }
    }
    put_last_transitions(buf, &profile.last_transition, &settled.stages);
    if !profile.pending.is_empty() {
        buf.put_len(profile.pending.len());
        for event in &profile.pending {
            put_event(buf, reached, event);
        }
    }
}

/// Reads what [`encode_profile`] wrote; the live view is folded anew under the definitions that it stood under.
///
/// # Errors
/// [`Corrupt`]: the bytes are damaged, or of a format that this version does not know, or the profile stands
/// under a model that is not among `versions`.
pub fn decode_profile(bytes: &[u8], versions: &Versions) -> Result<Profile, Corrupt> {
    let mut from = Take::new(bytes, "a profile");
    let (flags, armed) = take_head(&mut from)?;
    let armed = armed.unwrap_or(TimeMs::MAX);
    let model = match flags & SCORED {
        0 => 0,
        _ => from.u32()?,
    };
    let Some(definitions) = versions.under(model) else {
        return Err(from.corrupt("it stands under a model of value that is not known"));
    };
    let definitions: &Definitions = definitions;
    let reached = from.time()?;
    let next_sequence = [from.varint()?, from.varint()?, from.varint()?];
    let mut settled = View::default();
    if flags & SETTLED != 0 {
        settled.clock = match flags & BEHIND {
            0 => reached,
            _ => from.ago(reached)?,
        };
        if flags & WAKES != 0 {
            settled.next_timer = from.near(reached)?;
        } else if flags & WAKES_AS_ARMED != 0 {
            settled.next_timer = armed;
        }
        view::take_view(&mut from, reached, &mut settled, definitions)?;
        if flags & SCORED != 0 {
            settled.told = from.opt(|f| {
                Ok(Told {
                    model,
                    below: f.u8()?,
                    amount: f.signed()?,
                })
            })?;
        }
    }
    let last_transition = take_last_transitions(&mut from, &settled.stages)?;
    let pending = match flags & PENDING {
        0 => Vec::new(),
        _ => from.list(8, |f| take_event(f, reached))?,
    };
    from.finish()?;
    Ok(Profile::restored(
        settled,
        pending,
        reached,
        next_sequence,
        last_transition,
        armed,
        definitions,
    ))
}

/// The flags, and the armed timer.
fn take_head(from: &mut Take<'_>) -> Result<(u64, Option<TimeMs>), Corrupt> {
    if from.u8()? != FORMAT {
        return Err(from.corrupt("it is of an unknown format version"));
    }
    let flags = from.flags(ALL_FLAGS)?;
    let armed = match flags & ARMED {
        0 => None,
        _ => Some(from.time()?),
    };
    Ok((flags, armed))
}

/// Which model each number is of: its place among the settled view's stages, from 1, where it is
/// there (it nearly always is), and 0 and its tag where it is not.
fn put_last_transitions(buf: &mut Vec<u8>, last: &[(Tag, u64)], stages: &[StageState]) {
    buf.put_len(last.len());
    for (model, sequence) in last {
        match stages.iter().position(|s| s.model == *model) {
            Some(at) => buf.put_len(at + 1),
            None => {
                buf.put_len(0);
                buf.put_tag(*model);
            }
        }
        buf.put_varint(*sequence);
    }
}

fn take_last_transitions(
    from: &mut Take<'_>,
    stages: &[StageState],
) -> Result<Vec<(Tag, u64)>, Corrupt> {
    from.list(2, |f| {
        let model = match f.varint()? {
            0 => f.tag()?,
            at => match stages.get(usize::try_from(at - 1).unwrap_or(usize::MAX)) {
                Some(state) => state.model,
                None => return Err(f.corrupt("a transition is of a model without a stage")),
            },
        };
        Ok((model, f.varint()?))
    })
}
