//! A rule as the script will say it.

/// Table of a RouterOS firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// `filter`.
    Filter,
    /// `nat`.
    Nat,
}

/// A rule: properties behind `add`, and the words of its comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RouterRule {
    /// Table that it belongs to.
    pub(super) table: Table,
    /// A base chain, in which it must come before every other rule; else a chain of our own.
    pub(super) first: bool,
    /// `chain=… action=…`.
    pub(super) properties: String,
    /// Words of the comment, without a quotation mark.
    pub(super) note: String,
}
