//! Following this host and its clients: the look of hidden ports, the sources that are never
//! banned, the services that are not hidden yet.

use super::host_peers::read_host_peers;
use super::request_handler::RequestHandler;
use crate::firewall::reach::ReachQuestion;
use crate::firewall::{Hide, Rules};
use crate::log::{self, Level};

impl RequestHandler {
    /// Looks again how this host treats a closed port, after the rules of others have changed.
    pub(super) fn follow_closed_ports(&mut self) {
        let rules = self.current_rules();
        let Ok(look) = self.firewall.look_of_closed_ports(&rules) else { return };
        self.closed_ports = look;
        let hide = self.config().hide_beside(look);
        // Without knock ports no rules were installed yet.
        if hide == rules.hide || self.knock.is_empty() {
            return;
        }
        if let Err(error) = self.firewall.install(&Rules { hide, ..rules }) {
            log::event(Level::Error, "hide-not-followed").with("error", error).emit();
        }
    }

    /// Look of hidden ports, when that has changed since the last call.
    pub(super) fn take_hide(&mut self) -> Option<Hide> {
        let hide = self.config().hide_beside(self.closed_ports);
        (self.told_hide.replace(hide) != Some(hide)).then_some(hide)
    }

    /// Looks again whom this host cannot do without, after its network has changed.
    pub(super) fn refresh_host_peers(&mut self) {
        let peers = read_host_peers();
        if peers == self.host_peers {
            return;
        }
        self.host_peers = peers;
        // Without knock ports no rules were installed yet.
        if self.knock.is_empty() {
            return;
        }
        let rules = self.current_rules();
        if let Err(error) = self.firewall.install(&rules) {
            log::event(Level::Error, "gateways-not-excepted").with("error", error).emit();
        }
    }

    /// Services to ask the model of the host about.
    pub(super) fn list_services(&self) -> Vec<ReachQuestion> {
        self.opened.questions(&self.versions.current.config)
    }

    /// Services that are not hidden yet, when that has changed since the last call.
    pub(super) fn take_visible(&mut self) -> Option<Vec<String>> {
        std::mem::take(&mut self.news).then(|| self.opened.visible(self.config()))
    }
}
