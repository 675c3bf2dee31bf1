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

    /// Counts the single ports.
    pub(super) fn count(&self) -> usize {
        usize::from(self.last - self.first) + 1
    }
}

/// Reads a port; 0 is none.
pub(super) fn parse_port(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|port| *port != 0)
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
