//! Models of customer value around the stream: customers' histories wherever they come from, fits to
//! them, and the topic in which models are written down.
//!
//! Formulas and searches are the crate `clv`'s. What is done with a model in the stream is the engine's.

mod archive;
mod books;
mod document;
mod fits;
mod histories;
mod holdout;
mod learn;
mod reading;
pub(crate) mod refit;
mod tables;
mod verdict;

pub use archive::{Archive, Scribe};
pub use books::Books;
pub use document::{
    Asked, Document, Holdout, Learned, OfVersion, OrderParameters, Parameter, Part, Scored, Scores,
    SpendParameters, Window,
};
pub use fits::Fits;
pub use histories::Histories;
pub use holdout::{Customer, Predicted, customers, predicted_by};
pub use learn::{Recipe, hold_out, learn};
pub use refit::days;
pub use tables::Tables;
pub use verdict::{Compared, Verdict};
