//! The demo's data: the CDNOW orders that ship with the project, and browsing made up around them.
//!
//! The orders are real (Fader and Hardie; from the package `lifetimes` 0.11.3). The browsing is
//! simulated and marked as such in every id and channel.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::event::Event;
use domain::time::{DAY_MS, TimeMs};
use source::RowReader;
use traffic::DemoBrowsing;
use wire::InputRules;
use wire::mapping::Mapping;

use crate::error::RuntimeError;
use crate::load::Item;
use crate::workers::wall_clock;

/// The orders, packed.
const ORDERS: &[u8] = include_bytes!("../../../data/cdnow/CDNOW_master.txt.zst");
/// How they are read.
const MAPPING: &str = include_str!("../../../mappings/cdnow.toml");

/// What the demo plays.
pub struct Demo {
    orders: Vec<Event>,
    rejected: Vec<Item>,
}

impl Demo {
    /// Reads the orders from `data`, which is of CDNOW's format, or those that ship. The shipped
    /// file is unpacked from the program into `folder` first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(
        data: Option<&Path>,
        folder: &Path,
        rules: &InputRules,
    ) -> Result<Demo, RuntimeError> {
        let path: PathBuf = match data {
            Some(path) => path.to_owned(),
            None => {
                let path = folder.join("CDNOW_master.txt.zst");
                std::fs::File::create(&path)?.write_all(ORDERS)?;
                path
            }
        };
        let mapping = Mapping::parse("cdnow.toml", MAPPING).map_err(RuntimeError::Mapping)?;
        let rules = mapping.rules_override(rules);
        let mut demo = Demo {
            orders: Vec::new(),
            rejected: Vec::new(),
        };
        let mut reader = RowReader::open(&path, &mapping)?;
        while let Some(row) = reader.next() {
            let row = row?;
            for outcome in reader.apply(&row, &mapping, wall_clock(), &rules) {
                match outcome {
                    Ok(mapped) => demo.orders.push(mapped.event),
                    Err(rejection) => demo.rejected.push(Item::Rejected {
                        file: reader.name().to_owned(),
                        row: row.row,
                        raw: row.raw.clone(),
                        rejection,
                    }),
                }
            }
        }
        demo.orders
            .sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        Ok(demo)
    }

    /// The end of the last day with an order.
    #[must_use]
    pub fn end(&self) -> TimeMs {
        self.orders
            .last()
            .map_or(TimeMs(0), |e| e.time.day().start().plus(DAY_MS - 1))
    }

    /// Orders and browsing in time order, after what could not be read. `seed` decides the browsing.
    pub fn items(self, seed: u64) -> impl Iterator<Item = Result<Item, RuntimeError>> {
        let orders_topic: Arc<str> = Arc::from("orders");
        let browsing_topic: Arc<str> = Arc::from("clickstream");
        let mut browsing = DemoBrowsing::new(self.orders.clone().into_iter(), seed).peekable();
        let mut orders = self.orders.into_iter().peekable();
        let merged = std::iter::from_fn(move || {
            let browsing_first = match (browsing.peek(), orders.peek()) {
                (Some(b), Some(o)) => b.time <= o.time,
                (b, _) => b.is_some(),
            };
            if browsing_first {
                let event = browsing.next()?;
                Some(Item::Event(Arc::clone(&browsing_topic), Box::new(event)))
            } else {
                let event = orders.next()?;
                Some(Item::Event(Arc::clone(&orders_topic), Box::new(event)))
            }
        });
        self.rejected.into_iter().chain(merged).map(Ok)
    }
}
