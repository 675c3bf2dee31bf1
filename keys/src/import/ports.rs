//! Ports of services, and names for them.

use std::fmt;

/// `tcp` or `udp`, with a range of ports of at least one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ports {
    /// Set for UDP, else TCP.
    pub(super) udp: bool,
    /// First port of the range.
    pub(super) first: u16,
    /// Last port of the range, the first one included.
    pub(super) last: u16,
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", if self.udp { "udp" } else { "tcp" }, self.first)?;
        if self.last == self.first { Ok(()) } else { write!(f, "-{}", self.last) }
    }
}

impl Ports {
    /// Reads a port, or a range with this sign in it.
    pub(super) fn parse_range(udp: bool, text: &str, sign: char) -> Option<Self> {
        let (first, last) = text.split_once(sign).unwrap_or((text, text));
        let (first, last) = (parse_port(first)?, parse_port(last)?);
        (first <= last).then_some(Self { udp, first, last })
    }

    /// Reads as [`Ports::parse_range`], and names as /etc/services has them.
    pub(super) fn parse_named(udp: bool, text: &str, sign: char) -> Option<Self> {
        let (first, last) = text.split_once(sign).unwrap_or((text, text));
        let port = |word: &str| parse_port(word).or_else(|| find_port(udp, word));
        match find_port(udp, text) {
            Some(named) => Some(Self { udp, first: named, last: named }),
            None => {
                let (first, last) = (port(first)?, port(last)?);
                (first <= last).then_some(Self { udp, first, last })
            }
        }
    }

    /// Counts the single ports.
    pub(super) fn count(&self) -> usize {
        usize::from(self.last - self.first) + 1
    }
}

/// Reads a port; 0 is none.
pub(super) fn parse_port(text: &str) -> Option<u16> {
    let text = text.trim();
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| plain)
}

/// Names of services that a firewall's commands use most, for a host without /etc/services.
const NAMED_PORTS: [(&str, u16); 24] = [
    ("ftp", 21),
    ("ssh", 22),
    ("telnet", 23),
    ("smtp", 25),
    ("domain", 53),
    ("dns", 53),
    ("http", 80),
    ("www", 80),
    ("pop3", 110),
    ("ntp", 123),
    ("imap", 143),
    ("imap2", 143),
    ("snmp", 161),
    ("ldap", 389),
    ("https", 443),
    ("submission", 587),
    ("ldaps", 636),
    ("rsync", 873),
    ("imaps", 993),
    ("pop3s", 995),
    ("openvpn", 1194),
    ("mysql", 3306),
    ("postgresql", 5432),
    ("http-alt", 8080),
];

/// Finds the port of a service's name: services(5) of this host, then the usual ones.
fn find_port(udp: bool, name: &str) -> Option<u16> {
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let text = std::fs::read_to_string("/etc/services").unwrap_or_default();
    let listed = text.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let (first, place) = (words.next()?, words.next()?);
        let (port, protocol) = place.split_once('/')?;
        let wanted = protocol == if udp { "udp" } else { "tcp" };
        (wanted && (first == name || words.any(|word| word == name))).then(|| parse_port(port))?
    });
    let usual = || NAMED_PORTS.iter().find(|(known, _)| *known == name).map(|(_, port)| *port);
    listed.or_else(usual)
}

/// Reads fwknop's list, `tcp/22, udp/53`; the error is the word that is wrong.
pub(super) fn parse_list(text: &str) -> Result<Vec<Ports>, &str> {
    text.split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(|word| {
            let (protocol, port) = word.split_once('/').ok_or(word)?;
            let udp = match protocol.trim().to_ascii_lowercase().as_str() {
                "tcp" => false,
                "udp" => true,
                _ => return Err(word),
            };
            Ports::parse_range(udp, port, '-').ok_or(word)
        })
        .collect()
}

/// Returns the usual name of a single port (IANA's registry), or one made of its number.
pub(super) fn usual_name(ports: &[Ports]) -> Option<String> {
    let [only] = ports else { return None };
    let known = match (only.udp, only.first) {
        (false, 22) => "ssh",
        (false, 25) => "smtp",
        (_, 53) => "dns",
        (false, 80) => "http",
        (false, 443) => "https",
        (true, 443) => "quic",
        (false, 993) => "imaps",
        (true, 1194) => "openvpn",
        (false, 3306) => "mysql",
        (false, 3389) => "rdp",
        (false, 5432) => "postgresql",
        (false, 5900) => "vnc",
        (true, 51820) => "wireguard",
        _ => return Some(only.to_string().replace('/', "-")),
    };
    (only.count() == 1)
        .then(|| known.to_owned())
        .or_else(|| Some(only.to_string().replace('/', "-")))
}

/// Turns a peer's name into a service's, see [`crate::ServiceName`].
pub(super) fn service_name(text: &str) -> String {
    let name: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(20)
        .collect();
    match name.trim_matches('-') {
        "" => "service".to_owned(),
        name => name.to_owned(),
    }
}
