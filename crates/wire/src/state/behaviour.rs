//! The bytes of behaviour. What is absent, zero or empty takes a flag only.

use domain::behaviour::{Behaviour, Bucket, CartItem, Counted, Session, Signal, Totals, Touch};
use domain::event::{Campaign, Text};
use domain::time::{Day, TimeMs};

use crate::bin::{Corrupt, Put, Take};
use crate::bin_event::{put_campaign, take_campaign};

// Of behaviour. Those that a visitor has come first: seven fit one byte.
const DAYS: u64 = 1;
const SESSION: u64 = 1 << 1;
const FIRST_TOUCH: u64 = 1 << 2;
const LAST_TOUCH: u64 = 1 << 3;
const CATEGORIES: u64 = 1 << 4;
const PRODUCTS: u64 = 1 << 5;
const LAST_EVENT: u64 = 1 << 6;
const COUNTRY: u64 = 1 << 7;
const CART: u64 = 1 << 8;
const CART_CHANGED: u64 = 1 << 9;
const SIGNALS: u64 = 1 << 10;
const NPS: u64 = 1 << 11;
const ALL_FLAGS: u64 = (1 << 12) - 1;

// Of a touch.
const CHANNEL: u64 = 1;
const CAMPAIGN: u64 = 1 << 1;
/// Channel and campaign are those of the first touch.
const AS_FIRST: u64 = 1 << 2;
const ALL_TOUCH_FLAGS: u64 = (1 << 3) - 1;

/// Appends `behaviour` to `buf`, instants as how much earlier they are than `base`.
pub(super) fn put_behaviour(buf: &mut Vec<u8>, base: TimeMs, behaviour: &Behaviour) {
    put_totals(buf, &behaviour.totals);
    buf.put_flags(&[
        (DAYS, !behaviour.days.is_empty()),
        (SESSION, behaviour.session.is_some()),
        (FIRST_TOUCH, behaviour.first_touch.is_some()),
        (LAST_TOUCH, behaviour.last_touch.is_some()),
        (CATEGORIES, !behaviour.top_categories.is_empty()),
        (PRODUCTS, !behaviour.top_products.is_empty()),
        (LAST_EVENT, behaviour.last_event.is_some()),
        (COUNTRY, behaviour.last_country.is_some()),
        (CART, !behaviour.cart.is_empty()),
        (CART_CHANGED, behaviour.cart_changed_at.is_some()),
        (SIGNALS, !behaviour.signals.is_empty()),
        (NPS, behaviour.nps.is_some()),
    ]);
    if !behaviour.days.is_empty() {
        put_days(buf, base.day(), &behaviour.days);
    }
    if let Some(session) = &behaviour.session {
        buf.put_ago(base, session.last);
        buf.put_ago(session.last, session.start);
    }
    let first = behaviour.first_touch.as_ref();
    if let Some(touch) = first {
        put_touch(buf, base, touch, None);
    }
    if let Some(touch) = &behaviour.last_touch {
        put_touch(buf, base, touch, first);
    }
    for list in [&behaviour.top_categories, &behaviour.top_products] {
        if !list.is_empty() {
            put_favourites(buf, list);
        }
    }
    if let Some(at) = behaviour.last_event {
        buf.put_ago(base, at);
    }
    if let Some((at, country)) = &behaviour.last_country {
        buf.put_ago(base, *at);
        buf.put_text(country);
    }
    if !behaviour.cart.is_empty() {
        buf.put_len(behaviour.cart.len());
        for item in &behaviour.cart {
            buf.put_text(&item.product_id);
            buf.put_units(item.quantity);
        }
    }
    if let Some(at) = behaviour.cart_changed_at {
        buf.put_ago(base, at);
    }
    if !behaviour.signals.is_empty() {
        buf.put_len(behaviour.signals.len());
        for (at, signal) in &behaviour.signals {
            buf.put_ago(base, *at);
            buf.put_u8(*signal as u8);
        }
    }
    if let Some((at, score)) = behaviour.nps {
        buf.put_ago(base, at);
        buf.put_u8(score);
    }
}

/// Reads what [`put_behaviour`] wrote.
pub(super) fn take_behaviour(from: &mut Take<'_>, base: TimeMs) -> Result<Behaviour, Corrupt> {
    let totals = take_totals(from)?;
    let flags = from.flags(ALL_FLAGS)?;
    let has = |flag| flags & flag != 0;
    let days = from.when(has(DAYS), |f| take_days(f, base.day()))?;
    let session = from.when(has(SESSION), |f| {
        let last = f.ago(base)?;
        let start = f.ago(last)?;
        Ok(Session { start, last })
    })?;
    let first_touch = from.when(has(FIRST_TOUCH), |f| take_touch(f, base, None))?;
    let last_touch = from.when(has(LAST_TOUCH), |f| {
        take_touch(f, base, first_touch.as_ref())
    })?;
    Ok(Behaviour {
        totals,
        days: days.unwrap_or_default(),
        session,
        first_touch,
        last_touch,
        top_categories: from
            .when(has(CATEGORIES), take_favourites)?
            .unwrap_or_default(),
        top_products: from
            .when(has(PRODUCTS), take_favourites)?
            .unwrap_or_default(),
        last_event: from.when(has(LAST_EVENT), |f| f.ago(base))?,
        last_country: from.when(has(COUNTRY), |f| Ok((f.ago(base)?, f.text()?)))?,
        cart: from.when(has(CART), take_cart)?.unwrap_or_default(),
        cart_changed_at: from.when(has(CART_CHANGED), |f| f.ago(base))?,
        signals: from
            .when(has(SIGNALS), |f| {
                f.list(2, |f| Ok((f.ago(base)?, take_signal(f)?)))
            })?
            .unwrap_or_default(),
        nps: from.when(has(NPS), |f| Ok((f.ago(base)?, f.u8()?)))?,
    })
}

/// Most are zero: one flag each says which are not.
fn put_totals(buf: &mut Vec<u8>, totals: &Totals) {
    let counts = [
        totals.events,
        totals.sessions,
        totals.page_views,
        totals.product_views,
        totals.searches,
        totals.cart_adds,
        totals.checkouts,
        totals.leads,
        totals.late,
    ];
    let mut flags = 0;
    for (at, count) in counts.iter().enumerate() {
        flags |= u64::from(*count != 0) << at;
    }
    buf.put_varint(flags);
    for count in counts.into_iter().filter(|count| *count != 0) {
        buf.put_varint(count);
    }
}

fn take_totals(from: &mut Take<'_>) -> Result<Totals, Corrupt> {
    let mut counts = [0; 9];
    let flags = from.flags((1 << counts.len()) - 1)?;
    for (at, count) in counts.iter_mut().enumerate() {
        if flags & 1 << at != 0 {
            *count = from.varint()?;
        }
    }
    let [
        events,
        sessions,
        page_views,
        product_views,
        searches,
        cart_adds,
        checkouts,
        leads,
        late,
    ] = counts;
    Ok(Totals {
        events,
        late,
        sessions,
        page_views,
        product_views,
        searches,
        cart_adds,
        checkouts,
        leads,
    })
}

/// Newest first, each by how many days earlier it is. One session a day is the rule: the lowest bit
/// says whether it was another number.
fn put_days(buf: &mut Vec<u8>, last: Day, days: &[Bucket]) {
    buf.put_len(days.len());
    let mut day = i64::from(last.0);
    for bucket in days.iter().rev() {
        let earlier = day - i64::from(bucket.day.0);
        let one_session = bucket.sessions == 1;
        buf.put_signed(earlier << 1 | i64::from(!one_session));
        if !one_session {
            buf.put_u32(bucket.sessions);
        }
        put_views(buf, bucket.page_views, bucket.product_views);
        day = i64::from(bucket.day.0);
    }
}

fn take_days(from: &mut Take<'_>, last: Day) -> Result<Vec<Bucket>, Corrupt> {
    let mut day = i64::from(last.0);
    let mut days = from.list(2, |f| {
        let head = f.signed()?;
        day = day.wrapping_sub(head >> 1);
        let Ok(number) = i32::try_from(day) else {
            return Err(f.corrupt("a day is out of range"));
        };
        let sessions = if head & 1 == 0 { 1 } else { f.u32()? };
        let (page_views, product_views) = take_views(f)?;
        Ok(Bucket {
            day: Day(number),
            sessions,
            page_views,
            product_views,
        })
    })?;
    days.reverse();
    Ok(days)
}

/// Of what one half of a byte can hold, the number that says that both follow on their own.
const MANY: u32 = 15;

/// Page views and product views, each in half a byte where both fit.
fn put_views(buf: &mut Vec<u8>, pages: u32, products: u32) {
    if pages < MANY && products < MANY {
        buf.put_u8((pages << 4 | products) as u8);
    } else {
        buf.put_u8((MANY << 4) as u8);
        buf.put_u32(pages);
        buf.put_u32(products);
    }
}

fn take_views(from: &mut Take<'_>) -> Result<(u32, u32), Corrupt> {
    let halves = u32::from(from.u8()?);
    if halves == MANY << 4 {
        return Ok((from.u32()?, from.u32()?));
    }
    Ok((halves >> 4, halves & MANY))
}

/// A last touch that comes from where the first one came says no more than that.
fn put_touch(buf: &mut Vec<u8>, base: TimeMs, touch: &Touch, first: Option<&Touch>) {
    let as_first =
        first.is_some_and(|f| f.channel == touch.channel && f.campaign == touch.campaign);
    let channel = touch.channel.as_ref().filter(|_| !as_first);
    let campaign = touch.campaign.as_ref().filter(|_| !as_first);
    buf.put_flags(&[
        (CHANNEL, channel.is_some()),
        (CAMPAIGN, campaign.is_some()),
        (AS_FIRST, as_first),
    ]);
    buf.put_ago(base, touch.time);
    if let Some(channel) = channel {
        buf.put_text(channel);
    }
    if let Some(campaign) = campaign {
        put_campaign(buf, campaign);
    }
}

fn take_touch(from: &mut Take<'_>, base: TimeMs, first: Option<&Touch>) -> Result<Touch, Corrupt> {
    let flags = from.flags(ALL_TOUCH_FLAGS)?;
    let time = from.ago(base)?;
    if flags & AS_FIRST != 0 {
        return match first {
            Some(first) => Ok(Touch {
                time,
                ..first.clone()
            }),
            None => Err(from.corrupt("a touch repeats one that is not there")),
        };
    }
    Ok(Touch {
        time,
        channel: from.when(flags & CHANNEL != 0, Take::text)?,
        campaign: from
            .when(flags & CAMPAIGN != 0, take_campaign)?
            .map(Box::<Campaign>::new),
    })
}

fn put_favourites(buf: &mut Vec<u8>, list: &[Counted]) {
    buf.put_len(list.len());
    let mut previous = "";
    for counted in list {
        buf.put_text_after(previous, &counted.name);
        previous = &counted.name;
        buf.put_u32(counted.count);
    }
}

fn take_favourites(from: &mut Take<'_>) -> Result<Vec<Counted>, Corrupt> {
    let mut previous = Text::default();
    from.list(2, |f| {
        previous = f.text_after(&previous)?;
        Ok(Counted {
            name: previous.clone(),
            count: f.u32()?,
        })
    })
}

fn take_cart(from: &mut Take<'_>) -> Result<Vec<CartItem>, Corrupt> {
    from.list(2, |f| {
        Ok(CartItem {
            product_id: f.text()?,
            quantity: f.units()?,
        })
    })
}

fn take_signal(from: &mut Take<'_>) -> Result<Signal, Corrupt> {
    [Signal::GoodReview, Signal::Share, Signal::ReferralConverted]
        .get(usize::from(from.u8()?))
        .copied()
        .ok_or_else(|| from.corrupt("a signal has an unknown number"))
}
