//! Targets of knocks.

use std::error::Error;
use std::str::FromStr;

use spa_keys::ServiceName;

/// Services at a host: `SERVICE[,SERVICE]@HOST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Names of the services, each once.
    pub(crate) services: Vec<ServiceName>,
    /// Name or address of the host, as typed.
    pub(crate) host: String,
}

impl FromStr for Target {
    type Err = Box<dyn Error + Send + Sync>;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (names, host) =
            text.rsplit_once('@').ok_or("write SERVICE@HOST, for example ssh@gate.example.org")?;
        if host.is_empty() {
            return Err("the host is missing after the @".into());
        }
        // An address of IPv6 has more colons than one.
        if let Some((name, port)) = host.split_once(':')
            && !port.is_empty()
            && port.bytes().all(|c| c.is_ascii_digit())
        {
            return Err(format!("the service has the port: write {names}@{name}").into());
        }
        let mut services = Vec::new();
        for name in names.split(',') {
            if name.is_empty() {
                return Err("the name of a service is missing before the @".into());
            }
            let name = ServiceName::new(name)?;
            if !services.contains(&name) {
                services.push(name);
            }
        }
        Ok(Self { services, host: host.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn targets() {
        for (text, services, host) in [
            ("ssh@gate", &["ssh"][..], "gate"),
            ("ssh,web,ssh@2001:db8::1", &["ssh", "web"], "2001:db8::1"),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.services, services);
            assert_eq!(target.host, host);
        }
        let with_port = "ssh@gate:22".parse::<Target>().unwrap_err().to_string();
        assert_eq!(with_port, "the service has the port: write ssh@gate");
        for bad in ["", "ssh", "@gate", "ssh@", "ssh,@gate", ",ssh@gate", "SSH@gate", "-x@gate"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
