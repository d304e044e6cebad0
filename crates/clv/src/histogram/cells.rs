//! Cells of the histograms one by one, as they stand in a task's state: a key, and what is counted under it.
//!
//! A cell's key and value have one encoding each; keys sort as cells do. A value begins with its format version.

use domain::purchases::Statistics;

use super::bytes::{BytesError, Reader, put_signed};
use super::{Key, OrderHistogram, SpendHistogram, key, spend};

/// Format of a cell's value.
const VERSION: u8 = 1;

/// A cell of [`OrderHistogram`]: repeat purchases, first day, last day.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OrderCell(Key);

/// A cell of [`SpendHistogram`]: repeat purchases and magnitude of what they came to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SpendCell(spend::Key);

/// What is counted in a cell of [`SpendHistogram`]: customers, their totals, logarithms of these.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SpendSums(spend::Sums);

impl OrderCell {
    /// The cell that a customer is in.
    #[must_use]
    pub fn of(statistics: &Statistics) -> OrderCell {
        OrderCell(key(statistics))
    }

    /// The key's bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 12] {
        let OrderCell((repeats, first, last)) = self;
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&repeats.to_be_bytes());
        bytes[4..8].copy_from_slice(&sortable(first));
        bytes[8..].copy_from_slice(&sortable(last));
        bytes
    }

    /// The inverse of [`OrderCell::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<OrderCell> {
        let (repeats, rest) = bytes.split_first_chunk::<4>()?;
        let (first, last) = rest.split_first_chunk::<4>()?;
        let last = last.try_into().ok()?;
        let key = (
            u32::from_be_bytes(*repeats),
            from_sortable(*first),
            from_sortable(last),
        );
        Some(OrderCell(key))
    }
}

impl SpendCell {
    /// The cell that a customer is in, and what he brings to it; `None` without a repeat purchase that came to more
    /// than nothing.
    #[must_use]
    pub fn of(statistics: &Statistics) -> Option<(SpendCell, SpendSums)> {
        let (key, sums) = spend::of_customer(statistics)?;
        Some((SpendCell(key), SpendSums(sums)))
    }

    /// The key's bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 7] {
        let SpendCell((repeats, off, digits)) = self;
        let mut bytes = [0; 7];
        bytes[..4].copy_from_slice(&repeats.to_be_bytes());
        bytes[4] = off as u8; // At most 56 binary digits are taken off.
        bytes[5..].copy_from_slice(&digits.to_be_bytes());
        bytes
    }

    /// The inverse of [`SpendCell::to_bytes`].
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<SpendCell> {
        let (repeats, rest) = bytes.split_first_chunk::<4>()?;
        let (off, digits) = rest.split_first()?;
        let digits = digits.try_into().ok()?;
        let key = (
            u32::from_be_bytes(*repeats),
            u32::from(*off),
            u16::from_be_bytes(digits),
        );
        Some(SpendCell(key))
    }
}

impl SpendSums {
    /// Adds what a customer brings.
    pub fn add(&mut self, of: &SpendSums) {
        self.0.add(&of.0, 1);
    }

    /// Takes it off.
    pub fn take_off(&mut self, of: &SpendSums) {
        self.0.add(&of.0, -1);
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == SpendSums::default()
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_signed(&mut out, i128::from(self.0.customers));
        put_signed(&mut out, self.0.total);
        put_signed(&mut out, self.0.ln_total);
        out
    }

    /// Reads what [`SpendSums::encode`] wrote.
    ///
    /// # Errors
    /// Where the bytes are of another version, or damaged.
    pub fn decode(bytes: &[u8]) -> Result<SpendSums, BytesError> {
        let mut reader = Reader::of(bytes, VERSION)?;
        let sums = spend::Sums {
            customers: reader.signed()?,
            total: reader.signed()?,
            ln_total: reader.signed()?,
        };
        reader.end()?;
        Ok(SpendSums(sums))
    }
}

/// The bytes of a count of customers.
#[must_use]
pub fn encode_count(count: i64) -> Vec<u8> {
    let mut out = vec![VERSION];
    put_signed(&mut out, i128::from(count));
    out
}

/// Reads what [`encode_count`] wrote.
///
/// # Errors
/// Where the bytes are of another version, or damaged.
pub fn decode_count(bytes: &[u8]) -> Result<i64, BytesError> {
    let mut reader = Reader::of(bytes, VERSION)?;
    let count = reader.signed()?;
    reader.end()?;
    Ok(count)
}

impl OrderHistogram {
    /// Adds a cell's count.
    pub fn put(&mut self, cell: OrderCell, customers: i64) {
        self.count(cell.0, customers);
    }

    /// Its cells with their counts, sorted.
    pub fn entries(&self) -> impl Iterator<Item = (OrderCell, i64)> {
        self.cells
            .iter()
            .map(|(key, count)| (OrderCell(*key), *count))
    }
}

impl SpendHistogram {
    /// Adds what is counted in a cell.
    pub fn put(&mut self, cell: SpendCell, sums: &SpendSums) {
        self.merge_group(cell.0, &sums.0);
    }

    /// Its cells with what is counted in them, sorted.
    pub fn entries(&self) -> impl Iterator<Item = (SpendCell, SpendSums)> {
        self.groups
            .iter()
            .map(|(key, sums)| (SpendCell(*key), SpendSums(*sums)))
    }
}

fn sortable(day: i32) -> [u8; 4] {
    (day as u32 ^ (1 << 31)).to_be_bytes()
}

fn from_sortable(bytes: [u8; 4]) -> i32 {
    (u32::from_be_bytes(bytes) ^ (1 << 31)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::money::Minor;
    use domain::time::Day;

    fn customer(repeats: u32, first: i32, last: i32, spent: i64) -> Statistics {
        Statistics {
            repeats,
            first: Day(first),
            last: Day(last),
            spent: Minor(spent),
        }
    }

    #[test]
    fn keys_are_read_again_and_sort_as_cells_do() {
        let customers = [
            customer(0, -9, -9, 0),
            customer(0, 3, 3, 0),
            customer(1, -700, 4, 900),
            customer(1, 5, 6, 7),
            customer(300, 5, 6, i64::MAX),
        ];
        let cells = customers.map(|customer| OrderCell::of(&customer));
        for pair in cells.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].to_bytes() < pair[1].to_bytes());
        }
        for cell in cells {
            assert_eq!(OrderCell::from_bytes(&cell.to_bytes()), Some(cell));
        }
        let cells = customers.iter().filter_map(SpendCell::of);
        let mut cells: Vec<SpendCell> = cells.map(|(cell, _)| cell).collect();
        assert_eq!(cells.len(), 3);
        cells.sort_unstable();
        for pair in cells.windows(2) {
            assert!(pair[0].to_bytes() < pair[1].to_bytes());
        }
        for cell in cells {
            assert_eq!(SpendCell::from_bytes(&cell.to_bytes()), Some(cell));
        }
        assert_eq!(OrderCell::from_bytes(&[0; 11]), None);
        assert_eq!(SpendCell::from_bytes(&[0; 8]), None);
    }

    #[test]
    fn values_are_read_again_and_damage_is_noticed() {
        for count in [1, -1, i64::MAX] {
            let bytes = encode_count(count);
            assert_eq!(decode_count(&bytes), Ok(count));
            assert!(decode_count(&bytes[..bytes.len() - 1]).is_err());
        }
        let Some((_, one)) = SpendCell::of(&customer(2, 0, 9, 12_345)) else {
            panic!("he has spent");
        };
        let mut sums = SpendSums::default();
        sums.add(&one);
        sums.add(&one);
        assert_eq!(SpendSums::decode(&sums.encode()), Ok(sums));
        assert!(SpendSums::decode(&[9]).is_err());
        sums.take_off(&one);
        assert_eq!(sums, one);
        sums.take_off(&one);
        assert!(sums.is_empty());
    }
}
