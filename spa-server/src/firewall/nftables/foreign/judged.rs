//! Answer to a question about a port, with what decides it.

use super::way::Stop;
use crate::firewall::reach::{Answer, Verdict};

/// Answer with what decides it.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// The answer.
    pub(super) answer: Answer,
    /// What decides it, as a clause.
    pub(super) why: String,
    /// Only the source decides.
    pub(super) by_source: bool,
    /// All that is missing is a program that listens.
    pub(super) unheard: bool,
    /// Where others stop the packet.
    pub(super) stop: Option<Stop>,
}

impl Judged {
    pub(super) fn new(answer: Answer, why: impl Into<String>) -> Self {
        Self { answer, why: why.into(), by_source: false, unheard: false, stop: None }
    }

    /// The worse of two; of a doubt for the source and one for what is not read, the latter.
    pub(super) fn worse(self, other: Self) -> Self {
        let rank = |judged: &Self| (judged.answer, !judged.by_source, !judged.unheard);
        if rank(&other) > rank(&self) { other } else { self }
    }

    pub(super) fn verdict(self) -> Verdict {
        Verdict { answer: self.answer, why: self.why, by_source: self.by_source }
    }
}
