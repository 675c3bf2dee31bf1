//! Analysis of our own sources: metrics, and the arrows between modules.
//!
//! Only product code counts. Items under `#[cfg(test)]` and the files of modules declared so are
//! removed after parsing; `tests/`, `benches/` and `examples/` are never read.

pub mod arrows;
pub mod figures;
pub mod functions;
pub mod layers;
pub mod lists;
pub mod source;
pub mod text;

pub use source::{PACKAGES, Package, SourceFile};
