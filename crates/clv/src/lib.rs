//! Models of customer value: when a customer orders next, how often, for how much, and whether he
//! still does.
//!
//! A pure crate: no clock, no IO, no randomness, no allocation per score. The same input gives the same
//! bytes on every platform, since elementary functions are `libm`'s. Times are `f64` in the unit of the
//! parameters (days in the stream, weeks in the literature), amounts `f64` in the unit of the spend
//! model; statistics that are kept and merged (`domain::purchases`, [`histogram`]) are whole numbers.
//!
//! Formulas, sources and decisions: docs/models.md.

pub mod beta_geometric;
pub mod evaluate;
pub mod fit;
pub mod gamma_gamma;
pub mod histogram;
pub mod history;
pub mod model;
pub mod pareto;
pub mod scorer;
pub mod simulate;
pub mod special;
pub mod tracking;
pub mod value;
