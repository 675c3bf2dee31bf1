//! Check that this kernel forwards packets, without which `hook = "forward"` opens nothing.

use std::net::IpAddr;

use spa_keys::Severity;

use super::{HostFinding, HostSubject};
use crate::config::{Config, Service};
use crate::firewall::PacketHook;

/// One address family, and the switch for it (Documentation/networking/ip-sysctl.rst).
struct Switch {
    family: &'static str,
    key: &'static str,
    file: &'static str,
    /// Further words of the remedy, for a side effect of the setting.
    beside: &'static str,
}

const IPV4_FORWARDING: Switch = Switch {
    family: "IPv4",
    key: "net.ipv4.ip_forward",
    file: "/proc/sys/net/ipv4/ip_forward",
    beside: "",
};
const IPV6_FORWARDING: Switch = Switch {
    family: "IPv6",
    key: "net.ipv6.conf.all.forwarding",
    file: "/proc/sys/net/ipv6/conf/all/forwarding",
    beside: "; where this host has its own IPv6 address from router advertisements, set \
        net.ipv6.conf.INTERFACE.accept_ra=2 before",
};

/// Checks that the kernel forwards packets of each family that a service behind this host needs.
pub(super) fn check_forwarding(config: &Config) -> Vec<HostFinding> {
    let read =
        |switch: &Switch| std::fs::read_to_string(switch.file).map(|text| text.trim() != "0");
    [IPV4_FORWARDING, IPV6_FORWARDING]
        .iter()
        .filter_map(|switch| judge_forwarding(config, switch, read(switch)))
        .collect()
}

fn judge_forwarding(
    config: &Config,
    switch: &Switch,
    on: std::io::Result<bool>,
) -> Option<HostFinding> {
    let Switch { family, key, beside, .. } = switch;
    let is_v4 = switch.key == IPV4_FORWARDING.key;
    let meets = |to: IpAddr| to.is_ipv4() == is_v4;
    let behind = |service: &&Service| {
        service.packet_hook == PacketHook::Forward
            && service.to.is_none_or(|target| meets(target.address))
    };
    let services: Vec<&Service> = config.services.iter().filter(behind).collect();
    if services.is_empty() {
        return None;
    }
    let names: Vec<String> = services.iter().map(|service| format!("`{}`", service.name)).collect();
    let names = names.join(", ");
    // Without a target it is not said that there is anything inside for both families.
    let meant = is_v4 || services.iter().any(|service| service.to.is_some());
    let (weight, text) = match on {
        Ok(true) => (
            Severity::Ok,
            format!("this kernel forwards {family} packets, as service {names} needs"),
        ),
        Ok(false) => (
            if meant { Severity::Warning } else { Severity::Note },
            format!(
                "{key} is 0: this kernel forwards no {family} packets, and a grant for service \
                {names} reaches nothing over {family}; fix it with: sysctl -w {key}=1, and for \
                the next start: echo {key}=1 >/etc/sysctl.d/90-spa-forward.conf{beside}"
            ),
        ),
        Err(error) => (
            Severity::Unknown,
            format!("whether this kernel forwards {family} packets: {key}: {error}"),
        ),
    };
    Some(HostFinding::new(weight, HostSubject::Forwarding, text))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{Surroundings, parse};

    #[test]
    fn by_family_and_target() {
        let judged = |keys: &str, switch: &Switch, on| {
            let text = format!(
                "[firewall]\ninterfaces = [\"wan0\"]\n[sequence]\nports = \
                 [7001]\n[[service]]\nname = \"inner\"\nports = [\"tcp/8443\"]\n{keys}\n"
            );
            let config = parse("test", &text, &Surroundings::none()).0.unwrap();
            judge_forwarding(&config, switch, Ok(on)).map(|found| found.severity)
        };
        let (routed, v4, v6) = (
            "hook = \"forward\"",
            "to = \"10.0.0.5:22\"\nhook = \"forward\"",
            "to = \"[fd00::5]:22\"\nhook = \"forward\"",
        );
        for (keys, four, six) in [
            ("", None, None),
            (routed, Some(Severity::Warning), Some(Severity::Note)),
            (v4, Some(Severity::Warning), None),
            (v6, None, Some(Severity::Warning)),
        ] {
            assert_eq!(
                (judged(keys, &IPV4_FORWARDING, false), judged(keys, &IPV6_FORWARDING, false)),
                (four, six),
                "{keys}"
            );
            let good = |weight: Option<Severity>| weight.map(|_| Severity::Ok);
            assert_eq!(
                (judged(keys, &IPV4_FORWARDING, true), judged(keys, &IPV6_FORWARDING, true)),
                (good(four), good(six)),
                "{keys}"
            );
        }
    }
}
