//! Answer to a question about a port, with what decides it.

use super::packet::Doubt;
use super::way::{Stop, Trip};
use crate::firewall::reach::{ReachAnswer, ReachVerdict};

/// Answer with what decides it.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// The answer.
    pub(super) answer: ReachAnswer,
    /// Cause of the answer, as a clause.
    pub(super) why: String,
    /// Only the source decides.
    pub(super) by_source: bool,
    /// All that is missing is a program that listens.
    pub(super) unheard: bool,
    /// Where others stop the packet.
    pub(super) stop: Option<Stop>,
}

impl Judged {
    pub(super) fn new(answer: ReachAnswer, why: impl Into<String>) -> Self {
        Self { answer, why: why.into(), by_source: false, unheard: false, stop: None }
    }

    /// The worse of two; of a doubt for the source and one for what is not read, the latter.
    pub(super) fn worse(self, other: Self) -> Self {
        let rank = |judged: &Self| (judged.answer, !judged.by_source, !judged.unheard);
        if rank(&other) > rank(&self) { other } else { self }
    }

    pub(super) fn verdict(self) -> ReachVerdict {
        ReachVerdict { answer: self.answer, why: self.why, by_source: self.by_source }
    }
}

/// Judges whether a packet gets through to the end of its way.
pub(super) fn judge_trip(trip: &Trip) -> Judged {
    let Trip { courses, stops } = trip;
    if let Some(stop) = stops.iter().find(|stop| stop.taken_by.is_some()) {
        return unread_stop(stop);
    }
    let Some(stop) = stops.iter().min_by_key(|stop| stop.doubt.is_some()) else {
        return Judged::new(ReachAnswer::Yes, "no other rule stops it");
    };
    let drops = format!("the {} drops it", stop.by);
    if courses.is_empty() {
        return Judged { stop: Some(stop.clone()), ..Judged::new(ReachAnswer::No, drops) };
    }
    let doubts = courses.iter().filter_map(|course| course.doubt.as_ref());
    let doubts: Vec<_> = doubts.chain(stops.iter().filter_map(|s| s.doubt.as_ref())).collect();
    let Some(gravest) = doubts.iter().max_by_key(|doubted| doubted.doubt) else {
        return Judged { stop: Some(stop.clone()), ..Judged::new(ReachAnswer::Undecided, drops) };
    };
    let by_source = gravest.doubt == Doubt::Source;
    let whose = if by_source { "by the source" } else { "by what cannot be read" };
    let why = format!("{drops} or not, {whose}: the {} asks `{}`", gravest.rule, gravest.what);
    Judged { by_source, stop: Some(stop.clone()), ..Judged::new(ReachAnswer::Undecided, why) }
}

pub(super) fn unread_stop(stop: &Stop) -> Judged {
    let to = stop.taken_by.as_deref().unwrap_or("somebody");
    let why = format!("the {} hands it to {to}, and what follows cannot be read", stop.by);
    Judged { stop: Some(stop.clone()), ..Judged::new(ReachAnswer::Undecided, why) }
}
