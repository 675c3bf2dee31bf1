//! `hook`, `to` and `established`: what they become, and what is wrong with them.

use crate::config::{Surroundings, parse};
use crate::domain::grant::Scope;
use crate::domain::ports::PortRange;
use crate::firewall::{Established, PacketHook};

const AROUND: &str =
    "[server]\nhosts = [\"gate.example.org\"]\n[sequence]\nports = [888, 555, 222]\n";

fn said(interfaces: &str, services: &str) -> String {
    let text = format!("{AROUND}[firewall]\n{interfaces}\n{services}");
    let around = Surroundings {
        local_ports: Some(PortRange { first: 32768, last: 60999 }),
        ..Surroundings::none()
    };
    parse("spa.toml", &text, &around).1.to_string()
}

fn service(name: &str, rest: &str) -> String {
    format!("[[service]]\nname = \"{name}\"\n{rest}\n")
}

#[test]
fn what_they_become() {
    let all = [
        service("ssh", "ports = [\"tcp/22\"]\nestablished = \"drop\""),
        service("web", "ports = [\"tcp/80\"]"),
        service("build", "ports = [\"tcp/2222\"]\nhook = \"forward\"\nto = \"[fd00::5]:22\""),
        service("wiki", "ports = [\"tcp/22\"]\nhook = \"forward\"\nestablished = \"drop\""),
    ];
    let text = format!("{AROUND}[firewall]\ninterfaces = [\"wan0\"]\n{}", all.concat());
    let (config, findings) = parse("spa.toml", &text, &Surroundings::none());
    let config = config.unwrap_or_else(|| panic!("{findings}"));
    assert!(matches!(config.services[0].scope, Scope::Ports(_)));
    assert!(matches!(config.services[3].scope, Scope::Inside(_)));
    assert_eq!(
        (config.services[2].packet_hook, config.services[1].established),
        (PacketHook::Forward, Established::Keep)
    );
    let rules = config.rules(&[]);
    let text = |ports: &[crate::domain::ports::ProtoPorts]| {
        ports.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        text(&rules.protected),
        ["tcp/22", "tcp/80", "tcp/2222"],
        "a port with `to` is hidden here too"
    );
    assert_eq!(text(&rules.bound), ["tcp/22"]);
    assert_eq!(text(&rules.forward[0].ports), ["tcp/2222"]);
    assert_eq!(rules.forward[0].to.unwrap().to_string(), "[fd00::5]:22");
    assert_eq!((rules.forward[1].to, rules.forward[1].established), (None, Established::Drop));

    let all = service("all", "ports = \"all\"\nestablished = \"drop\"");
    let text = format!("{AROUND}{}{all}", service("web", "ports = [\"tcp/80\"]"));
    let (config, findings) = parse("spa.toml", &text, &Surroundings::none());
    let rules = config.unwrap_or_else(|| panic!("{findings}")).rules(&[]);
    assert_eq!(rules.bound, rules.protected, "a service for everything speaks for the others");
}

#[test]
fn what_is_wrong_with_them() {
    let wan = "interfaces = [\"wan0\"]";
    let forward = |rest: &str| format!("ports = [\"tcp/2222\"]\nhook = \"forward\"\n{rest}");
    let ssh = service("ssh", "ports = [\"tcp/22\"]");
    for (interfaces, services, words) in [
        ("", service("a", &forward("")), "error: hook = \"forward\" without [firewall] interfaces"),
        (
            wan,
            service("a", "ports = [\"tcp/1\"]\nto = \"10.0.0.5\""),
            "write hook = \"forward\" beside it",
        ),
        (wan, service("a", "ports = \"all\"\nhook = \"forward\""), "needs ports by name"),
        (wan, service("a", &forward("to = \"inner\"")), "`inner` is not an inner host"),
        (wan, service("a", &forward("to = \"127.0.0.1:22\"")), "is not an inner host"),
        (
            wan,
            service("a", &forward("to = \"10.0.0.5:22\"")),
            "note: `to` is an IPv4 address: a client that comes over IPv6",
        ),
        (wan, service("a", &forward("to = \"fd00::5\"")), "note: `to` is an IPv6 address"),
        (
            wan,
            service("a", "ports = [\"tcp/1-3\"]\nhook = \"forward\"\nto = \"10.0.0.5:22\""),
            "all 3 ports would lead to port 22",
        ),
        (
            wan,
            format!(
                "{ssh}{}",
                service("a", "ports = [\"tcp/22\"]\nhook = \"forward\"\nto = \"10.0.0.5\"")
            ),
            "service `ssh` has one of these ports of this host too",
        ),
        (
            wan,
            service("a", "ports = [\"tcp/22\"]\nhook = \"output\""),
            "write \"input\" or \"forward\"",
        ),
        (
            wan,
            service("a", "ports = [\"tcp/22\"]\nestablished = \"cut\""),
            "write \"keep\" or \"drop\"",
        ),
        (
            wan,
            service("a", "ports = [\"udp/40000\"]\nestablished = \"drop\""),
            "udp/40000 lies in the range 32768-60999",
        ),
        (
            wan,
            service("a", "ports = \"all\"\nestablished = \"drop\""),
            "note: established = \"drop\" counts for the ports",
        ),
    ] {
        let said = said(interfaces, &services);
        assert!(said.contains(words), "{services}: {said}");
    }
    // Two ports with one number: this host's and those behind it.
    let two = format!("{ssh}{}", service("a", "ports = [\"tcp/22\"]\nhook = \"forward\""));
    assert!(!said(wan, &two).contains("error"), "{}", said(wan, &two));
}
