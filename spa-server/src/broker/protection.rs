//! Interfaces that the configuration names and that are of no use, told when that changes.

use crate::config::{Backend, Config};
use crate::host_check::interfaces::{NamedInterfaces, UselessName};
use crate::ipc::message::ListenerOrder;
use crate::log::{self, Level};

/// The interfaces that were told last.
#[derive(Default)]
pub(super) struct InterfaceMonitor {
    told: NamedInterfaces,
    /// Number of the configuration that was looked at.
    config: u64,
}

impl InterfaceMonitor {
    /// Looks at the interfaces after the network or the configuration has changed, and logs what
    /// is different. Returns what the listener is to be told.
    pub(super) fn tell_changes(
        &mut self,
        config: &Config,
        number: u64,
        network_changed: bool,
    ) -> Option<ListenerOrder> {
        if self.config == number && !network_changed {
            return None;
        }
        self.config = number;
        let mut found = match config.firewall.backend {
            // It hides nothing anywhere, and says so.
            Backend::Observe => NamedInterfaces::default(),
            // Without an answer the next change asks again.
            Backend::Nftables => NamedInterfaces::look(config).ok()?,
        };
        std::mem::swap(&mut self.told, &mut found);
        let before = found;
        let only_in = |these: &[UselessName], those: &[UselessName]| -> Vec<UselessName> {
            these.iter().filter(|name| !those.contains(name)).cloned().collect()
        };
        for useless in only_in(&self.told.useless, &before.useless) {
            log::event(Level::Error, "not-protected")
                .with("interface", &useless.name)
                .with("list", useless.list.section())
                .with("why", &useless.why)
                .emit();
        }
        let same_name = |a: &UselessName, b: &UselessName| (a.list, &a.name) == (b.list, &b.name);
        for gone in &before.useless {
            if !self.told.useless.iter().any(|useless| same_name(useless, gone)) {
                log::event(Level::Info, "protected")
                    .with("interface", &gone.name)
                    .with("list", gone.list.section())
                    .emit();
            }
        }
        (self.told != before).then(|| ListenerOrder::Interfaces {
            useless: self.told.useless.iter().map(ToString::to_string).collect(),
            hides_nowhere: self.told.hides_nowhere,
        })
    }
}
