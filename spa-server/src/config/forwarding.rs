//! Reading the keys of `[[service]]` about the hook at which its packets are filtered and about the
//! end of its flows: `hook`, `to` and `established`.

use super::findings::Report;
use super::section::Section;
use super::span::Span;
use crate::firewall::{Established, PacketHook, Target};

/// Values that were read, and their places.
#[derive(Clone, Debug)]
pub(super) struct ForwardingRead {
    /// `hook`; `forward` also when there is only `to`.
    pub(super) packet_hook: PacketHook,
    /// `to`, an inner host.
    pub(super) to: Option<Target>,
    /// `established`, `keep` unless it is written.
    pub(super) established: Established,
    /// Place of `hook`, or of `to` when there is no `hook`.
    pub(super) hook_span: Span,
    /// Place of `to`.
    pub(super) to_span: Span,
    /// Place of `established`.
    pub(super) established_span: Span,
}

/// Reads `hook`, `to` and `established`.
pub(super) fn read_forwarding(s: &mut Section<'_>, report: &mut Report<'_>) -> ForwardingRead {
    let packet_hook = s.read_choice(
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
    let (hook_span, to_span) = (s.span_of("hook"), s.span_of("to"));
    let packet_hook = packet_hook.map(|l| l.value);
    if to.is_some() && packet_hook != Some(PacketHook::Forward) {
        report.error(
            &to_span,
            "`to` sends packets on to an inner host: write hook = \"forward\" beside it",
        );
    }
    ForwardingRead {
        packet_hook: if to.is_some() {
            PacketHook::Forward
        } else {
            packet_hook.unwrap_or_default()
        },
        to: to.map(|l| l.value),
        established: established.map(|l| l.value).unwrap_or_default(),
        hook_span: if s.has("hook") { hook_span } else { to_span.clone() },
        to_span,
        established_span: s.span_of("established"),
    }
}
