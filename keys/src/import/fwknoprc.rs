//! .fwknoprc: each named stanza is a host of the client.

use std::collections::BTreeMap;
use std::fmt::Write;

use toml_edit::Value;

use super::draft::{format_seconds, toml_array};
use super::lines::{self, Item, Line};
use super::ports;
use super::report::{ImportError, PeerFile, RemarkWeight, Remarks, SourceLine};

const KEYS_NOT_COPIED: &str =
    "keys are never copied: make one with `spa keygen`, and have it enrolled";
const NO_GNUPG: &str = "no GnuPG here: your key is made with `spa keygen`";
const FROM_LINE: &str = "it comes with the server's enrolment line";
const NO_RESOLVING: &str =
    "nobody is asked for your address: the server sees it, and an ack tells it";
const NAT_IS_FORWARD: &str =
    "the server decides where a service leads, see hook = \"forward\" there";

/// Stanza of .fwknoprc.
#[derive(Clone, Debug, Default)]
struct HostStanza {
    server: Option<String>,
    services: Vec<String>,
    ttl: Option<u32>,
    v4_only: bool,
}

/// Writes the hosts for the client's config.toml.
pub(super) fn read_file(input: &PeerFile, remarks: &mut Remarks) -> Result<String, ImportError> {
    let mut default = HostStanza::default();
    let mut hosts: BTreeMap<String, HostStanza> = BTreeMap::new();
    // Directives before any section belong to [default], which the others inherit whether they
    // stand above or below it.
    let mut lines_of: Vec<(Option<(SourceLine, String)>, Line<'_>)> = Vec::new();
    let mut section: Option<(SourceLine, String)> = None;
    for item in lines::parse_fwknop(input, true, remarks)? {
        match item {
            Item::Section(_, "default") => section = None,
            Item::Section(place, name) => {
                section = Some((place, name.to_owned()));
            }
            Item::Line(line) => lines_of.push((section.clone(), line)),
        }
    }
    for (_, line) in lines_of.iter().filter(|(section, _)| section.is_none()) {
        read_directive(line, &mut default, remarks)?;
    }
    for (section, line) in &lines_of {
        let Some((place, name)) = section else { continue };
        let name = check_name(name).unwrap_or_else(|| {
            let fallback = format!("host-{}", place.line);
            remarks.warn(
                place,
                format!("`{name}` is not a name for a host here: {fallback} takes its place"),
            );
            fallback
        });
        read_directive(line, hosts.entry(name).or_insert_with(|| default.clone()), remarks)?;
    }
    if hosts.is_empty() && default.server.is_some() {
        hosts.insert(
            default
                .server
                .clone()
                .and_then(|name| check_name(&name))
                .unwrap_or("default".to_owned()),
            default,
        );
    }
    Ok(write_hosts(input, &hosts))
}

fn write_hosts(input: &PeerFile, hosts: &BTreeMap<String, HostStanza>) -> String {
    let mut text = format!(
        "# Made by spa import from {}. A host is enrolled by its own line, not by this file:\n# \
         spa keygen, then spa host add LINE --name NAME.\n",
        crate::text::printable(&input.name)
    );
    for (name, host) in hosts {
        let _ = write!(text, "\n[host.{}]\n", Value::from(name.as_str()));
        if let Some(server) = host.server.as_ref().filter(|server| *server != name) {
            let _ = writeln!(text, "addresses = {}", toml_array(std::slice::from_ref(server)));
        }
        if host.v4_only {
            text.push_str("family = \"4\"\n");
        }
        if !host.services.is_empty() {
            let ttl =
                host.ttl.map(|ttl| format!(" --ttl {}", format_seconds(ttl))).unwrap_or_default();
            let _ = writeln!(
                text,
                "# instead of fwknop -n: spa-client open {}@{name}{ttl}",
                host.services.join(",")
            );
        }
    }
    text
}

fn read_directive(
    line: &Line<'_>,
    host: &mut HostStanza,
    remarks: &mut Remarks,
) -> Result<(), ImportError> {
    let name = line.name.as_str();
    let mut say = |weight: RemarkWeight, text: &str| {
        remarks.push(&line.place, weight, &format!("{name}: {text}"))
    };
    match name {
        "SPA_SERVER" => {
            let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
            if !line.value.chars().all(fine) || line.value.starts_with('-') {
                return Err(line.make_error(
                    "the value is neither the name nor the address of a \
                    host",
                ));
            }
            host.server = Some(line.value.to_owned());
        }
        "ACCESS" => {
            let list = ports::parse_list(line.value).map_err(|word| {
                line.make_error(&format!(
                    "`{}` is not a port: write tcp/22 or udp/53",
                    crate::text::printable(word)
                ))
            })?;
            host.services = list
                .iter()
                .filter_map(|ports| ports::usual_name(std::slice::from_ref(ports)))
                .collect();
            let text = format!(
                "the server names its services: {} is meant, if it has the same names",
                host.services.join(", ")
            );
            say(RemarkWeight::Note, &text);
        }
        "FW_TIMEOUT" => host.ttl = Some(line.parse_number()?).filter(|seconds| *seconds > 0),
        "SERVER_RESOLVE_IPV4" => host.v4_only = line.is_yes(),
        "ALLOW_IP" => match line.value {
            "source" => say(RemarkWeight::Note, "the address that the knock comes from, as here"),
            "resolve" => say(RemarkWeight::Note, NO_RESOLVING),
            _ => say(
                RemarkWeight::Warning,
                "a grant is for the address that the knock comes from; for another one the server \
                 must allow third-party",
            ),
        },
        "KEY"
        | "KEY_BASE64"
        | "HMAC_KEY"
        | "HMAC_KEY_BASE64"
        | "KEY_FILE"
        | "HMAC_KEY_FILE"
        | "KEY_RIJNDAEL"
        | "KEY_RIJNDAEL_BASE64" => say(RemarkWeight::Warning, KEYS_NOT_COPIED),
        "USE_HMAC" | "HMAC_DIGEST_TYPE" | "DIGEST_TYPE" | "ENCRYPTION_MODE" => {
            say(RemarkWeight::Note, "nothing to choose: every knock is sealed and signed");
        }
        "SPA_SERVER_PORT" => say(RemarkWeight::Note, FROM_LINE),
        "SPA_SERVER_PROTO" if line.value.eq_ignore_ascii_case("udp") => {
            say(RemarkWeight::Note, "as here")
        }
        "SPA_SERVER_PROTO" => say(RemarkWeight::Warning, "knocks are UDP packets only"),
        "RESOLVE_IP_HTTPS"
        | "RESOLVE_IP_HTTP"
        | "RESOLVE_HTTP_ONLY"
        | "RESOLVE_URL"
        | "WGET_CMD"
        | "HTTP_USER_AGENT"
        | "USE_WGET_USER_AGENT" => say(RemarkWeight::Note, NO_RESOLVING),
        "USE_GPG" | "USE_GPG_AGENT" | "GPG_NO_SIGNING_PW" | "NAT_LOCAL" | "NAT_RAND_PORT"
        | "RAND_PORT" | "NO_SAVE_ARGS"
            if !line.is_yes() =>
        {
            say(RemarkWeight::Note, "off, as here");
        }
        "NO_SAVE_ARGS" => say(RemarkWeight::Note, "arguments are never saved"),
        "RAND_PORT" => say(
            RemarkWeight::Note,
            "see hop in the server's [sequence]; which ports are right comes with the enrolment \
             line",
        ),
        "NAT_ACCESS" | "NAT_LOCAL" | "NAT_PORT" | "NAT_RAND_PORT" => {
            say(RemarkWeight::Lost, NAT_IS_FORWARD)
        }
        "SPOOF_USER" => say(
            RemarkWeight::Warning,
            "a client is known by its key and not by a name that it says",
        ),
        "SPOOF_SOURCE_IP" => {
            say(RemarkWeight::Warning, "the source address of a knock is never forged")
        }
        "SPA_SOURCE_PORT" => say(RemarkWeight::Warning, "the source port is the kernel's choice"),
        "TIME_OFFSET" => say(
            RemarkWeight::Warning,
            "the clock is taken as it is; set it with: timedatectl set-ntp true",
        ),
        "VERBOSE" => say(RemarkWeight::Note, "see spa-client open -v"),
        _ if name.starts_with("GPG_") || name.starts_with("USE_GPG") => {
            say(RemarkWeight::Warning, NO_GNUPG)
        }
        _ => say(RemarkWeight::Lost, "not known, left out"),
    }
    Ok(())
}

/// Returns a stanza's name, if a host may have it.
fn check_name(name: &str) -> Option<String> {
    crate::check_host_name(name).is_ok().then(|| name.to_owned())
}
