//! Reading `[sequence]`, `[[service]]` and `[[bait]]`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeValue;

use spa_keys::{ServiceName, duration};
use spa_proto::{HopPlan, service_id};

use super::enforcers;
use super::findings::{Report, ValueError};
use super::forwarding::{self, ForwardingRead};
use super::hooks;
use super::host::read_duration;
use super::model::{SequenceSettings, Service, Stages};
use super::parsers::{merge_ranges, ports_left};
use super::section::{Section, number};
use super::span::{Located, Span};
use super::surroundings::HookCheck;
use crate::domain::grant::Scope;
use crate::domain::ports::{PortRange, ProtoPorts, merge_ports};
use crate::firewall::{Bait, PacketHook};

const SHORTEST_TIME: Duration = Duration::from_secs(1);
const MOST_STAGES: u32 = 8;
const DEFAULT_STAGES: u32 = 3;
/// Each single port is two elements of the kernel's sets, and a grant is one transaction.
const MOST_PORTS: usize = 1024;
/// Most ranges of a service: a grant with them is one message between our processes.
const MOST_RANGES: usize = 256;
const DEFAULT_TTL: Duration = Duration::from_secs(30 * 60);
const DEFAULT_MAX_TTL: Duration = Duration::from_secs(8 * 3600);
/// The packet and the ack carry the time in 16 bits, in seconds.
pub(super) const LONGEST_TTL: Duration = Duration::from_secs(u16::MAX as u64);
/// The longest ban: a year.
pub(crate) const LONGEST_BAN: Duration = Duration::from_secs(366 * 86_400);

/// `[sequence]` and the place of its ports.
pub(super) struct SequenceRead {
    /// Values of the section.
    pub(super) sequence: SequenceSettings,
    /// Place of `ports`, or else of `hop`.
    pub(super) ports_span: Span,
}

/// Reads `[sequence]`.
pub(super) fn read_sequence(mut section: Section<'_>, report: &mut Report<'_>) -> SequenceRead {
    let s = &mut section;
    let ports_span = if s.has("ports") { s.span_of("ports") } else { s.span_of("hop") };
    let stages = read_stages(s, report);
    let previous = read_previous_ports(s, report, &stages);
    s.note_double(report, "hop-exclude");
    let timeout = read_duration(
        s,
        report,
        "timeout",
        Duration::from_secs(30),
        SHORTEST_TIME,
        Duration::from_secs(600),
    );
    let reorder = read_duration(
        s,
        report,
        "reorder",
        Duration::from_millis(200),
        Duration::ZERO,
        Duration::from_secs(5),
    );
    if reorder > timeout {
        report.warning(
            &s.span_of("reorder"),
            "`reorder` is longer than `timeout`, which ends the session before: shorten it",
        );
    }
    section.finish(report);
    SequenceRead { sequence: SequenceSettings { stages, previous, timeout, reorder }, ports_span }
}

/// Reads where the stages are: `ports`, or else `hop`, `stages` and `hop-exclude`.
pub(super) fn read_stages(s: &mut Section<'_>, report: &mut Report<'_>) -> Stages {
    let ports =
        s.read_items(report, "ports", "[888, 555, 222]", |v| number(v, "ports", &(1..=65_535)));
    let hop = s.text(report, "hop", "\"20000-29999\"", str::parse::<PortRange>);
    let count = s.number(report, "stages", 1..=MOST_STAGES);
    let exclude =
        s.read_items(report, "hop-exclude", "[\"20100-20199\", \"25000\"]", |v| match v {
            DeValue::String(text) => {
                text.parse::<PortRange>().map_err(|e| ValueError::from(e.to_string()))
            }
            other => number(other, "hop-exclude", &(1..=65_535))
                .map(|port| PortRange::one(port_number(port))),
        });
    match (s.has("ports"), s.has("hop")) {
        (true, true) => report.error(
            &s.span_of("hop"),
            "the stages go either to fixed `ports` or `hop`: remove one of the two",
        ),
        (false, false) => {
            let header = if s.is_present() { "" } else { "[sequence] with " };
            report.error(
                &s.span,
                format!(
                    "no knock ports: write {header}ports = [888, 555, 222] or hop = \"20000-29999\""
                ),
            );
        }
        (true, false) => {
            for key in ["stages", "hop-exclude"].into_iter().filter(|key| s.has(key)) {
                report.error(
                    &s.span_of(key),
                    format!("`{key}` belongs to `hop`; with fixed `ports` remove it"),
                );
            }
        }
        (false, true) => {}
    }
    match (ports, hop) {
        (_, Some(range)) => check_hop_stages(report, &range, count, exclude),
        (Some(ports), None) => Stages::Fixed(check_fixed_stages(report, &ports)),
        (None, None) => Stages::Fixed(Vec::new()),
    }
}

/// Reads the ports of the stages before, while clients may still come there.
fn read_previous_ports(s: &mut Section<'_>, report: &mut Report<'_>, stages: &Stages) -> Vec<u16> {
    let ports = s.read_items(report, "previous-ports", "[888, 555, 222]", |v| {
        number(v, "previous-ports", &(1..=65_535))
    });
    let Some(ports) = ports else { return Vec::new() };
    let previous = check_fixed_stages(report, &ports);
    if previous.len() != usize::from(stages.count()) && stages.count() > 0 {
        report.error(
            &ports.span,
            format!(
                "{} ports, and the sequence has {} stages: both must have as many; when their \
                 number changes, invite the clients anew",
                previous.len(),
                stages.count()
            ),
        );
    }
    if *stages == Stages::Fixed(previous.clone()) {
        report.warning(&ports.span, "`previous-ports` are the same as `ports`: take the line out");
    }
    previous
}

fn check_fixed_stages(report: &mut Report<'_>, ports: &Located<Vec<Located<u32>>>) -> Vec<u16> {
    if ports.value.is_empty() || ports.value.len() > MOST_STAGES as usize {
        report.error(
            &ports.span,
            format!("{} stages: write 1 to {MOST_STAGES} ports", ports.value.len()),
        );
    }
    let mut seen = BTreeSet::new();
    for port in &ports.value {
        if !seen.insert(port.value) {
            report.error(
                &port.span,
                format!("port {} is there twice: every stage needs a port of its own", port.value),
            );
        }
    }
    ports.value.iter().map(|port| port_number(port.value)).collect()
}

fn check_hop_stages(
    report: &mut Report<'_>,
    range: &Located<PortRange>,
    count: Option<Located<u32>>,
    exclude: Option<Located<Vec<Located<PortRange>>>>,
) -> Stages {
    let count = count.map_or(DEFAULT_STAGES, |l| l.value);
    let mut excluded = Vec::new();
    for e in exclude.map(|l| l.value).unwrap_or_default() {
        if !e.value.overlaps(range.value) {
            report.warning(
                &e.span,
                format!("{} lies outside hop = \"{}\" and excludes nothing", e.value, range.value),
            );
        }
        excluded.push(e.value);
    }
    let left = ports_left(range.value, &excluded);
    let count = u8::try_from(count).unwrap_or(u8::MAX);
    let excluded = merge_ports(excluded);
    let without = excluded.iter().map(|e| (e.first, e.last)).collect();
    // The rules of who hops: what passes here runs.
    if let Err(error) = HopPlan::new(range.value.first, range.value.last, count, without) {
        report.error(&range.span, error.to_string());
    } else if left < 1000 {
        report.warning(
            &range.span,
            format!(
                "{left} ports are few to hop between: an observer \
            finds them all soon; 1000 or more hide better"
            ),
        );
    }
    Stages::Hop { range: range.value, count, exclude: excluded }
}

/// A `[[service]]` and the places that later checks point at.
pub(super) struct ServiceRead {
    /// Service as read, also when there are findings about it.
    pub(super) service: Service,
    /// Place of `name`.
    pub(super) name_span: Span,
    /// Place of `ports`.
    pub(super) ports_span: Span,
    /// Values and places of `hook`, `to` and `established`.
    pub(super) forwarding: ForwardingRead,
    /// `enforcers`, each with its place.
    pub(super) enforcers: Vec<Located<Arc<str>>>,
}

/// Reads a `[[service]]`; `check_hook` looks at its programs.
pub(super) fn read_service(
    mut section: Section<'_>,
    report: &mut Report<'_>,
    check_hook: HookCheck<'_>,
) -> ServiceRead {
    let s = &mut section;
    s.require(report, "name", "\"ssh\"");
    let name = s.text(report, "name", "\"ssh\"", ServiceName::new);
    s.require(report, "ports", "[\"tcp/22\"] or \"all\"");
    let (ports, scope) = if s.is_text("ports") {
        s.read_choice(report, "ports", &[("all", ())]);
        (Vec::new(), Scope::All)
    } else {
        let list =
            s.read_texts(report, "ports", "[\"tcp/22\"] or \"all\"", str::parse::<ProtoPorts>);
        s.note_double(report, "ports");
        if s.is_empty_array("ports") {
            report.error(
                &s.span_of("ports"),
                "the service has no ports: write ports = [\"tcp/22\"] or \"all\"",
            );
        }
        service_ports(report, list)
    };
    let (name_span, ports_span) = (s.span_of("name"), s.span_of("ports"));
    let ttl = read_duration(s, report, "ttl", DEFAULT_TTL, SHORTEST_TIME, LONGEST_TTL);
    let max_ttl =
        read_duration(s, report, "max-ttl", DEFAULT_MAX_TTL.max(ttl), SHORTEST_TIME, LONGEST_TTL);
    if ttl > max_ttl {
        let (ttl, max_ttl) = (duration::format(ttl), duration::format(max_ttl));
        report.error(
            &s.span_of("ttl"),
            format!(
                "ttl = \"{ttl}\" is longer than max-ttl = \"{max_ttl}\": shorten it or raise \
                max-ttl"
            ),
        );
    }
    whole_seconds(report, s, ttl, max_ttl);
    let forwarding = forwarding::read_forwarding(s, report);
    let on_open = hooks::read_hook(s, report, "on-open", check_hook);
    let on_close = hooks::read_hook(s, report, "on-close", check_hook);
    let enforcers = enforcers::read_names(s, report);
    let scope = match scope {
        Scope::Ports(ports) if forwarding.packet_hook == PacketHook::Forward => {
            Scope::Inside(ports)
        }
        scope => scope,
    };
    section.finish(report);
    let name: Arc<str> = name.map_or_else(|| "".into(), |l| l.value.into());
    let id = service_id(&name);
    let ForwardingRead { packet_hook, to, established, .. } = forwarding;
    let service = Service {
        name,
        id,
        ports,
        scope,
        ttl,
        max_ttl,
        packet_hook,
        to,
        established,
        on_open,
        on_close,
        enforcers: enforcers.iter().map(|l| Arc::clone(&l.value)).collect(),
    };
    ServiceRead { service, name_span, ports_span, forwarding, enforcers }
}

fn service_ports(
    report: &mut Report<'_>,
    list: Option<Located<Vec<Located<ProtoPorts>>>>,
) -> (Vec<ProtoPorts>, Scope) {
    let Some(list) = list else { return (Vec::new(), Scope::Ports([].into())) };
    let written: Vec<ProtoPorts> = list.value.iter().map(|l| l.value).collect();
    let ports = merge_ranges(written.iter().copied());
    let single = ports_in(&ports);
    let double = ports_in(&written) - single;
    if double > 0 {
        report.note(&list.span, format!("{double} of these ports are there twice"));
    }
    if single > MOST_PORTS || ports.len() > MOST_RANGES {
        report.error(
            &list.span,
            format!(
                "{single} ports in {} ranges; a service takes at most {MOST_PORTS} in \
                 {MOST_RANGES}: split it, or write ports = \"all\"",
                ports.len()
            ),
        );
    }
    let scope = Scope::Ports(ports.clone().into());
    (ports, scope)
}

fn ports_in(ranges: &[ProtoPorts]) -> usize {
    ranges.iter().map(|p| usize::from(p.range.last - p.range.first) + 1).sum()
}

/// The wire counts seconds.
pub(super) fn whole_seconds(
    report: &mut Report<'_>,
    s: &Section<'_>,
    ttl: Duration,
    max_ttl: Duration,
) {
    for (key, time) in [("ttl", ttl), ("max-ttl", max_ttl)] {
        if time.subsec_nanos() != 0 {
            report.error(&s.span_of(key), format!("`{key}` is counted in whole seconds"));
        }
    }
}

/// A `[[bait]]` and the places that later checks point at.
pub(super) struct BaitRead {
    /// Bait as read, also when there are findings about it.
    pub(super) bait: Bait,
    /// Place of `name`.
    pub(super) name_span: Span,
    /// Ports as written, each with its place.
    pub(super) ports: Vec<Located<ProtoPorts>>,
}

/// Reads a `[[bait]]`.
pub(super) fn read_bait(mut section: Section<'_>, report: &mut Report<'_>) -> BaitRead {
    let s = &mut section;
    s.require(report, "name", "\"scanners\"");
    let name = s.text(report, "name", "\"scanners\"", ServiceName::new);
    s.require(report, "ports", "[\"tcp/23\", \"tcp/10000-60000\"]");
    let ports = s.read_texts(
        report,
        "ports",
        "[\"tcp/23\", \"tcp/10000-60000\"]",
        str::parse::<ProtoPorts>,
    );
    s.note_double(report, "ports");
    s.note_double(report, "unless");
    if s.is_empty_array("ports") {
        report.error(
            &s.span_of("ports"),
            "the bait has no ports: write ports = [\"tcp/23\"], or remove it",
        );
    }
    s.require(report, "ban", "\"1m\"");
    let ban = read_duration(s, report, "ban", Duration::from_secs(60), SHORTEST_TIME, LONGEST_BAN);
    let unless = s.read_texts(report, "unless", "[\"secured\", \"sequence\"]", |word| match word {
        "secured" => Ok(true),
        "sequence" => Ok(false),
        other => Err(format!(
            "`{}` is not an exception of a bait: write \"secured\" or \"sequence\"",
            other.escape_debug()
        )),
    });
    let name_span = s.span_of("name");
    section.finish(report);
    let unless: Vec<bool> = super::host::into_values(unless);
    let ports = ports.map(|l| l.value).unwrap_or_default();
    let bait = Bait {
        name: name.map_or_else(String::new, |l| l.value.into()),
        ports: merge_ranges(ports.iter().map(|l| l.value)),
        ban,
        unless_secured: unless.contains(&true),
        unless_in_sequence: unless.contains(&false),
    };
    BaitRead { bait, name_span, ports }
}

fn port_number(port: u32) -> u16 {
    u16::try_from(port).unwrap_or(u16::MAX)
}
