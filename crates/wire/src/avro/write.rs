//! Writing the primitive encodings of Avro.

/// A zig-zag varint; also an int, a union's branch, a length.
pub(crate) fn long(out: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        out.push((bits & 0x7f) as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

/// Text behind its length.
pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// A double.
pub(crate) fn double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// An array in one block.
pub(crate) fn array<T>(out: &mut Vec<u8>, items: &[T], mut item: impl FnMut(&mut Vec<u8>, &T)) {
    if !items.is_empty() {
        length(out, items.len());
        items.iter().for_each(|each| item(out, each));
    }
    out.push(0);
}

/// A length or a count.
pub(crate) fn length(out: &mut Vec<u8>, length: usize) {
    // No slice is longer than i64 counts.
    long(out, i64::try_from(length).unwrap_or(i64::MAX));
}
