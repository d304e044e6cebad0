//! Models of customer value around the stream: customers' histories wherever they come from, and fits
//! to them.
//!
//! Formulas and searches are the crate `clv`'s. What is done with a model in the stream is the engine's.

mod books;
mod fits;
mod holdout;

pub use books::Books;
pub use fits::Fits;
pub use holdout::{Customer, Predicted, customers, predicted_by};
