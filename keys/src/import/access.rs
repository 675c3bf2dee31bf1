//! access.conf: each stanza, which begins with SOURCE, is a client and the services that it may
//! open.

use std::net::IpAddr;

use super::draft::{Draft, DraftClient, DraftService, MAX_TTL_SECONDS, Opens, format_seconds};
use super::lines::{self, Item, Line};
use super::ports::{self, Ports};
use super::report::{ImportError, PeerFile, RemarkWeight, Remarks, SourceLine};
use crate::text::ClientName;

/// `DEF_FW_ACCESS_TIMEOUT` of fwknop's server/fwknopd_common.h, in seconds.
const DEFAULT_TTL: u32 = 30;
/// `DEF_MAX_FW_TIMEOUT`, in seconds.
const DEFAULT_MAX_TTL: u32 = 300;

const KEYS_NOT_COPIED: &str = "keys are never copied: make one on each client with `spa keygen`, \
    and enrol it with the command at the end of the result";
const NO_GNUPG: &str = "no GnuPG here: every client has a key of its own, made with `spa keygen`";
const NO_COMMANDS: &str = "no commands are run in the place of a knock; a hook runs a program when \
    a grant begins or ends, see on-open and on-close in [[service]]";
const NAT_IS_FORWARD: &str = "a client is sent to an inner host by its service here: write \
    [[service]] with hook = \"forward\" and to = \"ADDRESS:PORT\" by hand";

/// A stanza being read.
struct Stanza {
    place: SourceLine,
    from: Vec<String>,
    open: Vec<Ports>,
    restrict: Vec<Ports>,
    ttl: Option<u32>,
    max_ttl: Option<u32>,
    user: Option<String>,
    expires: Option<String>,
}

/// Reads access.conf into the draft.
pub(super) fn read_file(
    input: &PeerFile,
    draft: &mut Draft,
    remarks: &mut Remarks,
) -> Result<(), ImportError> {
    draft.touched = true;
    let mut stanza: Option<Stanza> = None;
    for item in lines::parse_fwknop(input, false, remarks)? {
        let Item::Line(line) = item else { continue };
        match (line.name.as_str(), &mut stanza) {
            ("SOURCE", _) => {
                if let Some(before) = stanza.take() {
                    add_client(before, draft, remarks);
                }
                let from = parse_networks(&line)?;
                stanza = Some(Stanza {
                    place: line.place,
                    from,
                    open: Vec::new(),
                    restrict: Vec::new(),
                    ttl: None,
                    max_ttl: None,
                    user: None,
                    expires: None,
                });
            }
            ("%INCLUDE" | "%INCLUDE_FOLDER", _) => remarks.lose(
                &line.place,
                format!("{}: other files are not followed: name them as arguments too", line.name),
            ),
            (_, Some(stanza)) => read_directive(&line, stanza, remarks)?,
            (_, None) => {
                return Err(line.make_error("before the first SOURCE, which begins a stanza"));
            }
        }
    }
    if let Some(last) = stanza {
        add_client(last, draft, remarks);
    }
    Ok(())
}

fn read_directive(
    line: &Line<'_>,
    stanza: &mut Stanza,
    remarks: &mut Remarks,
) -> Result<(), ImportError> {
    let name = line.name.as_str();
    let lost = matches!(
        name,
        "DESTINATION"
            | "ENABLE_CMD_EXEC"
            | "ENABLE_CMD_SUDO_EXEC"
            | "CMD_CYCLE_OPEN"
            | "CMD_CYCLE_CLOSE"
            | "FORCE_NAT"
            | "FORWARD_ALL"
            | "FORCE_SNAT"
            | "FORCE_MASQUERADE"
    );
    let mut warn = |text: &str| {
        let weight = if lost { RemarkWeight::Lost } else { RemarkWeight::Warning };
        remarks.push(&line.place, weight, &format!("{name}: {text}"));
    };
    match name {
        "OPEN_PORTS" => stanza.open = parse_ports(line)?,
        "RESTRICT_PORTS" => stanza.restrict = parse_ports(line)?,
        "FW_ACCESS_TIMEOUT" => stanza.ttl = parse_seconds(line, &mut warn)?,
        "MAX_FW_TIMEOUT" => stanza.max_ttl = parse_seconds(line, &mut warn)?,
        "REQUIRE_USERNAME" => {
            stanza.user = make_client_name(line.value);
            warn(
                "a client is known by its key and not by what it says; the name is taken for the \
                client's",
            );
        }
        "ACCESS_EXPIRE" => stanza.expires = Some(parse_day(line)?),
        "ACCESS_EXPIRE_EPOCH" => {
            let moment = jiff::Timestamp::from_second(line.parse_number()?.into());
            stanza.expires = Some(moment.map_err(|_| line.make_error("no moment"))?.to_string());
        }
        "KEY" | "KEY_BASE64" | "HMAC_KEY" | "HMAC_KEY_BASE64" | "%INCLUDE_KEYS" => {
            warn(KEYS_NOT_COPIED)
        }
        "HMAC_DIGEST_TYPE" | "ENCRYPTION_MODE" => {
            remarks.note(
                &line.place,
                format!(
                    "{name}: nothing to choose: one suite, see \
                docs/protocol.md"
                ),
            );
        }
        "REQUIRE_SOURCE_ADDRESS" | "REQUIRE_SOURCE" if line.is_yes() => remarks.note(
            &line.place,
            format!(
                "{name}: a client that has a public address binds its knock to it by itself \
                (bind-src)"
            ),
        ),
        "DESTINATION" if line.value.eq_ignore_ascii_case("any") => {
            remarks.note(&line.place, "DESTINATION: any address of this host, as here");
        }
        "DESTINATION" => warn("a client may knock at every address of this host"),
        "GPG_DECRYPT_ID"
        | "GPG_DECRYPT_PW"
        | "GPG_HOME_DIR"
        | "GPG_EXE"
        | "GPG_REMOTE_ID"
        | "GPG_FINGERPRINT_ID"
        | "GPG_REQUIRE_SIG"
        | "GPG_DISABLE_SIG"
        | "GPG_IGNORE_SIG_VERIFY_ERROR"
        | "GPG_ALLOW_NO_PW" => warn(NO_GNUPG),
        "ENABLE_CMD_EXEC"
        | "ENABLE_CMD_SUDO_EXEC"
        | "FORWARD_ALL"
        | "DISABLE_DNAT"
        | "FORCE_MASQUERADE"
        | "REQUIRE_SOURCE_ADDRESS"
        | "REQUIRE_SOURCE"
            if !line.is_yes() =>
        {
            remarks.note(&line.place, format!("{name}: off, as here"));
        }
        "ENABLE_CMD_EXEC"
        | "ENABLE_CMD_SUDO_EXEC"
        | "CMD_EXEC_USER"
        | "CMD_EXEC_GROUP"
        | "CMD_SUDO_EXEC_USER"
        | "CMD_SUDO_EXEC_GROUP"
        | "SUDO_EXE"
        | "CMD_CYCLE_OPEN"
        | "CMD_CYCLE_CLOSE"
        | "CMD_CYCLE_TIMER" => {
            warn(NO_COMMANDS);
        }
        "FORCE_NAT" | "FORWARD_ALL" | "DISABLE_DNAT" => warn(NAT_IS_FORWARD),
        "FORCE_SNAT" | "FORCE_MASQUERADE" => warn(
            "no source NAT; write that rule into your own \
         firewall",
        ),
        _ => remarks.lose(&line.place, format!("{name}: not known, left out")),
    }
    Ok(())
}

fn add_client(stanza: Stanza, draft: &mut Draft, remarks: &mut Remarks) {
    let Stanza { place, from, mut open, restrict, ttl, max_ttl, user, expires } = stanza;
    let (asked, max_ttl) = (ttl.unwrap_or(DEFAULT_TTL), max_ttl.unwrap_or(DEFAULT_MAX_TTL));
    let ttl = asked.min(max_ttl);
    if ttl < asked {
        remarks.warn(
            &place,
            format!(
                "FW_ACCESS_TIMEOUT is longer than MAX_FW_TIMEOUT ({DEFAULT_MAX_TTL} \
            seconds when it is not there), and fwknopd grants the shorter one: ttl = \
            \"{}\"",
                format_seconds(ttl)
            ),
        );
    }
    let overlap = |a: &Ports, b: &Ports| a.udp == b.udp && a.first <= b.last && b.first <= a.last;
    let before = open.len();
    open.retain(|own| !restrict.iter().any(|no| overlap(own, no)));
    if open.len() < before {
        remarks.warn(
            &place,
            "RESTRICT_PORTS forbids a part of OPEN_PORTS: what both name is left out",
        );
    } else if !restrict.is_empty() {
        remarks.note(&place, "RESTRICT_PORTS: what is no service is never opened");
    }
    if before == 0 {
        open.push(Ports { udp: false, first: 22, last: 22 });
        remarks.lose(
            &place,
            "the stanza has no OPEN_PORTS, so fwknopd opens whatever port a \
            client asks for; here every service has a name: ssh (tcp/22) stands in its place, add \
            the others",
        );
    }
    let mut arguments = Vec::new();
    for ports in open {
        let name = ports.to_string();
        let service = DraftService { name, opens: Opens::Ports(vec![ports]), ttl, max_ttl };
        if let Some(name) = draft.add_service(service, &place, remarks) {
            arguments.push(format!("--service {name}"));
        }
    }
    arguments.extend(from.iter().map(|net| format!("--from {net}")));
    arguments.push(format!("--ttl {} --max-ttl {}", format_seconds(ttl), format_seconds(max_ttl)));
    arguments.extend(expires.map(|expires| format!("--expires {expires}")));
    let number = draft.clients.len() + 1;
    let mut name = user.unwrap_or_else(|| format!("client-{number}"));
    if draft.clients.iter().any(|client| client.name == name) {
        name = format!("{name}-{number}");
    }
    draft.clients.push(DraftClient { place, name, arguments });
}

/// Reads SOURCE's networks; none: from everywhere.
fn parse_networks(line: &Line<'_>) -> Result<Vec<String>, ImportError> {
    let mut nets = Vec::new();
    let mut anywhere = false;
    for word in line.value.split([',', ' ', '\t']).filter(|word| !word.is_empty()) {
        if word.eq_ignore_ascii_case("any") {
            anywhere = true;
            continue;
        }
        // To leave one out could mean from everywhere; fwknopd refuses it too.
        let wrong = || {
            line.make_error(&format!(
                "`{}` is not a network, as 192.168.10.0/24",
                crate::text::printable(word)
            ))
        };
        nets.push(parse_network(word).ok_or_else(wrong)?);
    }
    Ok(if anywhere { Vec::new() } else { nets })
}

/// Reads an address, or one with `/24` or `/255.255.255.0`.
fn parse_network(word: &str) -> Option<String> {
    let (address, bits) = word.split_once('/').map_or((word, None), |(a, b)| (a, Some(b)));
    let address: IpAddr = address.parse().ok()?;
    let most: u32 = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        None => return Some(address.to_string()),
        Some(mask) if mask.contains('.') => {
            let mask = u32::from(mask.parse::<std::net::Ipv4Addr>().ok()?);
            (mask.leading_ones() + mask.trailing_zeros() == 32 || mask == 0)
                .then(|| mask.leading_ones())?
        }
        Some(bits) => bits.parse().ok()?,
    };
    (bits <= most).then(|| format!("{address}/{bits}"))
}

fn parse_ports(line: &Line<'_>) -> Result<Vec<Ports>, ImportError> {
    ports::parse_list(line.value).map_err(|word| {
        line.make_error(&format!(
            "`{}` is not a port: write tcp/22 or udp/53",
            crate::text::printable(word)
        ))
    })
}

/// `None` for 0: then fwknopd takes its default.
fn parse_seconds(line: &Line<'_>, warn: &mut dyn FnMut(&str)) -> Result<Option<u32>, ImportError> {
    let seconds = line.parse_number()?;
    if seconds > MAX_TTL_SECONDS {
        warn("65535 seconds (18 hours) at most here: shortened");
    }
    Ok((seconds > 0).then_some(seconds.min(MAX_TTL_SECONDS)))
}

/// `MM/DD/YYYY`, which fwknop takes for the first moment of that day (mktime): the last day is the
/// one before.
fn parse_day(line: &Line<'_>) -> Result<String, ImportError> {
    let wrong = || line.make_error("the value is not a day: MM/DD/YYYY");
    let mut parts = line.value.splitn(3, '/').map(|part| part.trim().parse::<i16>().ok());
    let (Some(Some(month)), Some(Some(day)), Some(Some(year))) =
        (parts.next(), parts.next(), parts.next())
    else {
        return Err(wrong());
    };
    let year = if year < 100 { year + 2000 } else { year };
    let narrow = |number: i16| i8::try_from(number).map_err(|_| wrong());
    let first = jiff::civil::Date::new(year, narrow(month)?, narrow(day)?).map_err(|_| wrong())?;
    Ok(first.yesterday().map_err(|_| wrong())?.to_string())
}

/// Turns a user's name into a client's, see [`crate::ClientName`].
fn make_client_name(text: &str) -> Option<String> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    let name: String = text.chars().map(|c| if fine(c) { c } else { '-' }).take(48).collect();
    let name = name.trim_start_matches(['-', '.', '@']).trim_end_matches('-');
    ClientName::new(name).ok().map(String::from)
}
