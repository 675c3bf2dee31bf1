//! Interfaces that the configuration names, as they are at this moment.

use std::fmt;
use std::io;

use spa_keys::Severity;

use super::{HostFinding, HostSubject};
use crate::config::Config;
use crate::firewall::host_network::{HostNetwork, Link};

/// List of the configuration that names interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InterfaceList {
    /// `[firewall] interfaces`: where services are hidden.
    Firewall,
    /// `[capture] interfaces`: where knocks are heard.
    Capture,
}

impl InterfaceList {
    /// Section of the configuration that has the list.
    pub(crate) fn section(self) -> &'static str {
        match self {
            Self::Firewall => "firewall",
            Self::Capture => "capture",
        }
    }
}

/// Name in a list by which no stranger's packet comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UselessName {
    /// Where it stands.
    pub(crate) list: InterfaceList,
    /// The interface.
    pub(crate) name: String,
    /// Reason, as the end of a sentence.
    pub(crate) why: String,
}

impl fmt::Display for UselessName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { list, name, why } = self;
        let effect = match list {
            InterfaceList::Firewall => "nothing is hidden on it",
            InterfaceList::Capture => "no knock is received through it",
        };
        write!(f, "[{}] interfaces: `{name}` {why}: {effect}", list.section())
    }
}

/// Why a rule with this name matches nothing.
fn describe_absent(network: &HostNetwork, name: &str) -> String {
    let has_it = |link: &&Link| link.other_names.iter().any(|other| other == name);
    match network.links().find(has_it) {
        Some(link) => {
            format!("is another name of {0}, which rules do not know: write \"{0}\"", link.name)
        }
        None if name.ends_with('+') => {
            "does not exist, and no pattern is taken: name each interface".to_owned()
        }
        None => "does not exist".to_owned(),
    }
}

/// State of both lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NamedInterfaces {
    /// Names that are of no use now, in the order of the configuration.
    pub(crate) useless: Vec<UselessName>,
    /// The firewall's list holds none that is: nothing is hidden.
    pub(crate) hides_nowhere: bool,
    /// The same of the capture's: every knock stays unheard.
    pub(crate) hears_nowhere: bool,
}

impl NamedInterfaces {
    /// Looks at the interfaces that the configuration names.
    ///
    /// # Errors
    /// The kernel does not tell of its interfaces.
    pub(crate) fn look(config: &Config) -> io::Result<Self> {
        let network = HostNetwork::read()?;
        let why = |name: &str| match network.find(name) {
            None => Some(describe_absent(&network, name)),
            Some(link) if link.loopback => {
                Some("is loopback, where no stranger comes in".to_owned())
            }
            Some(link) => match network.master_of(link) {
                Some(master) => {
                    let name = &master.name;
                    Some(format!("is a port of {name}: its packets come in by {name}"))
                }
                None if link.addresses.is_empty() => Some("has no address".to_owned()),
                None => None,
            },
        };
        let useless_of = |list, names: &[String]| -> Vec<UselessName> {
            let useless = names.iter().filter_map(|name| Some((name.clone(), why(name)?)));
            useless.map(|(name, why)| UselessName { list, name, why }).collect()
        };
        let (hiding, hearing) = (&config.firewall.interfaces, &config.capture.interfaces);
        let mut useless = useless_of(InterfaceList::Firewall, hiding);
        let hides_nowhere = !hiding.is_empty() && useless.len() == hiding.len();
        let deaf = useless_of(InterfaceList::Capture, hearing);
        let hears_nowhere = !hearing.is_empty() && deaf.len() == hearing.len();
        useless.extend(deaf);
        Ok(Self { useless, hides_nowhere, hears_nowhere })
    }

    /// Findings about them; an error where nothing is hidden, or no knock heard.
    pub(super) fn findings(&self) -> Vec<HostFinding> {
        let finding = |useless: &UselessName| {
            let nowhere = match useless.list {
                InterfaceList::Firewall => self.hides_nowhere,
                InterfaceList::Capture => self.hears_nowhere,
            };
            let severity = if nowhere { Severity::Error } else { Severity::Warning };
            HostFinding::new(
                severity,
                HostSubject::Interface,
                format!("{useless}; the names that there are: ip -brief address"),
            )
        };
        self.useless.iter().map(finding).collect()
    }
}
