//! `config.toml` of the client's folder.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;
use spa_keys::file::{self, FileError};
use spa_keys::{Failure, Folder, HostLine, check_settings, printable};

use crate::address::{Family, parse_network};

/// Largest `config.toml`, in bytes.
const MAX_CONFIG_BYTES: u64 = 1024 * 1024;

/// Settings of all hosts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default)]
    host: BTreeMap<String, HostSettings>,
}

/// Settings of one host; all of them optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct HostSettings {
    /// Knock here instead of at the hosts of the enrolment line.
    pub(crate) addresses: Vec<String>,
    /// Key file; relative to the folder, `~/` is the home.
    pub(crate) identity: Option<PathBuf>,
    /// Binding of the knock to its source address.
    pub(crate) bind_src: BindSrc,
    /// Address family to knock over.
    pub(crate) family: Family,
    /// More names for the host.
    pub(crate) aliases: Vec<String>,
    /// Addresses or networks under which the server sees us; every other one is a relay's.
    #[serde(deserialize_with = "deserialize_networks")]
    pub(crate) expect_address: Vec<IpNet>,
}

fn deserialize_networks<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| parse_network(text).map_err(serde::de::Error::custom)).collect()
}

/// Cases in which a knock works from our own source address only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BindSrc {
    /// When our own address is a public one.
    #[default]
    Auto,
    /// Even when it is not: right inside one private network.
    Always,
    /// Never: right behind a translator that keeps public addresses inside.
    Never,
}

impl Config {
    /// Reads the folder's settings; none when the file is not there.
    pub(crate) fn read_config(folder: &Folder) -> Result<Self, Failure> {
        let path = folder.config();
        let text = match file::read_settings(&path, MAX_CONFIG_BYTES) {
            Err(FileError::Missing(_)) => return Ok(Self::default()),
            other => other?,
        };
        Self::parse_config(&text).map_err(|failure| {
            failure.map_problem(|problem| format!("{}: {problem}", path.display()))
        })
    }

    /// Parses the text of the file.
    pub(crate) fn parse_config(text: &str) -> Result<Self, Failure> {
        let config: Self = toml::from_str(text).map_err(|error| {
            let error = error.to_string();
            let lines: Vec<String> =
                error.lines().map(|line| printable(line).to_string()).collect();
            Failure::config(lines.join("\n"))
        })?;
        for (name, host) in &config.host {
            check_settings(&host.addresses, &host.aliases, host.identity.as_deref())
                .map_err(|error| Failure::config(format!("host {}: {error}", printable(name))))?;
        }
        Ok(config)
    }

    /// Returns the settings of a host; the default ones when there are none.
    pub(crate) fn settings_of(&self, name: &str) -> HostSettings {
        self.host.get(name).cloned().unwrap_or_default()
    }

    /// Finds the host that has this alias or address.
    pub(crate) fn find_host_at(&self, name: &str) -> Option<&str> {
        let has = |host: &HostSettings| {
            host.aliases.iter().chain(&host.addresses).any(|own| own.eq_ignore_ascii_case(name))
        };
        self.host.iter().find(|(_, host)| has(host)).map(|(name, _)| name.as_str())
    }
}

impl HostSettings {
    /// Returns the names and addresses to knock at: those of the settings, else those of the line.
    pub(crate) fn knock_names<'a>(&'a self, line: &'a HostLine) -> &'a [String] {
        if self.addresses.is_empty() { &line.hosts } else { &self.addresses }
    }

    /// Returns the path of the key file.
    pub(crate) fn identity_path(&self, folder: &Folder) -> PathBuf {
        let Some(path) = &self.identity else { return folder.identity() };
        match (path.strip_prefix("~"), std::env::var_os("HOME")) {
            (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
            _ => folder.path().join(path),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn settings() {
        let text = "[host.\"gate.example.org\"]\naddresses = [\"192.0.2.1\", \
            \"2001:DB8::1\"]\nidentity = \"work\"\n\
                    bind-src = \"never\"\nfamily = \"6\"\naliases = [\"g\"]\nexpect-address = \
                        [\"203.0.113.9\"]\n[host.other]\n";
        let config: Config = toml::from_str(text).unwrap();
        let host = config.settings_of("gate.example.org");
        assert_eq!((host.bind_src, host.family), (BindSrc::Never, Family::V6));
        assert_eq!(host.identity_path(&Folder::at("/etc/x".into())), PathBuf::from("/etc/x/work"));
        assert_eq!(config.find_host_at("2001:db8::1"), Some("gate.example.org"));
        assert_eq!(config.find_host_at("G"), Some("gate.example.org"));
        assert_eq!(host.expect_address, ["203.0.113.9/32".parse().unwrap()]);
        assert_eq!(config.find_host_at("192.0.2.2"), None);
        assert_eq!(config.settings_of("other"), HostSettings::default());
        for wrong in [
            "[hosts.a]",
            "[host.a]\nadress = []",
            "[host.a]\nbind_src = \"auto\"",
            "[host.a]\nbind-src = true",
            "[host.a]\nfamily = 4",
            "[host.a]\naddresses = \"192.0.2.1\"",
            "[host.a]\nexpect-address = [\"here\"]",
        ] {
            assert!(toml::from_str::<Config>(wrong).is_err(), "{wrong}");
        }
    }
}
