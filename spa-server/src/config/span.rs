//! Places in a text.

use std::ops::Range;

/// Bytes of the source text, as the TOML parser counts them.
pub type Span = Range<usize>;

/// The place of a section that was not written.
pub(crate) const NO_SPAN: Span = 0..0;

/// A value and where it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Place in the text.
    pub span: Span,
}
