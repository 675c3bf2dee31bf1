//! Targets of knocks.

use std::str::FromStr;

/// Services at a host: `SERVICE[,SERVICE]@HOST`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Names of the services, each once.
    pub(crate) services: Vec<String>,
    /// Name or address of the host, as typed.
    pub(crate) host: String,
}

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (services, host) =
            text.rsplit_once('@').ok_or("write SERVICE@HOST, for example ssh@gate.example.org")?;
        if host.is_empty() {
            return Err("the host is missing after the @");
        }
        let mut names: Vec<String> = Vec::new();
        for name in services.split(',') {
            if name.is_empty() {
                return Err("the name of a service is missing before the @");
            }
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        Ok(Self { services: names, host: host.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let target = |services: &[&str], host: &str| {
            Ok(Target {
                services: services.iter().map(ToString::to_string).collect(),
                host: host.into(),
            })
        };
        assert_eq!("ssh@gate".parse(), target(&["ssh"], "gate"));
        assert_eq!("ssh,web,ssh@2001:db8::1".parse(), target(&["ssh", "web"], "2001:db8::1"));
        for bad in ["", "ssh", "@gate", "ssh@", "ssh,@gate", ",ssh@gate"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }
}
