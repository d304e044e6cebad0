//! The bytes of an order book.
//!
//! Entries and lines are sorted, and so written as differences: an id as what it does not share with
//! the one before it, keys as how much greater they are. What is absent or zero takes a flag only.

use domain::event::Text;
use domain::money::{Minor, Units};
use domain::orders::{Entry, LineFact, OrderBook, PRODUCT_KEY_BITS, WholeFact};
use domain::time::TimeMs;

use crate::bin::{Corrupt, Put, Take};

// Of an entry. Those that are common come first: seven fit one byte.
const WHOLE: u64 = 1;
const DELIVERED: u64 = 1 << 1;
const DISCOUNT: u64 = 1 << 2;
const TAX: u64 = 1 << 3;
const SHIPPING: u64 = 1 << 4;
const COGS: u64 = 1 << 5;
const COUPON: u64 = 1 << 6;
const LINES: u64 = 1 << 7;
const CANCELLED: u64 = 1 << 8;
const OF_ORDER: u64 = 1 << 9;
const ALL_FLAGS: u64 = (1 << 10) - 1;

/// Bytes of a product's key, and what it leaves of 64 bits.
const PRODUCT_BYTES: usize = PRODUCT_KEY_BITS as usize / 8;
const PRODUCT_SKIPS: usize = 8 - PRODUCT_BYTES;

pub(super) fn put_book(buf: &mut Vec<u8>, base: TimeMs, book: &OrderBook) {
    for list in [&book.orders, &book.refunds] {
        buf.put_len(list.len());
        let mut previous = "";
        for entry in list {
            put_entry(buf, base, previous, entry);
            previous = &entry.id;
        }
    }
    buf.put_len(book.products.len());
    for product in &book.products {
        buf.put_bytes(&product.to_be_bytes()[PRODUCT_SKIPS..]);
    }
}

pub(super) fn take_book(from: &mut Take<'_>, base: TimeMs) -> Result<OrderBook, Corrupt> {
    Ok(OrderBook {
        orders: take_entries(from, base)?,
        refunds: take_entries(from, base)?,
        products: from.list(PRODUCT_BYTES, |f| {
            let mut bytes = [0; 8];
            bytes[PRODUCT_SKIPS..].copy_from_slice(f.slice(PRODUCT_BYTES)?);
            Ok(u64::from_be_bytes(bytes))
        })?,
    })
}

fn take_entries(from: &mut Take<'_>, base: TimeMs) -> Result<Vec<Entry>, Corrupt> {
    let mut previous = Text::default();
    from.list(3, |f| {
        let entry = take_entry(f, base, &previous)?;
        previous = entry.id.clone();
        Ok(entry)
    })
}

fn put_entry(buf: &mut Vec<u8>, base: TimeMs, previous: &str, entry: &Entry) {
    let whole = entry.whole.as_ref();
    let some = |amount: fn(&WholeFact) -> Minor| whole.is_some_and(|w| amount(w) != Minor::ZERO);
    buf.put_flags(&[
        (WHOLE, whole.is_some()),
        (DELIVERED, entry.delivered_at.is_some()),
        (DISCOUNT, some(|w| w.discount)),
        (TAX, some(|w| w.tax)),
        (SHIPPING, some(|w| w.shipping)),
        (COGS, whole.is_some_and(|w| w.cogs.is_some())),
        (COUPON, whole.is_some_and(|w| w.coupon)),
        (LINES, !entry.lines.is_empty()),
        (CANCELLED, entry.cancelled_at.is_some()),
        (OF_ORDER, entry.of_order.is_some()),
    ]);
    buf.put_text_after(previous, &entry.id);
    if let Some(whole) = whole {
        put_whole(buf, base, whole);
    }
    if let Some(at) = entry.delivered_at {
        buf.put_near(placed(base, whole), at);
    }
    if !entry.lines.is_empty() {
        put_lines(buf, base, &entry.lines);
    }
    if let Some(at) = entry.cancelled_at {
        buf.put_ago(base, at);
    }
    if let Some(order) = &entry.of_order {
        buf.put_text(order);
    }
}

fn take_entry(from: &mut Take<'_>, base: TimeMs, previous: &str) -> Result<Entry, Corrupt> {
    let flags = from.flags(ALL_FLAGS)?;
    let has = |flag| flags & flag != 0;
    let id = from.text_after(previous)?;
    let whole = from.when(has(WHOLE), |f| take_whole(f, base, flags))?;
    Ok(Entry {
        id,
        delivered_at: from.when(has(DELIVERED), |f| f.near(placed(base, whole.as_ref())))?,
        whole,
        lines: from
            .when(has(LINES), |f| take_lines(f, base))?
            .unwrap_or_default(),
        cancelled_at: from.when(has(CANCELLED), |f| f.ago(base))?,
        of_order: from.when(has(OF_ORDER), Take::text)?,
    })
}

/// What a delivery is told by how much later it is than.
fn placed(base: TimeMs, whole: Option<&WholeFact>) -> TimeMs {
    whole.map_or(base, |w| w.time)
}

/// Keys grow, by little where a source numbers its lines; instants are near each other.
fn put_lines(buf: &mut Vec<u8>, base: TimeMs, lines: &[LineFact]) {
    buf.put_len(lines.len());
    let (mut key, mut time) = (0_u64, base);
    for line in lines {
        buf.put_varint(line.key.wrapping_sub(key));
        buf.put_near(time, line.time);
        buf.put_units(line.units);
        buf.put_minor(line.amount);
        (key, time) = (line.key, line.time);
    }
}

fn take_lines(from: &mut Take<'_>, base: TimeMs) -> Result<Vec<LineFact>, Corrupt> {
    let (mut key, mut time) = (0_u64, base);
    from.list(4, |f| {
        key = key.wrapping_add(f.varint()?);
        time = f.near(time)?;
        Ok(LineFact {
            key,
            time,
            units: f.units()?,
            amount: f.minor()?,
        })
    })
}

/// Units are thousandths; most are whole ones, and the lowest bit of the lines says whether they
/// are not.
fn put_whole(buf: &mut Vec<u8>, base: TimeMs, whole: &WholeFact) {
    buf.put_ago(base, whole.time);
    buf.put_minor(whole.amount);
    let (units, rest) = (whole.units.0 / Units::ONE.0, whole.units.0 % Units::ONE.0);
    buf.put_varint(u64::from(whole.lines) << 1 | u64::from(rest != 0));
    buf.put_signed(if rest == 0 { units } else { whole.units.0 });
    for amount in [whole.discount, whole.tax, whole.shipping] {
        if amount != Minor::ZERO {
            buf.put_minor(amount);
        }
    }
    if let Some(cogs) = whole.cogs {
        buf.put_minor(cogs);
    }
}

fn take_whole(from: &mut Take<'_>, base: TimeMs, flags: u64) -> Result<WholeFact, Corrupt> {
    let has = |flag| flags & flag != 0;
    let (time, amount) = (from.ago(base)?, from.minor()?);
    let head = from.varint()?;
    let Ok(lines) = u32::try_from(head >> 1) else {
        return Err(from.corrupt("an integer is out of range"));
    };
    let scale = if head & 1 == 0 { Units::ONE.0 } else { 1 };
    let Some(units) = from.signed()?.checked_mul(scale) else {
        return Err(from.corrupt("an integer is out of range"));
    };
    Ok(WholeFact {
        time,
        amount,
        units: Units(units),
        lines,
        discount: from.when(has(DISCOUNT), Take::minor)?.unwrap_or_default(),
        coupon: has(COUPON),
        tax: from.when(has(TAX), Take::minor)?.unwrap_or_default(),
        shipping: from.when(has(SHIPPING), Take::minor)?.unwrap_or_default(),
        cogs: from.when(has(COGS), Take::minor)?,
    })
}
