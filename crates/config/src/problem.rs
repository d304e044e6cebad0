//! What is wrong with a configuration, as data: all of it, each with its place.

use std::fmt;
use std::ops::Range;

/// One thing that is wrong, and where.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Problem {
    /// The file, or the command line option, that it stands in.
    pub origin: String,
    /// Line, and column in characters, both from 1; absent for an option.
    pub place: Option<(usize, usize)>,
    /// What is wrong.
    pub message: String,
    /// What to do about it, where that is not obvious.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Problem {
            origin,
            place,
            message,
            hint,
        } = self;
        match place {
            Some((line, column)) => write!(f, "{origin}:{line}:{column}: {message}")?,
            None => write!(f, "{origin}: {message}")?,
        }
        match hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong with a configuration, in the order in which it stands in the files.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(f, "the configuration has a problem")?,
            n => write!(f, "the configuration has {n} problems")?,
        }
        for problem in &self.0 {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

/// Line and column, both from 1, of the byte at `span.start` of `source`.
pub(crate) fn place(source: &str, span: &Range<usize>) -> (usize, usize) {
    let before = source.get(..span.start).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before
        .get(line_start..)
        .map_or(0, |line| line.chars().count())
        + 1;
    (line, column)
}

/// The one of `known` that `word` was probably meant to be.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    // A third of the word may be wrong, and at least one letter.
    let tolerance = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| {
            let distance =
                strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, _)| *distance <= tolerance)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let source = "a = 1\nbé = 2\n";
        let at = source.find('2').unwrap();
        assert_eq!(place(source, &(at..at + 1)), (2, 6));
        assert_eq!(place(source, &(0..1)), (1, 1));
    }

    #[test]
    fn nearest_is_near() {
        let known = ["partitions", "workers", "format"];
        assert_eq!(nearest("partitons", known), Some("partitions"));
        assert_eq!(nearest("Workers", known), Some("workers"));
        assert_eq!(nearest("colour", known), None);
    }
}
