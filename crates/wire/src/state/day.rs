//! The bytes of a shop day's totals, as one task knows them, and their key.

use domain::orders::DayTotals;
use domain::time::Day;

use crate::bin::{Corrupt, Put, Take};

/// Format of day totals.
const FORMAT: u8 = 1;

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
    let mut buf = vec![FORMAT];
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
    if from.u8()? != FORMAT {
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
