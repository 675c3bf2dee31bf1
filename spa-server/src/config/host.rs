//! Reading `[log]`, `[capture]`, `[firewall]` and `[ban]`.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::findings::{Report, ValueError};
use super::model::{
    Backend, BanSettings, CaptureMode, CaptureSettings, FirewallSettings, Log, Protect,
};
use super::parsers;
use super::section::Section;
use super::span::{Located, Span};
use crate::firewall::{Hide, Mode};
use crate::log::{Format, Level};
use spa_keys::duration;

const BAN_LIMIT: u32 = 65_536;

/// Reads `[log]`.
pub(super) fn read_log(mut section: Section<'_>, report: &mut Report<'_>) -> Log {
    let formats =
        [("logfmt", Format::Logfmt), ("json", Format::Json), ("journald", Format::Journald)];
    let levels = [
        ("error", Level::Error),
        ("warn", Level::Warn),
        ("info", Level::Info),
        ("debug", Level::Debug),
    ];
    let format =
        section.read_choice(report, "format", &formats).map(|l| l.value).unwrap_or_default();
    let level = section.read_choice(report, "level", &levels).map(|l| l.value).unwrap_or_default();
    section.finish(report);
    Log { format, level }
}

/// Reads `[capture]`.
pub(super) fn read_capture(mut section: Section<'_>, report: &mut Report<'_>) -> CaptureSettings {
    let modes =
        [("ring", CaptureMode::Ring), ("nflog", CaptureMode::Nflog), ("udp", CaptureMode::Udp)];
    let mode = section.read_choice(report, "mode", &modes).map(|l| l.value).unwrap_or_default();
    let interfaces = into_values(section.read_texts(
        report,
        "interfaces",
        "[\"wan0\"]",
        parsers::parse_interface,
    ));
    section.note_double(report, "interfaces");
    if mode == CaptureMode::Udp && !interfaces.is_empty() {
        report.error(
            &section.span_of("interfaces"),
            "capture mode \"udp\" listens on all interfaces: leave the interfaces out, or write \
             mode = \"ring\"",
        );
    }
    section.finish(report);
    CaptureSettings { mode, interfaces }
}

/// `[firewall]` and the places that later checks point at.
pub(super) struct FirewallRead {
    /// Values of the section.
    pub(super) firewall: FirewallSettings,
    /// Place of `mode`.
    pub(super) mode_span: Span,
    /// Place of `hide`.
    pub(super) hide_span: Span,
}

/// Reads `[firewall]`.
pub(super) fn read_firewall(mut section: Section<'_>, report: &mut Report<'_>) -> FirewallRead {
    let backend = section.read_choice(
        report,
        "backend",
        &[("nftables", Backend::Nftables), ("observe", Backend::Observe)],
    );
    let mode = section.read_choice(
        report,
        "mode",
        &[("guard", Mode::Guard), ("standalone", Mode::Standalone)],
    );
    let hides = [("auto", None), ("drop", Some(Hide::Drop)), ("closed", Some(Hide::Closed))];
    let hide = section.read_choice(report, "hide", &hides);
    let interfaces = into_values(section.read_texts(
        report,
        "interfaces",
        "[\"wan0\"]",
        parsers::parse_interface,
    ));
    section.note_double(report, "interfaces");
    let protect = [("always", Protect::Always), ("after-first-grant", Protect::AfterFirstGrant)];
    let protect = section.read_choice(report, "protect", &protect);
    if let (Some(protect), Some(mode)) = (&protect, &mode)
        && (protect.value, mode.value) == (Protect::AfterFirstGrant, Mode::Standalone)
    {
        report.error(
            &protect.span,
            "mode = \"standalone\" drops whatever is not granted, also what nobody has opened yet: \
             begin with mode = \"guard\", or write protect = \"always\"",
        );
    }
    let (mode_span, hide_span) = (section.span_of("mode"), section.span_of("hide"));
    section.finish(report);
    let firewall = FirewallSettings {
        backend: backend.map(|l| l.value).unwrap_or_default(),
        mode: mode.map(|l| l.value).unwrap_or_default(),
        hide: hide.and_then(|l| l.value),
        protect: protect.map(|l| l.value).unwrap_or_default(),
        interfaces,
    };
    FirewallRead { firewall, mode_span, hide_span }
}

/// Reads `[ban]`.
pub(super) fn read_ban(mut section: Section<'_>, report: &mut Report<'_>) -> BanSettings {
    let never = section.read_texts(report, "never", "[\"192.0.2.0/24\"]", parsers::parse_network);
    section.note_double(report, "never");
    let mut networks: Vec<IpNet> = Vec::new();
    for network in never.map(|l| l.value).unwrap_or_default() {
        if network.value.prefix_len() == 0 {
            report.warning(
                &network.span,
                format!("`{}` is every address: nobody is ever banned", network.value),
            );
        }
        networks.push(truncate_network(report, &network));
    }
    let limit = section.number(report, "limit", 1..=16_777_216).map_or(BAN_LIMIT, |l| l.value);
    section.finish(report);
    BanSettings { never: networks, limit }
}

/// A network without the bits behind its prefix; a finding if there were some.
pub(super) fn truncate_network(report: &mut Report<'_>, network: &Located<IpNet>) -> IpNet {
    let whole = network.value.trunc();
    if whole != network.value {
        let one = network.value.addr();
        report.warning(
            &network.span,
            format!(
                "`{}` means the network `{whole}`; for the one address write `{one}`",
                network.value
            ),
        );
    }
    whole
}

/// A time within bounds.
pub(super) fn read_duration(
    s: &mut Section<'_>,
    report: &mut Report<'_>,
    key: &'static str,
    default: Duration,
    least: Duration,
    most: Duration,
) -> Duration {
    let example = format!("\"{}\"", duration::format(default));
    s.text(report, key, &example, |text| {
        let time = duration::parse(text).map_err(|e| e.to_string())?;
        if (least..=most).contains(&time) {
            Ok(time)
        } else {
            Err(format!(
                "`{key}` cannot be {text}: write a time from {} to {}",
                duration::format(least),
                duration::format(most)
            ))
        }
    })
    .map_or(default, |l| l.value)
}

/// Drops the places of a list; empty when the key was not written.
pub(super) fn into_values<T>(list: Option<Located<Vec<Located<T>>>>) -> Vec<T> {
    list.map(|l| l.value).unwrap_or_default().into_iter().map(|l| l.value).collect()
}

/// Checks that a path is absolute: the listener, broker and commands run in different folders.
pub(super) fn parse_absolute_path(text: &str) -> Result<PathBuf, ValueError> {
    if text.starts_with('/') && !text.contains(char::is_control) {
        Ok(text.into())
    } else if text.starts_with('/') {
        Err(format!("`{}` has a control character: no path here has", text.escape_debug()).into())
    } else {
        Err(format!("`{}` is not an absolute path: start it with `/`", text.escape_debug()).into())
    }
}
