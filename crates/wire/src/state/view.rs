//! The bytes of a settled view, but for its clock and timer, which stand at the profile's head.

use domain::definitions::Definitions;
use domain::profile::{Membership, StageState, View};
use domain::time::TimeMs;

use super::{behaviour, book};
use crate::bin::{Corrupt, Put, Take};

/// Appends `view` to `buf`, instants as how much earlier they are than `base`.
pub(super) fn put_view(buf: &mut Vec<u8>, base: TimeMs, view: &View) {
    book::put_book(buf, base, &view.book);
    behaviour::put_behaviour(buf, base, &view.behaviour);
    buf.put_len(view.stages.len());
    for state in &view.stages {
        buf.put_tag(state.model);
        buf.put_tag(state.stage);
        buf.put_ago(base, state.since);
        buf.put_u32(state.cycle);
    }
    buf.put_len(view.segments.len());
    for member in &view.segments {
        buf.put_tag(member.segment);
        buf.put_ago(base, member.since);
    }
}

/// Reads what [`put_view`] wrote into `view`.
pub(super) fn take_view(
    from: &mut Take<'_>,
    base: TimeMs,
    view: &mut View,
    definitions: &Definitions,
) -> Result<(), Corrupt> {
    view.book = book::take_book(from, base)?;
    view.behaviour = behaviour::take_behaviour(from, base)?;
    view.stages = from.list(10, |f| {
        Ok(StageState {
            model: f.tag()?,
            stage: f.tag()?,
            since: f.ago(base)?,
            cycle: f.u32()?,
        })
    })?;
    view.segments = from.list(5, |f| {
        Ok(Membership {
            segment: f.tag()?,
            since: f.ago(base)?,
        })
    })?;
    view.restore_derived(definitions);
    Ok(())
}
