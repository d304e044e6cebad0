//! Random damage: whatever comes is applied or a dead letter.

use crate::support::{TestResult, instant, process};
use crate::{Case, Placing, RECORD_TIME, adds_up, append, cases, check_dead_letters, open};

/// SplitMix64: the same numbers for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).expect("below a usize")
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.next() as u8).collect()
    }
}

/// One of the shipped values, damaged or as it is; or nothing but noise.
fn damaged(random: &mut Random, values: &[Vec<u8>]) -> Vec<u8> {
    let mut value = random.pick(values).clone();
    for _ in 0..random.below(4) {
        let at = random.below(value.len());
        let to = at + random.below(16.min(value.len() - at + 1));
        match random.below(9) {
            0 => value.truncate(at),
            1 => drop(value.splice(at..to, [])),
            2 => drop(value.splice(at..at, random.bytes(8))),
            3 => {
                let other = random.pick(values);
                let cut = random.below(other.len());
                value.truncate(at);
                value.extend_from_slice(&other[cut..]);
            }
            4 => drop(value.splice(
                at..at,
                *random.pick(&[*b"9999", *b"null", *b"-1,0", *b"\"{[]"]),
            )),
            5 => value = random.bytes(300),
            // Leaves many of them valid: another amount, another digit of a date or an id.
            _ => {
                if let Some(byte) = value.get_mut(at) {
                    *byte = match *byte {
                        b'0'..=b'9' => b'0' + random.below(10) as u8,
                        _ => random.next() as u8,
                    };
                }
            }
        }
    }
    value
}

#[test]
fn random_damage_never_stops_the_pipeline_and_never_vanishes() -> TestResult {
    let values: Vec<Vec<u8>> = cases().into_iter().filter_map(|c| c.value).collect();
    let values: Vec<Vec<u8>> = values.into_iter().filter(|v| v.len() < 4096).collect();
    for (partitions, seed) in [(1, 1), (4, 2), (4, 3)] {
        let dir = tempfile::tempdir()?;
        let deployment = open(dir.path(), &[&format!("partitions={partitions}")]);
        let mut random = Random(seed);
        let topics = deployment.config.input.topics.clone();
        let some: Vec<Case> = (0..8_000)
            .map(|number| Case {
                name: format!("seed {seed}, record {number}"),
                topic: random.pick(&topics).clone(),
                key: (random.below(4) > 0).then(|| random.bytes(20)),
                value: (random.below(50) > 0).then(|| damaged(&mut random, &values)),
                expect: String::new(),
                accepted_with: Vec::new(),
            })
            .collect();
        let decoder = deployment.decoder();
        let expected: Vec<Case> = some
            .into_iter()
            .map(|case| {
                let (key, value) = (case.key.as_deref(), case.value.as_deref());
                let decoded = decoder.decode(key, value, instant(RECORD_TIME));
                let expect = decoded.map_or_else(|r| r.class.as_str(), |_| "applied");
                Case {
                    expect: expect.to_owned(),
                    ..case
                }
            })
            .collect();
        let valid = expected.iter().filter(|c| !c.is_bad()).count();
        assert!((500..7_500).contains(&valid), "{valid} of 8,000 are valid");
        let places = append(&deployment, &expected, Placing::ByKey);
        let counts = process(&deployment)?;
        adds_up(&counts, expected.len());
        assert_eq!(counts.dead_lettered, (expected.len() - valid) as u64);
        check_dead_letters(&deployment, &expected, &places);
        assert_eq!(deployment.lag()?, 0);
        assert_eq!(process(&deployment)?, counts);
    }
    Ok(())
}
