//! Where requests are checked and carried out.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use ipnet::IpNet;
use spa_keys::Failure;
use spa_proto::ServerPublic;

use super::authorize::{Authorization, DenialReason};
use super::client_terms::ClientTerms;
use super::enrol::{KeyChanges, unix_ms};
use super::grant_limits::GrantLimits;
use super::hooks::{Hooks, warn_of_first_hooks};
use super::host_peers::read_host_peers;
use crate::capture::host_addresses::HostAddresses;
use crate::capture::udp;
use crate::config::Config;
use crate::config::activated::Opened;
use crate::domain::grant::{ADMIN_NAME, GrantId};
use crate::domain::ports::PortRange;
use crate::firewall::{Ban, Firewall, FirewallError, Hide, LiveGrant, Obstacle, Rules};
use crate::ipc::channel::{Channel, ChannelError};
use crate::ipc::message::{GrantRequest, ListPage, Reply, Request, RequestError};
use crate::log::{self, Level};

/// Grants in one part of a list: each has up to 256 ports and two names, less than 2 KB.
const GRANTS_PER_PAGE: usize = 24;
/// Bans in one part of a list, 33 bytes each at most.
const BANS_PER_PAGE: usize = 1024;
/// Obstacles in one part of a list, and characters of each text.
const OBSTACLES_PER_PAGE: usize = 8;
const MAX_OBSTACLE_CHARS: usize = 1024;
/// Refusals that get a line of their own: a compromised listener must not fill the disk.
const MAX_REFUSAL_LINES: u32 = 100;

/// Removed clients that are remembered until a reload.
const MAX_REVOKED_CLIENTS: usize = 65_536;

/// The firewall, and what may be asked of it.
pub(super) struct RequestHandler {
    /// The firewall that grants go into.
    pub(super) firewall: Box<dyn Firewall>,
    /// The configuration in force.
    pub(super) current: Authorization,
    /// Read by the listener at this moment, and not yet in force.
    pending: Option<Authorization>,
    /// In force until a moment ago: the listener may go back to it when its capture cannot follow.
    previous: Option<Authorization>,
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
    /// Number of the newest configuration; none is given twice.
    last: u64,
    refusals: u32,
    keys: KeyChanges,
    /// `None`: what an earlier run has opened is not known yet.
    limits: Option<GrantLimits>,
    /// Clients that were removed while an older reading of their file is in force, or may come back
    /// into force; with the number of the newest configuration of that moment.
    revoked: BTreeMap<String, u64>,
    /// `None`: there was no hook at the start.
    hooks: Option<Hooks>,
}

/// Outcome of a request that was carried out.
enum Outcome {
    Done,
    Closed(Option<u64>),
    Grants(Vec<LiveGrant>),
    Bans(Vec<Ban>),
    Obstacles(Vec<Obstacle>),
    Socket(Option<socket2::Socket>),
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
    ) -> Self {
        let opened = Opened::read(&config);
        // What cannot be read now is looked at again when it changes.
        let closed_ports = firewall.look_of_closed_ports(&config.rules(&[])).unwrap_or_default();
        let current = Authorization { number: 1, config, clients };
        Self {
            firewall,
            closed_ports,
            told_hide: None,
            addresses,
            opened,
            knock: Vec::new(),
            host_peers: read_host_peers(),
            news: false,
            current,
            pending: None,
            previous: None,
            last: 1,
            refusals: 0,
            keys: KeyChanges::default(),
            limits: None,
            revoked: BTreeMap::new(),
            hooks,
        }
    }

    /// From now on requests for new keys are for the server with one of these keys.
    pub(super) fn set_servers(&mut self, servers: &[ServerPublic]) {
        self.keys.set_servers(servers);
    }

    /// Puts requests for new keys off, as during a trial, or takes them again.
    pub(super) fn keep_keys(&mut self, stay: bool) {
        self.keys.keep_keys(stay);
    }

    /// When former keys are to be erased.
    pub(super) fn next_erase(&self) -> Instant {
        self.keys.next_erase()
    }

    /// Erases former keys whose time is over, when it is time to look.
    pub(super) fn erase_former(&mut self) {
        self.keys.erase_former(&self.current.config);
    }

    /// Tells whether keys were replaced since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        self.keys.take_changed()
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> &Config {
        &self.current.config
    }

    /// Takes a new configuration; it comes into force when the listener asks for its rules. Answers
    /// its number.
    pub(super) fn propose_config(&mut self, config: Config, clients: ClientTerms) -> u64 {
        self.last += 1;
        self.pending = Some(Authorization { number: self.last, config, clients });
        self.last
    }

    /// The reload is over, whichever configuration is in force now.
    pub(super) fn settle_reload(&mut self) {
        if !self.hooks.as_ref().is_some_and(Hooks::is_on) {
            warn_of_first_hooks(&self.current.config);
        }
        self.pending = None;
        self.previous = None;
    }

    /// Shuts a client out that the administrator has removed, whatever configuration is in force or
    /// comes back by a rollback: nothing is granted any more, and what is closed of it ends with
    /// its flows.
    pub(super) fn revoke_client(&mut self, client: &str) -> Result<(), Failure> {
        if self.revoked.len() >= MAX_REVOKED_CLIENTS && !self.revoked.contains_key(client) {
            return Err(Failure::failed("too many clients were removed since the last reload"));
        }
        self.revoked.insert(client.to_owned(), self.last);
        Ok(())
    }

    /// Clients that were shut out.
    pub(super) fn list_revoked(&self) -> Vec<String> {
        self.revoked.keys().cloned().collect()
    }

    /// The clients' files were read anew, under this number, and are in force: who is there again
    /// is let in again.
    pub(super) fn forget_revoked(&mut self, number: u64) {
        let clients = &self.current.clients;
        self.revoked.retain(|name, at| *at >= number || clients.find_client(name).is_none());
    }

    /// Closes a grant; of a client that was removed the flows end as well, whatever the service
    /// says.
    fn close_grant(&mut self, id: GrantId) -> Result<Option<u64>, FirewallError> {
        let owner = self.grant_limits().owner(id);
        let removed = owner.is_some_and(|client| self.revoked.contains_key(&*client));
        let used = if removed { self.firewall.end(id)? } else { self.firewall.close(id)? };
        self.note_closed(id);
        Ok(used)
    }

    /// Number of the configuration in force.
    pub(super) fn config_number(&self) -> u64 {
        self.current.number
    }

    /// Grants that the clients of the configuration in force may have.
    pub(super) fn clients(&self) -> &ClientTerms {
        &self.current.clients
    }

    /// Where knocks come to at this moment.
    pub(super) fn knock_ports(&self) -> &[PortRange] {
        &self.knock
    }

    /// Compares the kernel with the configuration in force; the difference in words.
    pub(super) fn find_difference(&mut self) -> Option<String> {
        let rules = self.rules_of(&self.opened, &self.current.config, &self.knock);
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
        self.last += 1;
        (self.opened, self.knock, self.news) = (Opened::read(&config), knock, true);
        self.current = Authorization { number: self.last, config, clients };
        self.settle_reload();
        let rules = self.rules_of(&self.opened, &self.current.config, &self.knock);
        let difference = match self.firewall.install(&rules) {
            Ok(()) => self.find_difference(),
            Err(error) => Some(error.to_string()),
        };
        (self.last, difference)
    }

    /// Hooks, if there are any, after they were told of grants whose time is over.
    pub(super) fn due_hooks(&mut self) -> Option<&mut Hooks> {
        let hooks = self.hooks.as_mut()?;
        hooks.end_expired(&self.current.config);
        Some(hooks)
    }

    /// When a hook is due.
    pub(super) fn next_hook(&self) -> Option<Instant> {
        self.hooks.as_ref().and_then(Hooks::next_due)
    }

    /// Where the runner reports.
    pub(super) fn runner_fd(&self) -> Option<BorrowedFd<'_>> {
        self.hooks.as_ref().and_then(Hooks::report_fd)
    }

    /// Goes on with what the firewall has left for later, between requests.
    pub(super) fn continue_work(&mut self) {
        if self.firewall.work_due().is_some_and(|due| due <= Instant::now())
            && let Err(error) = self.firewall.continue_work()
        {
            log::event(Level::Warn, "flows-not-ended").with("error", error).emit();
        }
    }

    /// When there is something of that to do.
    pub(super) fn work_due(&self) -> Option<Instant> {
        self.firewall.work_due()
    }

    /// Puts the table back after a foreign hand.
    pub(super) fn restore_table(&mut self) -> Result<(), FirewallError> {
        self.firewall.restore()
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
            self.previous = None;
        }
        match request {
            Request::Install { config, knock } => self.install_rules(config, knock)?,
            Request::Open { grant, ends } => self.open_grant(&grant, &ends)?,
            Request::Close(id) => {
                return Ok(Outcome::Closed(self.close_grant(id)?));
            }
            Request::InSequence { source, ttl } => {
                self.current.check_sequence_mark(source, ttl)?;
                self.firewall.in_sequence(source, ttl)?;
            }
            Request::Ban { source, time } => {
                self.current.check_ban(source, time)?;
                self.check_remote(source)?;
                self.firewall.ban(source, time)?;
            }
            Request::Unban { source } => self.firewall.unban(source)?,
            Request::NoteBan { source, time } => {
                self.current.check_bait_ban(source, time)?;
                self.firewall.note_ban(source, time);
            }
            Request::Replace(asked) => self.keys.replace_keys(&asked, &self.current.config)?,
            Request::Seen { client } => self.keys.confirm_keys(&client, &self.current.config)?,
            Request::Grants => return Ok(Outcome::Grants(self.firewall.grants()?)),
            Request::Bans => return Ok(Outcome::Bans(self.firewall.bans()?)),
            Request::Obstacles => return Ok(Outcome::Obstacles(self.firewall.obstacles()?)),
            Request::Bind { port, six } => {
                let newest = self.pending.as_ref().unwrap_or(&self.current);
                self.current.check_bind(port).or_else(|_| newest.check_bind(port))?;
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

    fn open_grant(&mut self, asked: &GrantRequest, ends: &[GrantId]) -> Result<(), RequestError> {
        if self.revoked.contains_key(&*asked.client) {
            return Err(RequestError::TooLate(format!("client {} was removed", asked.client)));
        }
        let (grant, most) = self.current.check_grant(asked, unix_ms())?;
        self.check_remote(grant.source)?;
        self.grant_limits().take_grant(&grant, ends, most)?;
        self.firewall.replace(&grant, ends)?;
        self.grant_limits().note_opened(&grant);
        ends.iter().for_each(|id| self.note_closed(*id));
        // What nobody has confirmed may be a copier's.
        if grant.provisional {
            return Ok(());
        }
        if let Some(hooks) = &mut self.hooks {
            hooks.note_opened(&self.current.config, &grant);
        }
        // What an administrator opens shows nothing about the clients.
        if *grant.client != *ADMIN_NAME {
            self.hide_service(&grant.service);
        }
        Ok(())
    }

    fn note_closed(&mut self, id: GrantId) {
        if let Some(limits) = &mut self.limits {
            limits.note_closed(id);
        }
        if let Some(hooks) = &mut self.hooks {
            hooks.note_closed(&self.current.config, id);
        }
    }

    fn grant_limits(&mut self) -> &mut GrantLimits {
        self.limits.get_or_insert_with(|| GrantLimits::adopt_grants(&[]))
    }

    fn install_rules(&mut self, config: u64, knock: Vec<PortRange>) -> Result<(), RequestError> {
        if config == self.current.number {
            self.current.check_knock_ports(&knock)?;
            self.firewall.install(&self.rules_of(&self.opened, &self.current.config, &knock))?;
            self.knock = knock;
            self.news = true;
            if self.limits.is_none() {
                self.limits = Some(GrantLimits::adopt_grants(&self.firewall.grants()?));
            }
            if let Some(hooks) = self.hooks.as_mut().filter(|hooks| hooks.is_new()) {
                let live = self.firewall.grants()?;
                hooks
                    .adopt_grants(&self.current.config, live)
                    .map_err(|error| RequestError::Failed(error.to_string()))?;
            }
            return Ok(());
        }
        let is_pending = self.pending.as_ref().is_some_and(|table| table.number == config);
        let slot = if is_pending { &self.pending } else { &self.previous };
        let Some(table) = slot.clone().filter(|table| table.number == config) else {
            return Err(RequestError::Refused(format!(
                "configuration {config} is not one that may be installed"
            )));
        };
        table.check_knock_ports(&knock)?;
        let opened = Opened::read(&table.config);
        self.firewall.install(&self.rules_of(&opened, &table.config, &knock))?;
        *(if is_pending { &mut self.pending } else { &mut self.previous }) = None;
        (self.knock, self.opened, self.news) = (knock, opened, true);
        self.previous = Some(std::mem::replace(&mut self.current, table));
        Ok(())
    }

    /// The rules of a configuration, with what this host cannot do without among those that are
    /// never banned.
    pub(super) fn rules_of(&self, opened: &Opened, config: &Config, knock: &[PortRange]) -> Rules {
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
        let rules = self.rules_of(&self.opened, &self.current.config, &self.knock);
        if let Err(error) = self.firewall.install(&rules) {
            log::event(Level::Error, "not-hidden")
                .with("service", service)
                .with("error", error)
                .emit();
        }
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

fn send_outcome(channel: &Channel, outcome: Outcome) -> io::Result<()> {
    let plain: &[BorrowedFd<'_>] = &[];
    match outcome {
        Outcome::Done => channel.send(&Reply::Done, plain),
        Outcome::Closed(used) => channel.send(&Reply::Closed(used), plain),
        Outcome::Grants(grants) => send_pages(channel, GRANTS_PER_PAGE, grants, Reply::Grants),
        Outcome::Bans(bans) => send_pages(channel, BANS_PER_PAGE, bans, Reply::Bans),
        Outcome::Obstacles(mut obstacles) => {
            for Obstacle { chain, text, .. } in &mut obstacles {
                *chain = chain.chars().take(MAX_OBSTACLE_CHARS).collect();
                *text = text.chars().take(MAX_OBSTACLE_CHARS).collect();
            }
            send_pages(channel, OBSTACLES_PER_PAGE, obstacles, Reply::Obstacles)
        }
        Outcome::Socket(None) => channel.send(&Reply::Socket(false), plain),
        Outcome::Socket(Some(socket)) => channel.send(&Reply::Socket(true), &[socket.as_fd()]),
    }
}

/// Sends a list in pages of `size` rows; an empty list is one empty page.
fn send_pages<T>(
    channel: &Channel,
    size: usize,
    mut rows: Vec<T>,
    reply: fn(ListPage<T>) -> Reply,
) -> io::Result<()> {
    loop {
        let rest = rows.split_off(size.min(rows.len()));
        let more = !rest.is_empty();
        channel.send(&reply(ListPage { rows, more }), &[])?;
        if !more {
            return Ok(());
        }
        rows = rest;
    }
}
