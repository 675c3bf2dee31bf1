//! A server's configuration while it is made, and its text.

use std::fmt::Write;
use std::time::Duration;

use toml_edit::Value;

use super::ports::{self, Ports};
use super::report::{Peer, PeerFile, Remarks, SourceLine};
use crate::text::{duration, printable};

/// Most single ports of a service, as in `[[service]] ports`.
const MAX_SERVICE_PORTS: usize = 256;
/// Longest grant in seconds: the wire counts it in 16 bits.
pub(super) const MAX_TTL_SECONDS: u32 = 65_535;
/// fwknop's SPA port, `DEF_FWKNOP_PORT` of its common.h.
const FWKNOP_PORT: u16 = 62_201;

/// Ports that a service opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opens {
    All,
    Ports(Vec<Ports>),
}

/// Service of the draft.
#[derive(Clone, Debug)]
pub(super) struct DraftService {
    /// Name, one that a service may have.
    pub(super) name: String,
    /// Ports that a grant opens.
    pub(super) opens: Opens,
    /// Seconds.
    pub(super) ttl: u32,
    /// Longest time that a client gets, in seconds.
    pub(super) max_ttl: u32,
}

/// Facts that a `[[client]]` needs beside its key.
#[derive(Clone, Debug)]
pub(super) struct DraftClient {
    /// Line at which the stanza begins.
    pub(super) place: SourceLine,
    /// Name for the client, made from the stanza where it has none.
    pub(super) name: String,
    /// Arguments of `spa-server client add` behind name and key.
    pub(super) arguments: Vec<String>,
}

/// Server's configuration while it is made.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// A server's file was among the inputs.
    pub(super) touched: bool,
    /// Value of `[capture] mode`, where it is not the default.
    pub(super) capture: Option<&'static str>,
    /// Interfaces to capture at; empty: all.
    pub(super) interfaces: Vec<String>,
    /// UDP ports of the stages, in their order.
    pub(super) ports: Vec<u16>,
    /// `first-last`, instead of `ports`.
    pub(super) hop: Option<(u16, u16)>,
    /// Seconds.
    pub(super) timeout: Option<u32>,
    /// Greatest age of a knock, in seconds.
    pub(super) window_past: Option<u32>,
    /// Services, in the order of the peer's file.
    pub(super) services: Vec<DraftService>,
    /// Clients, in the order of the peer's file.
    pub(super) clients: Vec<DraftClient>,
    /// Hooks in the place of commands, each with the line of its command.
    hooks: Vec<(SourceLine, String)>,
}

impl Draft {
    /// Adds a service and returns its name. One that opens the same exists once, with the longest
    /// times that were asked for. `None`, with a remark, when ours cannot open it.
    pub(super) fn add_service(
        &mut self,
        wanted: DraftService,
        place: &SourceLine,
        remarks: &mut Remarks,
    ) -> Option<String> {
        let count = |list: &[Ports]| list.iter().map(Ports::count).sum::<usize>();
        let name = match &wanted.opens {
            Opens::Ports(list) if count(list) > MAX_SERVICE_PORTS => {
                remarks.lose(
                    place,
                    format!(
                        "more than {MAX_SERVICE_PORTS} ports, which no service takes: left out; \
                         write services by hand"
                    ),
                );
                return None;
            }
            Opens::Ports(list) => ports::usual_name(list),
            Opens::All => {
                remarks.lose(
                    place,
                    "it opens every port, and ports = \"all\" hides none in mode = \"guard\": name \
                     the ports that it is for, or write [firewall] mode = \"standalone\", which \
                     drops all that is not granted",
                );
                None
            }
        };
        let name = name.unwrap_or_else(|| ports::service_name(&wanted.name));
        if let Some(old) = self.services.iter_mut().find(|old| old.opens == wanted.opens) {
            old.ttl = old.ttl.max(wanted.ttl);
            old.max_ttl = old.max_ttl.max(wanted.max_ttl);
            return Some(old.name.clone());
        }
        let taken = |name: &str| {
            let id = spa_proto::service_id(name);
            self.services.iter().any(|other| spa_proto::service_id(&other.name) == id)
        };
        let mut unique = name.clone();
        for n in 2.. {
            if !taken(&unique) {
                break;
            }
            unique = format!("{name}-{n}");
        }
        self.services.push(DraftService { name: unique.clone(), ..wanted });
        Some(unique)
    }

    /// Notes a hook in the place of a command that opens no port.
    pub(super) fn propose_hook(&mut self, place: &SourceLine, command: &str) {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=@%+,".contains(c);
        let words: Vec<&str> = command.split_whitespace().collect();
        let known = words
            .iter()
            .all(|word| word.chars().all(plain) && !word.replace("%IP%", "").contains('%'));
        let run: Vec<String> = if known && command.starts_with('/') {
            words.iter().map(|word| word.replace("%IP%", "{source}")).collect()
        } else {
            ["/usr/local/bin/a-script-with-that-command", "{source}"].map(str::to_owned).to_vec()
        };
        let run = toml_array(&run);
        self.hooks.push((place.clone(), format!("{{ run = {run}, user = \"nobody\" }}")));
    }

    /// Writes the configuration's text.
    pub(super) fn write_config(
        mut self,
        peer: Peer,
        inputs: &[PeerFile],
        remarks: &mut Remarks,
    ) -> String {
        self.free_knock_ports(inputs, remarks);
        let from: Vec<String> =
            inputs.iter().map(|input| printable(&input.name).to_string()).collect();
        let mut text = format!(
            "# Made by spa import from {}.\n# Read it, then: spa-server check --offline FILE. Keys \
             were not copied: spa-server init makes the server's.\n\n",
            from.join(", ")
        );
        text.push_str(
            "[server]\n# Where clients knock, for their enrolment lines:\n# hosts = \
             [\"gate.example.org\"]\n",
        );
        if let Some(seconds) = self.window_past {
            let _ = writeln!(text, "window-past = \"{}\"", format_seconds(seconds));
        }
        if self.capture.is_some() || !self.interfaces.is_empty() {
            text.push_str("\n[capture]\n");
            if let Some(mode) = self.capture {
                let _ = writeln!(text, "mode = {}", Value::from(mode));
            }
            if !self.interfaces.is_empty() {
                let _ = writeln!(text, "interfaces = {}", toml_array(&self.interfaces));
            }
        }
        text.push_str("\n[sequence]\n");
        match (self.hop, self.ports.as_slice(), peer) {
            (Some((first, last)), ..) => {
                let _ = writeln!(text, "hop = \"{first}-{last}\"\nstages = 1");
            }
            (None, [], Peer::Fwknop) => {
                let _ = writeln!(text, "ports = [{FWKNOP_PORT}]");
            }
            (None, [], Peer::Knockd) => text.push_str("hop = \"20000-29999\"\n"),
            (None, ports, _) => {
                let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
                let _ = writeln!(text, "ports = [{}]", ports.join(", "));
            }
        }
        if let Some(seconds) = self.timeout {
            let _ = writeln!(text, "timeout = \"{}\"", format_seconds(seconds));
        }
        for service in &self.services {
            let ports = match &service.opens {
                Opens::All => "\"all\"".to_owned(),
                Opens::Ports(ports) => {
                    toml_array(&ports.iter().map(Ports::to_string).collect::<Vec<_>>())
                }
            };
            let _ = write!(
                text,
                "\n[[service]]\nname = {}\nports = {ports}\nttl = \"{}\"\nmax-ttl = \"{}\"\n",
                Value::from(service.name.as_str()),
                format_seconds(service.ttl),
                format_seconds(service.max_ttl)
            );
        }
        if !self.hooks.is_empty() {
            text.push_str(
                "\n# Not taken over. A hook of a service runs a program for a knock, never as \
                 root:\n",
            );
            for (place, hook) in &self.hooks {
                let _ = writeln!(text, "# {place}\n#   on-open = {hook}");
            }
        }
        if !self.clients.is_empty() {
            text.push_str(
                "\n# One command for each client, with the public key that `spa keygen` \
                prints there in place of PUBLIC:\n",
            );
            for client in &self.clients {
                let arguments = client.arguments.join(" ");
                let _ = writeln!(
                    text,
                    "# {}\n#   spa-server client add {} PUBLIC {arguments}",
                    client.place, client.name
                );
            }
        }
        text
    }

    /// Removes knock ports that a service has too: knocks would never arrive there.
    fn free_knock_ports(&mut self, inputs: &[PeerFile], remarks: &mut Remarks) {
        let services = &self.services;
        let served = |port: u16| {
            let mut all = services.iter().filter_map(|service| match &service.opens {
                Opens::Ports(list) => Some(list),
                Opens::All => None,
            });
            all.any(|list| list.iter().any(|p| p.udp && (p.first..=p.last).contains(&port)))
        };
        let before = self.ports.len();
        self.ports.retain(|port| !served(*port));
        if let (true, Some(input)) = (self.ports.len() < before, inputs.first()) {
            let place = SourceLine { file: input.name.clone(), line: 1 };
            remarks.warn(
                &place,
                "a knock port is the UDP port of a service too, where knocks \
                would never arrive: left out of the sequence",
            );
        }
    }
}

/// Writes a TOML array of texts.
pub(super) fn toml_array(texts: &[String]) -> String {
    let quoted: Vec<String> =
        texts.iter().map(|text| Value::from(text.as_str()).to_string()).collect();
    format!("[{}]", quoted.join(", "))
}

/// Writes seconds as the configuration does.
pub(super) fn format_seconds(seconds: u32) -> String {
    duration::format(Duration::from_secs(seconds.into()))
}

/// Checks the name of an interface as the kernel takes one, at most 15 bytes.
pub(super) fn check_interface(text: &str) -> Option<&str> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "/:\"\\*,".contains(c);
    (!text.is_empty() && text.len() <= 15 && !text.contains(odd) && text != "." && text != "..")
        .then_some(text)
}
