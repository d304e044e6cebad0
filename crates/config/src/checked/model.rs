//! `[model]`

use std::time::Duration;

use domain::prediction::Family;

use super::{DAY, HOUR, within_time};
use crate::reader::Reader;
use crate::setting::{Auto, Off, OneOf, Or, Wrong};
use crate::types::{Model, Promote};

/// Longer than any data.
const LONGEST: Duration = Duration::from_secs(36_525 * 86_400);

pub(super) fn read_model(reader: &mut Reader<'_>) -> Model {
    let mut section = reader.section(
        "model",
        "Fitting models of customer value to the deployment's customers: [models.md](models.md#from-a-running-deployment).",
    );
    let OneOf(family) = section.get(
        "family",
        OneOf(Family::MbgNbd),
        "Which model of orders is saved.",
    );
    let Or(refit, _) = section.checked(
        "refit",
        Or::<Duration, Off>::word(),
        "How often a model is fitted by itself, counted from when the last one was saved. Whoever owns task 0 does it, beside its other work; while it fits it needs some hundred bytes of memory a customer, and as much of the disk again as the state of all tasks takes.",
        |every: &Or<Duration, Off>| match &every.0 {
            Some(every) => within_time(HOUR, LONGEST)(every),
            None => Ok(()),
        },
    );
    let Or(holdout, _) = section.checked(
        "holdout",
        Or::<Duration, Auto>::word(),
        "How much of the end is held out to see how well a model predicts, in whole days; `\"auto\"` is 91 days, or a quarter of the data if that is less.",
        |holdout: &Or<Duration, Auto>| match &holdout.0 {
            Some(time) => {
                within_time(DAY, LONGEST)(time)?;
                match time.as_secs() % DAY.as_secs() {
                    0 if time.subsec_nanos() == 0 => Ok(()),
                    _ => Err(Wrong::new("a holdout is a number of whole days").hint("write \"91d\"")),
                }
            }
            None => Ok(()),
        },
    );
    let OneOf(promote) = section.get(
        "promote",
        OneOf(Promote::NotWorse),
        "Which models that were fitted by themselves are put into force: those that predict no worse on the holdout than the one in force, or none.",
    );
    Model {
        family,
        refit,
        holdout,
        promote,
    }
}
