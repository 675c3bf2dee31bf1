//! Where requests are checked and carried out.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use spa_keys::UnixMillis;

use super::authorize::DenialReason;
use super::client_terms::ClientTerms;
use super::config_versions::ConfigVersions;
use super::enforcers::{Enforcers, PassedGrant, SettledGrant};
use super::enrol::KeyChanges;
use super::grant_limits::GrantLimits;
use super::hooks::{Hooks, warn_of_first_hooks};
use super::host_peers::read_host_peers;
use super::reply::{Outcome, send_outcome};
use crate::capture::host_addresses::HostAddresses;
use crate::capture::udp;
use crate::config::Config;
use crate::config::activated::Opened;
use crate::domain::grant::{ADMIN_NAME, Grant, GrantId};
use crate::domain::ports::PortRange;
use crate::firewall::reach::{Reach, ReachQuery};
use crate::firewall::{Firewall, FirewallError, Hide, Rules};
use crate::ipc::channel::{Channel, ChannelError};
use crate::ipc::message::{GrantRequest, ListenerOrder, Reply, Request, RequestError};
use crate::log::{self, Level};

/// Refusals that get a line of their own: a compromised listener must not fill the disk.
const MAX_REFUSAL_LINES: u32 = 100;

/// The firewall, and what may be asked of it.
pub(super) struct RequestHandler {
    /// The firewall that grants go into.
    pub(super) firewall: Box<dyn Firewall>,
    /// The configuration in force, and those that may follow it.
    pub(super) versions: ConfigVersions,
    /// Look of a closed port of this host, as far as that is known.
    pub(super) closed_ports: Option<Hide>,
    /// Look of hidden ports that the listener was last told.
    pub(super) told_hide: Option<Hide>,
    /// Services that may be hidden, as of the configuration in force.
    pub(super) opened: Opened,
    /// Where knocks come to at this moment.
    pub(super) knock: Vec<PortRange>,
    addresses: HostAddresses,
    /// Gateways and resolvers of this host.
    pub(super) host_peers: Vec<IpNet>,
    /// Set when the hidden services changed since the listener was last told.
    pub(super) news: bool,
    refusals: u32,
    /// Requests for new keys.
    pub(super) keys: KeyChanges,
    /// `None`: what an earlier run has opened is not known yet.
    limits: Option<GrantLimits>,
    /// `None`: there was no hook at the start.
    pub(super) hooks: Option<Hooks>,
    /// Enforcers that open for grants beside this host.
    pub(super) enforcers: Enforcers,
}

/// `?` on what the table says.
impl From<DenialReason> for RequestError {
    fn from(text: DenialReason) -> Self {
        Self::Refused(text)
    }
}

impl RequestHandler {
    /// A firewall that has no rules yet, and the configuration number 1.
    pub(super) fn new(
        mut firewall: Box<dyn Firewall>,
        addresses: HostAddresses,
        config: Config,
        clients: ClientTerms,
        hooks: Option<Hooks>,
        enforcers: Enforcers,
    ) -> Self {
        let opened = Opened::read(&config);
        // What cannot be read now is looked at again when it changes.
        let closed_ports = firewall.look_of_closed_ports(&config.rules(&[])).unwrap_or_default();
        let versions = ConfigVersions::new(config, clients);
        Self {
            firewall,
            closed_ports,
            told_hide: None,
            addresses,
            opened,
            knock: Vec::new(),
            host_peers: read_host_peers(),
            news: false,
            versions,
            refusals: 0,
            keys: KeyChanges::default(),
            limits: None,
            hooks,
            enforcers,
        }
    }

    /// Erases former keys whose time is over, when it is time to look.
    pub(super) fn erase_former(&mut self) {
        self.keys.erase_former(&self.versions.current.config);
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> &Config {
        &self.versions.current.config
    }

    /// The reload is over, whichever configuration is in force now.
    pub(super) fn settle_reload(&mut self) {
        if !self.hooks.as_ref().is_some_and(Hooks::is_on) {
            warn_of_first_hooks(self.config());
        }
        self.versions.forget_others();
        self.adopt_enforced();
    }

    /// Has the enforcers compared with what is open here, by the configuration in force.
    fn adopt_enforced(&mut self) {
        if self.enforcers.is_empty() {
            return;
        }
        match self.firewall.grants() {
            Ok(live) => self.enforcers.adopt_grants(live),
            Err(error) => {
                log::event(Level::Error, "enforcers-not-compared").with("error", error).emit();
            }
        }
    }

    /// Takes what the enforcers have said. Returns what the listener is to be told.
    pub(super) fn settle_enforced(&mut self) -> Vec<ListenerOrder> {
        let settled = self.enforcers.take_turn(&self.versions.current.config);
        settled
            .into_iter()
            .map(|settled| {
                let (ticket, outcome) = (settled.ticket, self.settle_grant(settled));
                ListenerOrder::Settled { ticket, outcome }
            })
            .collect()
    }

    /// A grant that is open everywhere takes its effects; another one is as it was before.
    fn settle_grant(&mut self, settled: SettledGrant) -> Result<(), RequestError> {
        let SettledGrant { id, grant, before, outcome, is_overtaken, .. } = settled;
        let error = match (outcome, grant) {
            (Ok(()), Some(grant)) => {
                self.note_in_force(&grant);
                return Ok(());
            }
            (Err(error), _) => error,
            (Ok(()), None) => "it was closed meanwhile".to_owned(),
        };
        if !is_overtaken {
            self.take_back(id, before);
        }
        Err(RequestError::Failed(error))
    }

    fn take_back(&mut self, id: GrantId, before: Option<PassedGrant>) {
        let left = before.as_ref().map(|held| held.end.saturating_duration_since(Instant::now()));
        let outcome = match (before, left) {
            (Some(before), Some(left)) => {
                let mut grant = before.grant.clone();
                // Whole seconds, as every grant's.
                grant.ttl = Duration::from_secs(left.as_secs().max(1));
                self.enforcers.reopen_grant(&self.versions.current.config, before);
                self.firewall.open(&grant)
            }
            // What was let in meanwhile ends as well.
            _ => {
                let closed = self.firewall.end(id).map(drop);
                self.enforcers.close_grant(id, true);
                self.note_closed(id);
                closed
            }
        };
        if let Err(error) = outcome {
            log::event(Level::Error, "not-taken-back")
                .with("grant", id)
                .with("error", error)
                .emit();
        }
    }

    /// Closes a grant; of a client that was removed the flows end as well, whatever the service
    /// says.
    fn close_grant(&mut self, id: GrantId) -> Result<Option<u64>, FirewallError> {
        let owner = self.grant_limits().owner(id);
        let removed = owner.is_some_and(|client| self.versions.is_revoked(&client));
        let used = if removed { self.firewall.end(id)? } else { self.firewall.close(id)? };
        self.enforcers.close_grant(id, removed);
        self.note_closed(id);
        Ok(used)
    }

    /// Compares the kernel with the configuration in force; the difference in words.
    pub(super) fn find_difference(&mut self) -> Option<String> {
        let rules = self.current_rules();
        self.firewall.difference(&rules).unwrap_or_else(|error| Some(error.to_string()))
    }

    /// Makes an earlier configuration be in force at once, whatever the listener has in mind, and
    /// reads it back. Answers its new number, and what is not as it should be.
    pub(super) fn restore_config(
        &mut self,
        config: Config,
        clients: ClientTerms,
        knock: Vec<PortRange>,
    ) -> (u64, Option<String>) {
        (self.opened, self.knock, self.news) = (self.opened.read_again(&config), knock, true);
        let number = self.versions.restore_config(config, clients);
        self.settle_reload();
        let rules = self.current_rules();
        let difference = match self.firewall.install(&rules) {
            Ok(()) => self.find_difference(),
            Err(error) => Some(error.to_string()),
        };
        (number, difference)
    }

    /// Hooks, if there are any, after they were told of grants whose time is over.
    pub(super) fn due_hooks(&mut self) -> Option<&mut Hooks> {
        let hooks = self.hooks.as_mut()?;
        hooks.end_expired(&self.versions.current.config);
        Some(hooks)
    }

    /// Goes on with what the firewall has left for later, between requests.
    pub(super) fn continue_work(&mut self) {
        if self.firewall.work_due().is_some_and(|due| due <= Instant::now())
            && let Err(error) = self.firewall.continue_work()
        {
            log::event(Level::Warn, "flows-not-ended").with("error", error).emit();
        }
    }

    /// Takes the request that waits at the channel and answers it.
    ///
    /// # Errors
    /// The listener is gone, does not read, or says what no listener of ours says.
    pub(super) fn serve_request(&mut self, channel: &Channel) -> Result<(), ChannelError> {
        // Files beside a request are nothing that we use: they are closed here.
        let (request, _files) = match channel.receive_now::<Request>() {
            Err(ChannelError::Late) => return Ok(()),
            other => other?,
        };
        match self.carry_out(request) {
            Ok(outcome) => send_outcome(channel, outcome)?,
            Err(error) => {
                if let RequestError::Refused(text) = &error {
                    self.log_refusal(text);
                }
                channel.send(&Reply::Failed(error), &[])?;
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, request: Request) -> Result<Outcome, RequestError> {
        if !matches!(request, Request::Install { .. }) {
            self.versions.forget_previous();
        }
        match request {
            Request::Install { config, knock } => self.install_rules(config, knock)?,
            Request::Open { grant, ends } => return self.open_grant(&grant, &ends),
            Request::Close(id) => {
                return Ok(Outcome::Closed(self.close_grant(id)?));
            }
            Request::InSequence { source, ttl } => {
                self.versions.current.check_sequence_mark(source, ttl)?;
                self.firewall.in_sequence(source, ttl)?;
            }
            Request::Ban { source, time } => {
                self.versions.current.check_ban(source, time)?;
                self.check_remote(source)?;
                self.firewall.ban(source, time)?;
            }
            Request::Unban { source } => self.firewall.unban(source)?,
            Request::NoteBan { source, time } => {
                self.versions.current.check_bait_ban(source, time)?;
                self.firewall.note_ban(source, time);
            }
            Request::Replace(asked) => {
                self.check_removed(&asked.client)?;
                self.keys.replace_keys(&asked, &self.versions.current)?
            }
            Request::Seen { client } => {
                self.keys.confirm_keys(&client, &self.versions.current.config)?
            }
            Request::Grants => return Ok(Outcome::Grants(self.firewall.grants()?)),
            Request::Bans => return Ok(Outcome::Bans(self.firewall.bans()?)),
            Request::Reach { service, source } => {
                let mut services = self.opened.questions(&self.versions.current.config);
                services.retain(|asked| asked.service == service);
                let query = ReachQuery { services, source, listeners: true };
                return Ok(Outcome::Reach(self.answer_reach(&query)?));
            }
            Request::Obstacles => return Ok(Outcome::Obstacles(self.firewall.obstacles()?)),
            Request::Bind { port, six } => {
                let current = &self.versions.current;
                current.check_bind(port).or_else(|_| self.versions.newest().check_bind(port))?;
                let socket = udp::bind((port, six)).map_err(|error| match error.kind() {
                    io::ErrorKind::AddrInUse => RequestError::Taken(error.to_string()),
                    _ => RequestError::Failed(error.to_string()),
                })?;
                return Ok(Outcome::Socket(socket));
            }
        }
        Ok(Outcome::Done)
    }

    /// Checks that an address is not this host's. An administrator, or a client that opens for
    /// another, may err.
    fn check_remote(&mut self, source: IpAddr) -> Result<(), RequestError> {
        self.addresses.follow_changes();
        if self.addresses.may_be_remote(source) {
            return Ok(());
        }
        Err(RequestError::Failed(format!("{source} is this host's own address, or a broadcast")))
    }

    fn check_removed(&self, client: &str) -> Result<(), RequestError> {
        if self.versions.is_revoked(client) {
            return Err(RequestError::TooLate(format!("client {client} was removed")));
        }
        Ok(())
    }

    fn open_grant(
        &mut self,
        asked: &GrantRequest,
        ends: &[GrantId],
    ) -> Result<Outcome, RequestError> {
        self.check_removed(&asked.client)?;
        let (grant, most) =
            self.versions.current.check_grant(asked, UnixMillis::now().as_millis())?;
        self.check_remote(grant.source)?;
        let config = &self.versions.current.config;
        self.enforcers.check_ready(config, &grant).map_err(RequestError::Failed)?;
        self.grant_limits().take_grant(&grant, ends, most)?;
        self.firewall.replace(&grant, ends)?;
        self.grant_limits().note_opened(&grant);
        let ticket = self.enforcers.open_grant(&self.versions.current.config, &grant);
        for id in ends {
            self.enforcers.close_grant(*id, true);
            self.note_closed(*id);
        }
        if let Some(ticket) = ticket {
            return Ok(Outcome::Waits(ticket));
        }
        self.note_in_force(&grant);
        Ok(Outcome::Done)
    }

    /// A grant is open everywhere.
    fn note_in_force(&mut self, grant: &Grant) {
        // What nobody has confirmed may be a copier's.
        if grant.provisional {
            return;
        }
        if let Some(hooks) = &mut self.hooks {
            hooks.note_opened(&self.versions.current.config, grant);
        }
        // What an administrator opens shows nothing about the clients.
        if *grant.client != *ADMIN_NAME {
            self.hide_service(&grant.service);
        }
    }

    fn note_closed(&mut self, id: GrantId) {
        if let Some(limits) = &mut self.limits {
            limits.note_closed(id);
        }
        if let Some(hooks) = &mut self.hooks {
            hooks.note_closed(&self.versions.current.config, id);
        }
    }

    fn grant_limits(&mut self) -> &mut GrantLimits {
        self.limits.get_or_insert_with(|| GrantLimits::adopt_grants(&[]))
    }

    fn install_rules(&mut self, config: u64, knock: Vec<PortRange>) -> Result<(), RequestError> {
        if config == self.versions.current.number {
            self.versions.current.check_knock_ports(&knock)?;
            self.firewall.install(&self.rules_of(&self.opened, self.config(), &knock))?;
            self.knock = knock;
            self.news = true;
            if self.limits.is_none() {
                self.limits = Some(GrantLimits::adopt_grants(&self.firewall.grants()?));
            }
            if let Some(hooks) = self.hooks.as_mut().filter(|hooks| hooks.is_new()) {
                let live = self.firewall.grants()?;
                hooks
                    .adopt_grants(&self.versions.current.config, live)
                    .map_err(|error| RequestError::Failed(error.to_string()))?;
            }
            if !self.enforcers.is_adopted() {
                self.adopt_enforced();
            }
            return Ok(());
        }
        let Some(version) = self.versions.find_installable(config) else {
            return Err(RequestError::Refused(format!(
                "configuration {config} is not one that may be installed"
            )));
        };
        version.check_knock_ports(&knock)?;
        let opened = self.opened.read_again(&version.config);
        self.firewall.install(&self.rules_of(&opened, &version.config, &knock))?;
        self.versions.activate(config);
        (self.knock, self.opened, self.news) = (knock, opened, true);
        Ok(())
    }

    /// The rules of the configuration in force.
    pub(super) fn current_rules(&self) -> Rules {
        self.rules_of(&self.opened, self.config(), &self.knock)
    }

    /// The rules of a configuration, with what this host cannot do without among those that are
    /// never banned.
    fn rules_of(&self, opened: &Opened, config: &Config, knock: &[PortRange]) -> Rules {
        let mut rules = opened.rules(config, knock);
        rules.never_ban.extend_from_slice(&self.host_peers);
        rules.hide = config.hide_beside(self.closed_ports);
        rules
    }

    /// A service that a client has opened is hidden from then on. Its grant is there already, so it
    /// stays open for it.
    fn hide_service(&mut self, service: &str) {
        if !self.opened.add(service) {
            return;
        }
        self.news = true;
        let rules = self.current_rules();
        if let Err(error) = self.firewall.install(&rules) {
            log::event(Level::Error, "not-hidden")
                .with("service", service)
                .with("error", error)
                .emit();
        }
    }

    /// Answers what reaches services under the rules in force.
    pub(super) fn answer_reach(&mut self, query: &ReachQuery) -> Result<Vec<Reach>, FirewallError> {
        let rules = self.rules_of(&self.opened, &self.versions.current.config, &self.knock);
        self.firewall.answer_reach(&rules, query)
    }

    fn log_refusal(&mut self, text: &str) {
        self.refusals = self.refusals.saturating_add(1);
        if self.refusals <= MAX_REFUSAL_LINES {
            log::event(Level::Error, "request-refused")
                .with("error", text)
                .with("cause", "the listener asked for what the configuration does not allow")
                .emit();
        }
    }
}
