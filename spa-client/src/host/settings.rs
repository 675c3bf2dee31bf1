//! `config.toml` of the client's folder.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipnet::IpNet;
use serde::Deserialize;
use spa_keys::file::{self, FileError};
use spa_keys::{Folder, exit, printable};

use spa_keys::Failure;

/// The largest file taken, in bytes.
const LIMIT: u64 = 1024 * 1024;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Config {
    #[serde(default)]
    host: BTreeMap<String, Host>,
}

/// Settings of one host; all of them optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Host {
    /// Knock here instead of at the hosts of the enrolment line.
    pub(crate) addresses: Vec<String>,
    /// Key file; relative to the folder, `~/` is the home.
    pub(crate) identity: Option<PathBuf>,
    /// Whether the knock works from this source address only.
    pub(crate) bind_src: BindSrc,
    /// Over what to knock.
    pub(crate) family: Family,
    /// More names for the host.
    pub(crate) aliases: Vec<String>,
    /// Addresses or networks under which the server sees us; every other one is a relay's.
    #[serde(deserialize_with = "networks")]
    pub(crate) expect_address: Vec<IpNet>,
}

fn networks<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| crate::cli::network(text).map_err(serde::de::Error::custom)).collect()
}

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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Family {
    #[default]
    #[serde(rename = "auto")]
    Auto,
    #[serde(rename = "4")]
    V4,
    #[serde(rename = "6")]
    V6,
}

impl Config {
    /// Reads the folder's settings; none when the file is not there.
    pub(crate) fn read(folder: &Folder) -> Result<Self, Failure> {
        let path = folder.config();
        let text = match file::read_public(&path, LIMIT) {
            Err(FileError::Missing(_)) => return Ok(Self::default()),
            other => other?,
        };
        Self::parse(&text)
            .map_err(|error| Failure::new(exit::CONFIG, format!("{}: {error}", path.display())))
    }

    /// From the text of the file; the error is fit for a terminal.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let error = error.to_string();
            let shown: Vec<String> =
                error.lines().map(|line| printable(line).to_string()).collect();
            shown.join("\n")
        })
    }

    pub(crate) fn host(&self, name: &str) -> Host {
        self.host.get(name).cloned().unwrap_or_default()
    }

    /// The host that has this alias or address.
    pub(crate) fn host_at(&self, name: &str) -> Option<&str> {
        let has = |host: &Host| {
            host.aliases.iter().chain(&host.addresses).any(|own| own.eq_ignore_ascii_case(name))
        };
        self.host.iter().find(|(_, host)| has(host)).map(|(name, _)| name.as_str())
    }
}

impl Host {
    pub(crate) fn identity(&self, folder: &Folder) -> PathBuf {
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
        let host = config.host("gate.example.org");
        assert_eq!((host.bind_src, host.family), (BindSrc::Never, Family::V6));
        assert_eq!(host.identity(&Folder::at("/etc/x".into())), PathBuf::from("/etc/x/work"));
        assert_eq!(config.host_at("2001:db8::1"), Some("gate.example.org"));
        assert_eq!(config.host_at("G"), Some("gate.example.org"));
        assert_eq!(host.expect_address, ["203.0.113.9/32".parse().unwrap()]);
        assert_eq!(config.host_at("192.0.2.2"), None);
        assert_eq!(config.host("other"), Host::default());
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
