//! State bytes: profiles, day totals, as they stand in the store and in the changelog.
//!
//! Every value begins with its format version. This version reads itself; a later one must also
//! read this one, held by golden bytes in the tests.
//!
//! A profile's bytes: version (1 byte), armed timer (8 bytes, big-endian, sign bit flipped), then
//! the sequence numbers, the settled view and the pending events. The live view is not stored: it
//! is the fold of the two.

use domain::behaviour::{Behaviour, Bucket, CartItem, Counted, Session, Signal, Totals, Touch};
use domain::definitions::{Definitions, Tag};
use domain::orders::{DayTotals, Entry, LineFact, OrderBook, WholeFact};
use domain::profile::{Membership, Profile, StageState, View};
use domain::time::{Day, TimeMs};

use crate::bin::{Corrupt, Put, Take};
use crate::bin_event::{put_campaign, put_event, take_campaign, take_event};

/// Format of profile bytes.
const PROFILE_FORMAT: u8 = 1;
/// Format of day totals.
const DAY_FORMAT: u8 = 1;

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
/// `None`: no timer.
#[must_use]
pub fn armed_timer(profile: &[u8]) -> Option<TimeMs> {
    let (due, _) = profile.get(1..)?.split_first_chunk::<8>()?;
    let due = from_sortable(*due);
    (due != TimeMs::MAX).then_some(due)
}

/// The timer's key that belongs to a profile's bytes: what a restore derives.
#[must_use]
pub fn derived_timer(key: &[u8], profile: &[u8]) -> Option<Vec<u8>> {
    armed_timer(profile).map(|due| timer_key(due, key))
}

/// Appends `profile` to `buf`.
pub fn encode_profile(profile: &Profile, buf: &mut Vec<u8>) {
    buf.put_u8(PROFILE_FORMAT);
    buf.extend_from_slice(&sortable(profile.armed));
    for sequence in profile.next_sequence {
        buf.put_varint(sequence);
    }
    buf.put_len(profile.last_transition.len());
    for (model, sequence) in &profile.last_transition {
        buf.put_u32(model.0);
        buf.put_varint(*sequence);
    }
    put_view(buf, profile.settled.as_deref().unwrap_or(&profile.live));
    // What the live view reached by timers of its own, so that the fold reaches it again.
    buf.put_time(profile.live.clock);
    buf.put_len(profile.pending.len());
    for event in &profile.pending {
        put_event(buf, event);
    }
}

/// Reads what [`encode_profile`] wrote; the live view is folded anew under `definitions`.
///
/// # Errors
/// [`Corrupt`]: the bytes are damaged, or of a format that this version does not know.
pub fn decode_profile(bytes: &[u8], definitions: &Definitions) -> Result<Profile, Corrupt> {
    let mut from = Take::new(bytes, "a profile");
    if from.u8()? != PROFILE_FORMAT {
        return Err(from.corrupt("it is of an unknown format version"));
    }
    let mut armed = [0; 8];
    armed.copy_from_slice(from.slice(8)?);
    let next_sequence = [from.varint()?, from.varint()?, from.varint()?];
    let last_transition = from.list(2, |f| Ok((Tag(f.u32()?), f.varint()?)))?;
    let settled = take_view(&mut from)?;
    let reached = from.time()?;
    let pending = from.list(8, take_event)?;
    from.finish()?;
    Ok(Profile::restored(
        settled,
        pending,
        reached,
        next_sequence,
        last_transition,
        from_sortable(armed),
        definitions,
    ))
}

fn put_view(buf: &mut Vec<u8>, view: &View) {
    buf.put_time(view.clock);
    buf.put_time(view.next_timer);
    put_book(buf, &view.book);
    put_behaviour(buf, &view.behaviour);
    buf.put_len(view.stages.len());
    for state in &view.stages {
        buf.put_u32(state.model.0);
        buf.put_u32(state.stage.0);
        buf.put_time(state.since);
        buf.put_u32(state.cycle);
    }
    buf.put_len(view.segments.len());
    for member in &view.segments {
        buf.put_u32(member.segment.0);
        buf.put_time(member.since);
    }
}

fn take_view(from: &mut Take<'_>) -> Result<View, Corrupt> {
    let mut view = View::default();
    view.clock = from.time()?;
    view.next_timer = from.time()?;
    view.book = take_book(from)?;
    view.behaviour = take_behaviour(from)?;
    view.stages = from.list(4, |f| {
        Ok(StageState {
            model: Tag(f.u32()?),
            stage: Tag(f.u32()?),
            since: f.time()?,
            cycle: f.u32()?,
        })
    })?;
    view.segments = from.list(2, |f| {
        Ok(Membership {
            segment: Tag(f.u32()?),
            since: f.time()?,
        })
    })?;
    view.restore_derived();
    Ok(view)
}

fn put_book(buf: &mut Vec<u8>, book: &OrderBook) {
    for list in [&book.orders, &book.refunds] {
        buf.put_len(list.len());
        for entry in list {
            put_entry(buf, entry);
        }
    }
    buf.put_len(book.products.len());
    for product in &book.products {
        buf.extend_from_slice(&product.to_be_bytes());
    }
}

fn take_book(from: &mut Take<'_>) -> Result<OrderBook, Corrupt> {
    Ok(OrderBook {
        orders: from.list(6, take_entry)?,
        refunds: from.list(6, take_entry)?,
        products: from.list(8, |f| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(f.slice(8)?);
            Ok(u64::from_be_bytes(bytes))
        })?,
    })
}

/// Lines are sorted by key: keys and times are written as differences, which are small where a
/// source numbers its lines.
fn put_entry(buf: &mut Vec<u8>, entry: &Entry) {
    buf.put_text(&entry.id);
    buf.put_len(entry.lines.len());
    let (mut key, mut time) = (0_u64, 0_i64);
    for line in &entry.lines {
        buf.put_varint(line.key.wrapping_sub(key));
        buf.put_signed(line.time.0.wrapping_sub(time));
        buf.put_units(line.units);
        buf.put_minor(line.amount);
        (key, time) = (line.key, line.time.0);
    }
    buf.put_opt(entry.whole.as_ref(), put_whole);
    buf.put_opt(entry.cancelled_at, |b, t| b.put_time(t));
    buf.put_opt(entry.delivered_at, |b, t| b.put_time(t));
    buf.put_opt_text(entry.of_order.as_ref());
}

fn take_entry(from: &mut Take<'_>) -> Result<Entry, Corrupt> {
    let id = from.text()?;
    let (mut key, mut time) = (0_u64, 0_i64);
    let lines = from.list(4, |f| {
        key = key.wrapping_add(f.varint()?);
        time = time.wrapping_add(f.signed()?);
        Ok(LineFact {
            key,
            time: TimeMs(time),
            units: f.units()?,
            amount: f.minor()?,
        })
    })?;
    Ok(Entry {
        id,
        lines,
        whole: from.opt(take_whole)?,
        cancelled_at: from.opt(Take::time)?,
        delivered_at: from.opt(Take::time)?,
        of_order: from.opt_text()?,
    })
}

fn put_whole(buf: &mut Vec<u8>, whole: &WholeFact) {
    buf.put_time(whole.time);
    buf.put_minor(whole.amount);
    buf.put_units(whole.units);
    buf.put_u32(whole.lines);
    buf.put_minor(whole.discount);
    buf.put_u8(u8::from(whole.coupon));
    buf.put_minor(whole.tax);
    buf.put_minor(whole.shipping);
    buf.put_opt(whole.cogs, |b, a| b.put_minor(a));
}

fn take_whole(from: &mut Take<'_>) -> Result<WholeFact, Corrupt> {
    Ok(WholeFact {
        time: from.time()?,
        amount: from.minor()?,
        units: from.units()?,
        lines: from.u32()?,
        discount: from.minor()?,
        coupon: from.flag()?,
        tax: from.minor()?,
        shipping: from.minor()?,
        cogs: from.opt(Take::minor)?,
    })
}

fn put_behaviour(buf: &mut Vec<u8>, behaviour: &Behaviour) {
    put_totals(buf, &behaviour.totals);
    buf.put_len(behaviour.days.len());
    let mut day = 0_i64;
    for bucket in &behaviour.days {
        buf.put_signed(i64::from(bucket.day.0) - day);
        buf.put_u32(bucket.sessions);
        buf.put_u32(bucket.page_views);
        buf.put_u32(bucket.product_views);
        day = i64::from(bucket.day.0);
    }
    buf.put_opt(behaviour.session, |b, s| {
        b.put_time(s.start);
        b.put_signed(s.last.since(s.start));
    });
    buf.put_opt(behaviour.first_touch.as_ref(), put_touch);
    buf.put_opt(behaviour.last_touch.as_ref(), put_touch);
    buf.put_len(behaviour.cart.len());
    for item in &behaviour.cart {
        buf.put_text(&item.product_id);
        buf.put_units(item.quantity);
    }
    buf.put_opt(behaviour.cart_changed_at, |b, t| b.put_time(t));
    for list in [&behaviour.top_categories, &behaviour.top_products] {
        buf.put_len(list.len());
        for counted in list {
            buf.put_text(&counted.name);
            buf.put_u32(counted.count);
        }
    }
    buf.put_len(behaviour.signals.len());
    for (time, signal) in &behaviour.signals {
        buf.put_time(*time);
        buf.put_u8(*signal as u8);
    }
    buf.put_opt(behaviour.nps, |b, (time, score)| {
        b.put_time(time);
        b.put_u8(score);
    });
    buf.put_opt(behaviour.last_event, |b, t| b.put_time(t));
    buf.put_opt(behaviour.last_country.as_ref(), |b, (time, country)| {
        b.put_time(*time);
        b.put_text(country);
    });
}

fn take_behaviour(from: &mut Take<'_>) -> Result<Behaviour, Corrupt> {
    let totals = take_totals(from)?;
    let mut day = 0_i64;
    let days = from.list(4, |f| {
        day = day.wrapping_add(f.signed()?);
        let Ok(number) = i32::try_from(day) else {
            return Err(f.corrupt("a day is out of range"));
        };
        Ok(Bucket {
            day: Day(number),
            sessions: f.u32()?,
            page_views: f.u32()?,
            product_views: f.u32()?,
        })
    })?;
    let session = from.opt(|f| {
        let start = f.time()?;
        Ok(Session {
            start,
            last: start.plus(f.signed()?),
        })
    })?;
    Ok(Behaviour {
        totals,
        days,
        session,
        first_touch: from.opt(take_touch)?,
        last_touch: from.opt(take_touch)?,
        cart: from.list(2, |f| {
            Ok(CartItem {
                product_id: f.text()?,
                quantity: f.units()?,
            })
        })?,
        cart_changed_at: from.opt(Take::time)?,
        top_categories: from.list(2, take_counted)?,
        top_products: from.list(2, take_counted)?,
        signals: from.list(2, |f| Ok((f.time()?, take_signal(f)?)))?,
        nps: from.opt(|f| Ok((f.time()?, f.u8()?)))?,
        last_event: from.opt(Take::time)?,
        last_country: from.opt(|f| Ok((f.time()?, f.text()?)))?,
    })
}

fn put_totals(buf: &mut Vec<u8>, totals: &Totals) {
    for count in [
        totals.events,
        totals.late,
        totals.sessions,
        totals.page_views,
        totals.product_views,
        totals.searches,
        totals.cart_adds,
        totals.checkouts,
        totals.leads,
    ] {
        buf.put_varint(count);
    }
}

fn take_totals(from: &mut Take<'_>) -> Result<Totals, Corrupt> {
    Ok(Totals {
        events: from.varint()?,
        late: from.varint()?,
        sessions: from.varint()?,
        page_views: from.varint()?,
        product_views: from.varint()?,
        searches: from.varint()?,
        cart_adds: from.varint()?,
        checkouts: from.varint()?,
        leads: from.varint()?,
    })
}

fn put_touch(buf: &mut Vec<u8>, touch: &Touch) {
    buf.put_time(touch.time);
    buf.put_opt_text(touch.channel.as_ref());
    buf.put_opt(touch.campaign.as_ref(), |b, c| put_campaign(b, c));
}

fn take_touch(from: &mut Take<'_>) -> Result<Touch, Corrupt> {
    Ok(Touch {
        time: from.time()?,
        channel: from.opt_text()?,
        campaign: from.opt(take_campaign)?.map(Box::new),
    })
}

fn take_counted(from: &mut Take<'_>) -> Result<Counted, Corrupt> {
    Ok(Counted {
        name: from.text()?,
        count: from.u32()?,
    })
}

fn take_signal(from: &mut Take<'_>) -> Result<Signal, Corrupt> {
    [Signal::GoodReview, Signal::Share, Signal::ReferralConverted]
        .get(usize::from(from.u8()?))
        .copied()
        .ok_or_else(|| from.corrupt("a signal has an unknown number"))
}

/// Key of a day in its table.
#[must_use]
pub fn day_key(day: Day) -> [u8; 4] {
    ((day.0 as u32) ^ (1 << 31)).to_be_bytes()
}

/// The inverse of [`day_key`].
#[must_use]
pub fn split_day_key(key: &[u8]) -> Option<Day> {
    let bytes: [u8; 4] = key.try_into().ok()?;
    Some(Day((u32::from_be_bytes(bytes) ^ (1 << 31)) as i32))
}

/// The bytes of a day's totals.
#[must_use]
pub fn encode_day(totals: &DayTotals) -> Vec<u8> {
    let mut buf = vec![DAY_FORMAT];
    for count in [
        totals.lines,
        totals.orders,
        totals.cancellations,
        totals.customers,
    ] {
        buf.put_signed(count);
    }
    buf.put_minor(totals.gross);
    buf.put_minor(totals.returns);
    buf
}

/// Reads what [`encode_day`] wrote.
///
/// # Errors
/// [`Corrupt`]: the bytes are damaged, or of a format that this version does not know.
pub fn decode_day(bytes: &[u8]) -> Result<DayTotals, Corrupt> {
    let mut from = Take::new(bytes, "a day's totals");
    if from.u8()? != DAY_FORMAT {
        return Err(from.corrupt("they are of an unknown format version"));
    }
    let totals = DayTotals {
        lines: from.signed()?,
        orders: from.signed()?,
        cancellations: from.signed()?,
        customers: from.signed()?,
        gross: from.minor()?,
        returns: from.minor()?,
    };
    from.finish()?;
    Ok(totals)
}
