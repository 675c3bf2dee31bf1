//! `nmap`, the scanner that strangers use.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::netns::Host;
use crate::process;

/// What a scan tells: for each port its state and nmap's reason, as `("closed", "reset")`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    ports: BTreeMap<u16, (String, String)>,
}

/// Runs `nmap -n -Pn ARGUMENTS` against an address: no names, no pings before.
pub fn scan(host: &Host, target: IpAddr, arguments: &[&str]) -> Scan {
    let mut command = host.command("nmap");
    command.args(["-n", "-Pn", "-oX", "-"]).args(arguments);
    if target.is_ipv6() {
        command.arg("-6");
    }
    let report = process::succeed(command.arg(target.to_string()));
    let ports = read(&report);
    assert!(!ports.is_empty(), "{command:?} scanned nothing:\n{report}");
    Scan { ports }
}

impl Scan {
    /// The ports with a state and reason, in one text: `22,80 filtered (no-response)` and so on, to
    /// compare and to show.
    pub fn summary(&self) -> BTreeMap<String, Vec<u16>> {
        let mut summary: BTreeMap<String, Vec<u16>> = BTreeMap::new();
        for (port, (state, reason)) in &self.ports {
            summary.entry(format!("{state} {reason}")).or_default().push(*port);
        }
        summary
    }

    /// How many ports were scanned.
    pub fn len(&self) -> usize {
        self.ports.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    /// State and reason of a port, as `closed reset`.
    pub fn port(&self, port: u16) -> String {
        self.ports
            .get(&port)
            .map_or("not scanned".to_owned(), |(state, reason)| format!("{state} {reason}"))
    }

    /// Whether all ports have this state and reason.
    pub fn all(&self, look: &str) -> bool {
        self.summary().keys().eq([look])
    }
}

/// Reads nmap's XML: interesting ports have an element each, the others are summed up by state and
/// reason.
fn read(report: &str) -> BTreeMap<u16, (String, String)> {
    let mut ports = BTreeMap::new();
    let mut ignored = "";
    for element in report.split('<') {
        let value = |name: &str| attribute(element, name);
        match element.split([' ', '>']).next() {
            Some("extraports") => ignored = value("state").unwrap_or_default(),
            Some("extrareasons") => {
                let reason = value("reason").unwrap_or_default();
                for port in value("ports").into_iter().flat_map(list) {
                    ports.insert(port, (ignored.to_owned(), reason.to_owned()));
                }
            }
            Some("port") => {
                let port = value("portid").and_then(|port| port.parse().ok()).expect("a port");
                ports.insert(port, Default::default());
            }
            Some("state") => {
                let told =
                    (value("state").unwrap_or_default(), value("reason").unwrap_or_default());
                // It stands inside the port that came last.
                if let Some(port) = ports.values_mut().find(|told| told.0.is_empty()) {
                    *port = (told.0.to_owned(), told.1.to_owned());
                }
            }
            _ => {}
        }
    }
    ports
}

fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = element.split_once(&format!(" {name}=\""))?;
    Some(rest.split_once('"')?.0)
}

/// `1,3-5`
fn list(text: &str) -> Vec<u16> {
    let number = |text: &str| text.parse::<u16>().expect("a port");
    text.split(',')
        .flat_map(|part| match part.split_once('-') {
            Some((first, last)) => number(first)..=number(last),
            None => number(part)..=number(part),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_report_is_read() {
        let report = r#"<host><ports><extraports state="closed" count="3">
            <extrareasons reason="reset" count="3" proto="tcp" ports="1,3-4"/></extraports>
            <port protocol="tcp" portid="22"><state state="filtered" reason="no-response" reason_ttl="0"/><service name="ssh"/></port>
            <port protocol="tcp" portid="443"><state state="open" reason="syn-ack" reason_ttl="64"/></port></ports></host>"#;
        let scan = super::Scan { ports: super::read(report) };
        assert_eq!(scan.len(), 5);
        assert_eq!(scan.port(3), "closed reset");
        assert_eq!(scan.port(22), "filtered no-response");
        assert_eq!(scan.port(443), "open syn-ack");
        assert!(!scan.all("closed reset"));
    }
}
