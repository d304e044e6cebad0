//! `clvstream tail`.

use std::str::FromStr;

use clap::Args;

/// `clvstream tail`
#[derive(Args, Debug)]
#[command(after_long_help = "\
TOPIC is an output topic (clv.updates, lifecycle.transitions, segment.changes, dlq), an input topic, or an
internal one; the application's prefix may be left out. `clvstream topics` lists them.

Examples:
  clvstream tail clv.updates
  clvstream tail segment.changes --from beginning --limit 5 --json
  clvstream tail dlq --from beginning --json | jq -r '.headers.dlq_class' | sort | uniq -c
  clvstream tail orders --partition 2 --from 1500")]
pub struct TailArgs {
    /// The topic
    #[arg(value_name = "TOPIC")]
    pub topic: String,

    /// Where to begin in each partition: `beginning`, an offset, or -N for the last N records
    #[arg(
        long,
        value_name = "WHERE",
        default_value = "-10",
        allow_hyphen_values = true
    )]
    pub from: From,

    /// Only this partition
    #[arg(long, short, value_name = "NUMBER")]
    pub partition: Option<u32>,

    /// Stop after this many records
    #[arg(long, short = 'n', value_name = "RECORDS")]
    pub limit: Option<u64>,

    /// Wait for more records, until interrupted
    #[arg(long, short)]
    pub follow: bool,

    /// Print one JSON object a record
    #[arg(long)]
    pub json: bool,
}

/// Where to begin in each partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum From {
    /// At this offset, or at the first one that is kept.
    Offset(u64),
    /// That many records before the end.
    Last(u64),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<From, String> {
        let wrong =
            || "write `beginning`, an offset such as 1500, or -10 for the last ten".to_owned();
        if text == "beginning" {
            return Ok(From::Offset(0));
        }
        match text.strip_prefix('-') {
            Some(last) => last.parse().map(From::Last).map_err(|_| wrong()),
            None => text.parse().map(From::Offset).map_err(|_| wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_to_begin() {
        assert_eq!("beginning".parse(), Ok(From::Offset(0)));
        assert_eq!("1500".parse(), Ok(From::Offset(1500)));
        assert_eq!("-10".parse(), Ok(From::Last(10)));
        for text in ["", "-", "end", "--1", "1.5"] {
            assert!(text.parse::<From>().is_err(), "{text}");
        }
    }
}
