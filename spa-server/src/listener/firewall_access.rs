//! The firewall behind the broker: the rules in force, and what the broker tells about them.

use super::packet_source::PacketSource;
use crate::config::{Backend, Config};
use crate::domain::ports::PortRange;
use crate::firewall::{Firewall, Hide, Mode, Rules};
use crate::ipc::channel::Channel;
use crate::ipc::client::BrokerClient;
use crate::ipc::message::{EnforcerState, ReachState};
use crate::log::{self, Level};
use spa_keys::Failure;

/// The way to the firewall, and its state as far as it is known here.
pub(super) struct FirewallAccess {
    /// Requests to the broker, which changes the firewall.
    pub(super) broker: BrokerClient,
    /// The rules in force.
    pub(super) rules: Rules,
    /// Somebody changed our table and the broker could not put it back yet.
    damaged: bool,
    /// Services that are not hidden yet.
    pub(super) visible: Vec<String>,
    /// Sentences about interfaces of the configuration that are of no use.
    pub(super) useless_interfaces: Vec<String>,
    /// No stranger comes in where the rules hide.
    hides_nowhere: bool,
    /// Services that strangers may reach, or that a grant does not open.
    pub(super) reach: ReachState,
    /// State of the enforcers beside this host.
    pub(super) enforcers: Vec<EnforcerState>,
    /// Look of hidden ports, as the broker has chosen it.
    pub(super) hide: Hide,
}

impl FirewallAccess {
    /// Has the rules installed.
    pub(super) fn open_firewall(
        config: &Config,
        rules: Rules,
        requests: Channel,
    ) -> Result<Self, Failure> {
        let name = match config.firewall.backend {
            Backend::Observe => "observe",
            Backend::Nftables => "nftables",
        };
        let mut broker = BrokerClient::new(requests, name)?;
        broker.install(&rules)?;
        Ok(Self {
            broker,
            hide: rules.hide,
            rules,
            damaged: false,
            visible: Vec::new(),
            useless_interfaces: Vec::new(),
            hides_nowhere: false,
            reach: ReachState::default(),
            enforcers: Vec::new(),
        })
    }

    /// Moves capture and firewall to these knock ports.
    pub(super) fn move_ports(&mut self, ports: Vec<PortRange>, packets: &mut PacketSource) {
        if ports == self.rules.knock {
            return;
        }
        let rules = Rules { knock: ports, ..self.rules.clone() };
        let installed = self.broker.install(&rules).map_err(|error| error.to_string());
        let captured = packets.set_ports(&rules.knock).map_err(|error| error.to_string());
        match installed.and(captured) {
            Ok(()) => self.rules = rules,
            Err(error) => log::event(Level::Error, "hop").with("error", error).emit(),
        }
    }

    /// Puts the rules of another configuration, with this number, in the place of those in force.
    pub(super) fn swap_rules(
        &mut self,
        config: u64,
        rules: Rules,
        packets: &mut PacketSource,
    ) -> Result<(), Failure> {
        let before = self.broker.select_config(config);
        if let Err(error) = self.broker.install(&rules) {
            self.broker.select_config(before);
            return Err(error.into());
        }
        if let Err(error) = packets.set_ports(&rules.knock) {
            // The old rules come back, so that capture and firewall agree again.
            self.broker.select_config(before);
            self.broker.install(&self.rules)?;
            return Err(error.into());
        }
        self.rules = rules;
        Ok(())
    }

    /// Takes note that our table is whole again after a foreign change, or is not.
    pub(super) fn note_restored(&mut self, restored: bool) {
        self.damaged = !restored;
    }

    /// Takes note that the hidden services changed.
    pub(super) fn note_visible(&mut self, services: Vec<String>) {
        for hidden in self.visible.iter().filter(|known| !services.contains(known)) {
            log::event(Level::Info, "hidden").with("service", hidden).emit();
        }
        if !services.is_empty() && services != self.visible {
            log::event(Level::Warn, "not-hidden")
                .with("services", services.join(","))
                .with("until", "a client has opened each of them once")
                .emit();
        }
        self.visible = services;
    }

    /// Takes note of how hidden ports look from now on.
    pub(super) fn note_hide(&mut self, hide: Hide) {
        if std::mem::replace(&mut self.hide, hide) == hide {
            return;
        }
        let ports = if hide == Hide::Drop { "silent" } else { "closed" };
        log::event(Level::Info, "hide").with("ports", ports).emit();
    }

    /// Takes note of the interfaces that the configuration names.
    pub(super) fn note_interfaces(&mut self, useless: Vec<String>, hides_nowhere: bool) {
        (self.useless_interfaces, self.hides_nowhere) = (useless, hides_nowhere);
    }

    /// Takes note of what reaches the services.
    pub(super) fn note_reach(&mut self, reach: ReachState) {
        self.reach = reach;
    }

    /// Tells whether the rules protect: an observer protects nothing, and neither does a table that
    /// somebody took away, or one for interfaces that are not there.
    pub(super) fn is_in_force(&self) -> bool {
        self.broker.name() != "observe" && !self.damaged && !self.hides_nowhere
    }

    /// Describes what a grant is worth at present.
    pub(super) fn describe_protection(&self) -> &'static str {
        if self.broker.name() == "observe" {
            return "the backend only observes: a grant changes nothing, and no port is opened or \
                    hidden by us";
        }
        if self.damaged {
            return "our table is damaged, and cannot be put back: see the log";
        }
        if self.hides_nowhere {
            return "our table hides nothing: [firewall] interfaces names none that strangers use";
        }
        match self.rules.mode {
            Mode::Guard => "our table hides the services' ports from whoever has no grant",
            Mode::Standalone => "our table hides everything from whoever has no grant",
        }
    }
}
