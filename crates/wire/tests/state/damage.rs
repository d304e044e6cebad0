//! Damaged bytes: told as [`Corrupt`], or read as what they happen to say; never a panic, never an
//! allocation beyond what the bytes could hold.

use std::sync::LazyLock;

use domain::time::DAY_MS;
use proptest::collection::vec;
use proptest::prelude::*;
use wire::bin::Corrupt;
use wire::meta::MetaReader;
use wire::routed::Routed;
use wire::state::{armed_timer, decode_day, decode_profile, encode_day};

use crate::profiles::{bytes, definitions, grow, shop};
use crate::round_trip::{day_totals, routed};

/// A few hundred profiles: at rest, and with events pending.
static PROFILES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let definitions = definitions();
    let mut all = Vec::new();
    for events in shop(5, 60, 90, DAY_MS).values() {
        let mut pending = Vec::new();
        let grown = grow(events, &definitions, |profile| pending = bytes(profile));
        all.push(pending);
        all.push(bytes(&grown));
    }
    all
});

/// Whether `bytes` are read as a profile. Where they are, it must be one.
fn reads(damaged: &[u8]) -> Result<(), Corrupt> {
    let definitions = definitions().into();
    let _ = armed_timer(damaged);
    let profile = decode_profile(damaged, &definitions)?;
    let again = bytes(&profile);
    assert_eq!(decode_profile(&again, &definitions), Ok(profile));
    Ok(())
}

#[test]
fn every_profile_cut_short_is_corrupt() {
    for whole in PROFILES.iter().step_by(5) {
        for end in 0..whole.len() {
            assert!(reads(&whole[..end]).is_err(), "cut at {end}: {whole:?}");
        }
    }
}

#[test]
fn bytes_that_follow_a_profile_are_corrupt() {
    for whole in PROFILES.iter() {
        assert!(reads(&[whole.as_slice(), &[0]].concat()).is_err());
    }
}

#[test]
fn another_format_version_is_corrupt() {
    for version in [0, 2, 255] {
        assert!(reads(&[&[version], &PROFILES[0][1..]].concat()).is_err());
        assert!(decode_day(&[version, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(Routed::decode(&[version, 3, 0]).is_err());
        assert!(MetaReader::new(&[version]).is_err());
    }
    assert!(Routed::decode(&[1, 5, 0]).is_err(), "no such kind");
}

/// Wherever a length stands, a huge one in its place asks for no memory.
#[test]
fn huge_numbers_anywhere() {
    let most: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
    let most_signed = &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let most_of_32_bits = &[0xff, 0xff, 0xff, 0xff, 0x0f];
    for whole in PROFILES.iter().step_by(9) {
        for at in 1..whole.len() {
            for huge in [most, most_signed, most_of_32_bits] {
                let _ = reads(&[&whole[..at], huge, &whole[at + 1..]].concat());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn damaged_profiles_never_panic(
        which in any::<prop::sample::Index>(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = which.get(&PROFILES).clone();
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = reads(&bytes);
    }

    #[test]
    fn random_bytes_never_panic(mut bytes in vec(any::<u8>(), 0..200)) {
        let _ = reads(&bytes);
        bytes.insert(0, 1);
        let _ = (reads(&bytes), Routed::decode(&bytes), decode_day(&bytes));
    }

    #[test]
    fn routed_records_cut_short_or_damaged(
        routed in routed(), index in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let whole = routed.encode();
        for end in 0..whole.len() {
            prop_assert!(Routed::decode(&whole[..end]).is_err());
        }
        let mut damaged = whole;
        let at = index.index(damaged.len());
        damaged[at] = byte;
        if let Ok(read) = Routed::decode(&damaged) {
            prop_assert_eq!(Routed::decode(&read.encode()), Ok(read));
        }
    }

    #[test]
    fn days_cut_short_are_corrupt(counts in any::<[i64; 6]>()) {
        let whole = encode_day(&day_totals(counts));
        for end in 0..whole.len() {
            prop_assert!(decode_day(&whole[..end]).is_err());
        }
    }
}
