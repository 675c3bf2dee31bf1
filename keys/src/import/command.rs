//! Effect of a command of knockd.conf on the firewall, where it is one of the usual ones. The
//! command is never run.

use super::draft::Opens;
use super::ports::{self, Ports};

/// Effect of a command on the firewall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It lets the knocker in; and what of the command is lost.
    Opens(Opens, Vec<&'static str>),
    /// It takes such a rule away.
    Closes,
    /// It does neither, or more than that; the reason.
    Unknown(&'static str),
}

/// Finds the effect of a command.
pub(super) fn find_effect(command: &str) -> Effect {
    if command.contains(['|', ';', '&', '`', '$', '<', '>']) {
        return Effect::Unknown("more than one command, or the shell's signs in it");
    }
    let words: Vec<&str> =
        command.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
    let mut words = words.as_slice();
    if let [first, rest @ ..] = words
        && first.rsplit('/').next() == Some("sudo")
    {
        words = rest;
    }
    let [program, arguments @ ..] = words else { return Effect::Unknown("an empty command") };
    match program.rsplit('/').next().unwrap_or_default() {
        "iptables" | "ip6tables" | "iptables-nft" | "ip6tables-nft" | "iptables-legacy"
        | "ip6tables-legacy" => parse_iptables(arguments),
        "knock_add" | "knock_helper_ipt.sh" => parse_helper(arguments),
        "ufw" => parse_ufw(arguments),
        "firewall-cmd" => parse_firewalld(arguments),
        "nft" => parse_nft(arguments),
        _ => Effect::Unknown(
            "not one of the commands that are understood (iptables, ip6tables, ufw, firewall-cmd, \
             nft, knock_add)",
        ),
    }
}

/// Rule while its words are read.
#[derive(Default)]
struct Rule<'a> {
    opens: bool,
    closes: bool,
    from_knocker: bool,
    protocol: Option<&'a str>,
    ports: Option<&'a str>,
    chain: Option<&'a str>,
    target: Option<&'a str>,
    lost: Vec<&'static str>,
}

impl Rule<'_> {
    fn into_effect(self, range: char) -> Effect {
        if self.closes {
            return Effect::Closes;
        }
        if !self.opens {
            return Effect::Unknown("it adds no rule");
        }
        if !self.from_knocker {
            return Effect::Unknown(
                "the rule is not for %IP% alone, so it would open to everybody",
            );
        }
        let udp = match self.protocol.map(str::to_ascii_lowercase).as_deref() {
            None | Some("all") if self.ports.is_none() => {
                return Effect::Opens(Opens::All, self.lost);
            }
            Some("tcp" | "6") => false,
            Some("udp" | "17") => true,
            _ => return Effect::Unknown("its protocol is neither tcp nor udp"),
        };
        let Some(words) = self.ports else {
            let mut lost = self.lost;
            lost.push("the rule opens every port of one protocol; ports = \"all\" opens both");
            return Effect::Opens(Opens::All, lost);
        };
        let ports: Option<Vec<Ports>> =
            words.split(',').map(|word| Ports::parse_named(udp, word, range)).collect();
        match ports {
            Some(ports) => Effect::Opens(Opens::Ports(ports), self.lost),
            None => Effect::Unknown(
                "its ports are neither numbers nor names that this host knows: write the \
                     numbers",
            ),
        }
    }
}

/// Reads the arguments of iptables.
fn parse_iptables(arguments: &[&str]) -> Effect {
    let mut rule = Rule::default();
    let mut rest = arguments.iter().copied();
    while let Some(word) = rest.next() {
        match word {
            "-A" | "--append" | "-I" | "--insert" => (rule.opens, rule.chain) = (true, rest.next()),
            "-D" | "--delete" => (rule.closes, rule.chain) = (true, rest.next()),
            "-t" | "--table" if rest.next() != Some("filter") => {
                return Effect::Unknown(
                    "a rule of another table than filter; for NAT see hook = \"forward\"",
                );
            }
            "-t" | "--table" | "-w" | "--wait" | "--syn" => {}
            "-s" | "--source" | "--src" => {
                rule.from_knocker = matches!(rest.next(), Some("%IP%" | "%IP%/32" | "%IP%/128"));
            }
            "-p" | "--protocol" | "--proto" => rule.protocol = rest.next(),
            "--dport" | "--destination-port" | "--dports" | "--destination-ports" => {
                rule.ports = rest.next()
            }
            "-j" | "--jump" => rule.target = rest.next(),
            "-m" | "--match" => match rest.next() {
                Some("tcp" | "udp" | "multiport" | "comment" | "state" | "conntrack") => {}
                _ => return Effect::Unknown("a match that has no equivalent"),
            },
            "--comment" | "--state" | "--ctstate" => {
                rest.next();
            }
            "-i" | "--in-interface" => {
                rest.next();
                rule.lost.push("-i: a grant is for all interfaces, see interfaces in [firewall]");
            }
            "-d" | "--destination" | "--dst" => {
                rest.next();
                rule.lost.push("-d: a grant is for all addresses of this host");
            }
            // The number of a rule behind -I.
            number if rule.opens && number.parse::<u32>().is_ok() => {}
            _ => return Effect::Unknown("an unknown option of iptables"),
        }
    }
    match (rule.closes, rule.chain, rule.target) {
        (true, ..) => Effect::Closes,
        (_, Some("INPUT"), Some("ACCEPT")) => rule.into_effect(':'),
        (_, Some("FORWARD"), _) => {
            Effect::Unknown("a rule for a host behind this one: see hook = \"forward\"")
        }
        (_, Some("INPUT"), _) => Effect::Unknown("a rule that does not accept"),
        (_, Some(_), Some("ACCEPT")) => {
            rule.lost.push("a chain of its own: taken as one for packets to this host");
            rule.into_effect(':')
        }
        _ => Effect::Unknown("no rule that lets anybody in"),
    }
}

/// knockd's helper script (src/knock_helper_ipt.sh).
fn parse_helper(arguments: &[&str]) -> Effect {
    let mut rule = Rule { protocol: Some("tcp"), ..Rule::default() };
    let mut rest = arguments.iter().copied();
    while let Some(word) = rest.next() {
        match word {
            "-a" | "--append" | "-i" | "--insert" => rule.opens = true,
            "-x" | "--delete" => rule.closes = true,
            "-f" | "--srcaddr" => rule.from_knocker = rest.next() == Some("%IP%"),
            "-d" | "--dstport" => rule.ports = rest.next(),
            "-p" | "--proto" => rule.protocol = rest.next(),
            "-c" | "--chain" if rest.next() != Some("INPUT") => {
                return Effect::Unknown("a chain other than INPUT");
            }
            "-c" | "--chain" | "-v" | "--verbose" => {}
            "-m" | "--comment" => {
                rest.next();
            }
            _ => return Effect::Unknown("an unknown option of the helper"),
        }
    }
    if rule.ports.is_none() && !rule.closes {
        return Effect::Unknown("the helper names no port");
    }
    rule.into_effect(':')
}

/// `ufw allow from %IP% to any port 22 proto tcp`.
fn parse_ufw(arguments: &[&str]) -> Effect {
    let arguments: Vec<&str> =
        arguments.iter().copied().filter(|word| *word != "--force").collect();
    let arguments = match arguments.as_slice() {
        ["delete", ..] => return Effect::Closes,
        ["insert", _, "allow", rest @ ..]
        | ["prepend", "allow", rest @ ..]
        | ["allow", rest @ ..] => rest,
        _ => return Effect::Unknown("an unknown command of ufw"),
    };
    let mut rule = Rule { opens: true, ..Rule::default() };
    let mut rest = arguments.iter().copied();
    while let Some(word) = rest.next() {
        match word {
            "in" => {}
            "from" => rule.from_knocker = rest.next() == Some("%IP%"),
            "to" if rest.next() == Some("any") => {}
            "port" => rule.ports = rest.next(),
            "app" if rest.next() == Some("OpenSSH") => {
                (rule.protocol, rule.ports) = (Some("tcp"), Some("22"));
            }
            "on" => {
                rest.next();
                rule.lost.push("on: a grant is for all interfaces, see interfaces in [firewall]");
            }
            "proto" => rule.protocol = rest.next(),
            "comment" => break,
            _ => return Effect::Unknown("an unknown word of ufw"),
        }
    }
    match (rule.protocol, rule.ports) {
        // Without a protocol ufw opens both.
        (None, Some(words)) if rule.from_knocker => {
            let both = [false, true]
                .into_iter()
                .flat_map(|udp| words.split(',').map(move |word| (udp, word)));
            match both.map(|(udp, word)| ports::Ports::parse_named(udp, word, ':')).collect() {
                Some(ports) => Effect::Opens(Opens::Ports(ports), rule.lost),
                None => Effect::Unknown(
                    "its ports are neither numbers nor names that this host knows: write the \
                     numbers",
                ),
            }
        }
        _ => rule.into_effect(':'),
    }
}

/// Reads a rich rule or a source of firewall-cmd.
fn parse_firewalld(arguments: &[&str]) -> Effect {
    let text = arguments.join(" ").replace(['"', '\''], "");
    let mut rule = Rule::default();
    let mut service = None;
    for word in text.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match (key, value) {
            ("--remove-rich-rule" | "--remove-source", _) => return Effect::Closes,
            ("--add-rich-rule", "rule") => rule.opens = true,
            ("--add-source", source) => {
                (rule.opens, rule.from_knocker) = (true, source == "%IP%");
                rule.target = Some("accept");
                rule.lost.push("--add-source: whatever its zone lets in; ports = \"all\" is more");
            }
            ("address", source) => rule.from_knocker = matches!(source, "%IP%" | "%IP%/32"),
            ("port", "") | ("source" | "service" | "family" | "priority", _) => {}
            ("port", port) => rule.ports = Some(port),
            ("protocol", protocol) => rule.protocol = Some(protocol),
            ("name", name) => service = Some(name),
            ("accept", "") => rule.target = Some("accept"),
            ("--zone" | "--timeout" | "--permanent" | "--quiet" | "-q" | "--add-rich-rule", _) => {}
            ("rule", "") => rule.opens = true,
            _ => return Effect::Unknown("an unknown word of firewall-cmd"),
        }
    }
    if rule.opens && rule.target.is_none() {
        return Effect::Unknown("a rule that does not accept");
    }
    if let Some(name) = service {
        (rule.protocol, rule.ports) = (Some("tcp"), Some(name));
    }
    rule.into_effect('-')
}

/// Reads a rule of nft. What an element of a set opens stands elsewhere.
fn parse_nft(arguments: &[&str]) -> Effect {
    let text = arguments.join(" ").replace(['"', '\'', '{', '}'], " ");
    let words: Vec<&str> = text.split_whitespace().collect();
    let (mut rest, mut rule) = match words.as_slice() {
        ["delete" | "destroy", ..] => return Effect::Closes,
        ["add", "element", ..] => {
            return Effect::Unknown(
                "an element of a set of nft; which ports it opens stands in the rule that asks the \
                 set: write a [[service]] with these ports",
            );
        }
        ["add" | "insert", "rule", _, _, _, rest @ ..] => {
            (rest.iter().copied().peekable(), Rule { opens: true, ..Rule::default() })
        }
        _ => return Effect::Unknown("a command of nft that adds no rule"),
    };
    let mut ports = String::new();
    while let Some(word) = rest.next() {
        match word {
            "ip" | "ip6" if rest.next_if_eq(&"saddr").is_some() => {
                rule.from_knocker = rest.next() == Some("%IP%");
            }
            "tcp" | "udp" if rest.next_if_eq(&"dport").is_some() => {
                rule.protocol = Some(word);
                while let Some(port) = rest.next_if(|port| !matches!(*port, "accept" | "counter")) {
                    ports.push_str(port);
                }
            }
            "counter" => {}
            "accept" => rule.target = Some(word),
            "comment" => break,
            _ => return Effect::Unknown("an unknown word of nft"),
        }
    }
    if rule.target.is_none() {
        return Effect::Unknown("a rule that does not accept");
    }
    rule.ports = Some(ports.as_str()).filter(|ports| !ports.is_empty());
    rule.into_effect('-')
}
