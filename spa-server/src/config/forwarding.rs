//! Reading the keys of `[[service]]` that say at which hook its packets are met, and what becomes of
//! its flows: `hook`, `to` and `established`.

use super::findings::Report;
use super::section::Section;
use super::span::Span;
use crate::firewall::{Established, PacketHook, Target};

/// Values that were read, and their places.
#[derive(Clone, Debug)]
pub(super) struct GateRead {
    pub(super) way: PacketHook,
    pub(super) to: Option<Target>,
    pub(super) established: Established,
    pub(super) way_span: Span,
    pub(super) to_span: Span,
    pub(super) established_span: Span,
}

/// Reads `hook`, `to` and `established`.
pub(super) fn read_forwarding(s: &mut Section<'_>, report: &mut Report<'_>) -> GateRead {
    let way = s.read_choice(
        report,
        "hook",
        &[("input", PacketHook::Input), ("forward", PacketHook::Forward)],
    );
    let to = s.text(report, "to", "\"10.0.0.5:22\"", str::parse::<Target>);
    let established = s.read_choice(
        report,
        "established",
        &[("keep", Established::Keep), ("drop", Established::Drop)],
    );
    let (way_span, to_span) = (s.span_of("hook"), s.span_of("to"));
    let way = way.map(|l| l.value);
    if to.is_some() && way != Some(PacketHook::Forward) {
        report.error(
            &to_span,
            "`to` sends packets on to an inner host: write hook = \"forward\" beside it",
        );
    }
    GateRead {
        way: if to.is_some() { PacketHook::Forward } else { way.unwrap_or_default() },
        to: to.map(|l| l.value),
        established: established.map(|l| l.value).unwrap_or_default(),
        way_span: if s.has("hook") { way_span } else { to_span.clone() },
        to_span,
        established_span: s.span_of("established"),
    }
}
