//! The firewall as the listener has it: every operation is a request to the broker.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::Socket;
use spa_keys::{TextForm, exit};
use spa_proto::Psk;

use super::channel::{Channel, ChannelError, GarbageError};
use super::message::{GrantRequest, ListPage, ReplaceRequest, Reply, Request, RequestError};
use crate::capture::udp::Binder;
use crate::domain::grant::{Grant, GrantId};
use crate::engine::{KeyReplacement, ReplaceKeysError};
use crate::firewall::reach::Reach;
use crate::firewall::{Ban, Firewall, FirewallError, LiveGrant, Obstacle, Rules};
use crate::log::{self, Level};

/// The longest that the broker may take. Putting back a full table of bans takes a tenth of it.
const BROKER_REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// The listener's end of the requests. Its copies share the channel.
#[derive(Clone, Debug)]
pub struct BrokerClient {
    channel: Arc<Mutex<Channel>>,
    config: Arc<AtomicU64>,
    name: &'static str,
}

impl BrokerClient {
    /// Asks by this channel; `name` is the name of the backend behind it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(channel: Channel, name: &'static str) -> std::io::Result<Self> {
        channel.set_timeout(BROKER_REPLY_TIMEOUT)?;
        Ok(Self {
            channel: Arc::new(Mutex::new(channel)),
            config: Arc::new(AtomicU64::new(1)),
            name,
        })
    }

    /// From now on [`Firewall::install`] is about this configuration. Answers the number of the
    /// last one.
    pub fn select_config(&self, config: u64) -> u64 {
        self.config.swap(config, Ordering::Relaxed)
    }

    /// Bound sockets for capture `udp`, which cannot make any itself.
    #[must_use]
    pub fn make_binder(&self) -> Binder {
        let remote = self.clone();
        Box::new(move |(port, six)| {
            let (reply, files) = remote.exchange_messages(&Request::Bind { port, six });
            match (reply, files.into_iter().next()) {
                (Reply::Socket(true), Some(socket)) => Ok(Some(Socket::from(socket))),
                (Reply::Socket(false), _) => Ok(None),
                (Reply::Failed(RequestError::Taken(text)), _) => {
                    Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, text))
                }
                (Reply::Failed(RequestError::Failed(text)), _) => Err(std::io::Error::other(text)),
                (Reply::Failed(error), _) => Err(std::io::Error::other(FirewallError::from(error))),
                _ => end_at_wrong_reply(),
            }
        })
    }

    /// Makes new keys durable.
    pub(crate) fn replace_keys(&self, keys: &KeyReplacement) -> Result<(), ReplaceKeysError> {
        let request = Request::Replace(ReplaceRequest {
            invited: keys.invited,
            client: keys.client.to_string(),
            old: keys.old.to_text(),
            new: keys.new.to_text(),
            psk: keys.psk.to_text().expose().to_owned(),
            kem: keys
                .kem
                .as_ref()
                .map(|kem| Psk::from_bytes(*kem.to_bytes()).to_text().expose().to_owned()),
            evidence: keys.evidence.bytes().to_vec(),
        });
        match self.exchange_messages(&request).0 {
            Reply::Done => Ok(()),
            Reply::Failed(error @ (RequestError::TooLate(_) | RequestError::Refused(_))) => {
                Err(ReplaceKeysError::Refused(error.to_string()))
            }
            Reply::Failed(error) => {
                Err(ReplaceKeysError::Failed(FirewallError::from(error).to_string()))
            }
            _ => end_at_wrong_reply(),
        }
    }

    /// Opens or renews a grant, then ends others. Returns the number under which its outcome comes
    /// when enforcers have to open it as well.
    pub(crate) fn open_grant(
        &self,
        grant: &Grant,
        ends: &[GrantId],
    ) -> Result<Option<u64>, FirewallError> {
        let grant = GrantRequest {
            id: grant.id,
            client: Arc::clone(&grant.client),
            service: Arc::clone(&grant.service),
            source: grant.source,
            prefix: grant.prefix,
            ttl: grant.ttl,
            provisional: grant.provisional,
        };
        match self.exchange_messages(&Request::Open { grant, ends: ends.to_vec() }).0 {
            Reply::Done => Ok(None),
            Reply::Waits(ticket) => Ok(Some(ticket)),
            Reply::Failed(error) => Err(error.into()),
            _ => end_at_wrong_reply(),
        }
    }

    /// Tells that a client has its new keys.
    pub(crate) fn confirm_keys(&self, client: &str) -> Result<(), FirewallError> {
        self.request_done(&Request::Seen { client: client.to_owned() })
    }

    /// Answers what reaches a service, for this source or anybody.
    pub(crate) fn answer_reach_of(
        &self,
        service: &str,
        source: Option<IpAddr>,
    ) -> Result<Vec<Reach>, FirewallError> {
        let request = Request::Reach { service: service.to_owned(), source };
        self.request_list(&request, |reply| match reply {
            Reply::Reach(page) => Some(page),
            _ => None,
        })
    }

    fn exchange_messages(&self, request: &Request) -> (Reply, Vec<OwnedFd>) {
        let channel = self.lock_channel();
        send_or_end(&channel, request);
        receive_or_end(&channel)
    }

    /// Sends a request that is only done or not.
    fn request_done(&self, request: &Request) -> Result<(), FirewallError> {
        match self.exchange_messages(request).0 {
            Reply::Done => Ok(()),
            Reply::Failed(error) => Err(error.into()),
            _ => end_at_wrong_reply(),
        }
    }

    /// Sends a request for a list, and collects all its pages.
    fn request_list<T>(
        &self,
        request: &Request,
        page: fn(Reply) -> Option<ListPage<T>>,
    ) -> Result<Vec<T>, FirewallError> {
        let channel = self.lock_channel();
        send_or_end(&channel, request);
        let mut all = Vec::new();
        loop {
            let reply = match receive_or_end(&channel).0 {
                Reply::Failed(error) => return Err(error.into()),
                reply => reply,
            };
            let Some(ListPage { rows, more }) = page(reply) else { end_at_wrong_reply() };
            all.extend(rows);
            if !more {
                return Ok(all);
            }
        }
    }

    fn lock_channel(&self) -> MutexGuard<'_, Channel> {
        self.channel.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn send_or_end(channel: &Channel, request: &Request) {
    if let Err(error) = channel.send(request, &[]) {
        end_without_broker(&error.into());
    }
}

fn receive_or_end(channel: &Channel) -> (Reply, Vec<OwnedFd>) {
    match channel.receive() {
        Ok(received) => received,
        Err(error) => end_without_broker(&error),
    }
}

/// Without its broker a listener can open nothing and must not go on taking knocks: whoever watches
/// starts both anew.
pub(crate) fn end_without_broker(error: &ChannelError) -> ! {
    log::event(Level::Error, "broker-gone").with("error", error).emit();
    std::process::exit(i32::from(exit::FAILURE));
}

fn end_at_wrong_reply() -> ! {
    end_without_broker(&GarbageError::Unexpected.into())
}

impl Firewall for BrokerClient {
    fn name(&self) -> &'static str {
        self.name
    }

    fn install(&mut self, rules: &Rules) -> Result<(), FirewallError> {
        let config = self.config.load(Ordering::Relaxed);
        self.request_done(&Request::Install { config, knock: rules.knock.clone() })
    }

    fn remove(&mut self) -> Result<(), FirewallError> {
        Err(FirewallError::Other(
            "the table is the broker's: it is not removed while it runs".to_owned(),
        ))
    }

    fn open(&mut self, grant: &Grant) -> Result<(), FirewallError> {
        self.replace(grant, &[])
    }

    fn replace(&mut self, grant: &Grant, ends: &[GrantId]) -> Result<(), FirewallError> {
        // Who asks like this does not wait for enforcers.
        self.open_grant(grant, ends).map(drop)
    }

    fn close(&mut self, id: GrantId) -> Result<Option<u64>, FirewallError> {
        match self.exchange_messages(&Request::Close(id)).0 {
            Reply::Closed(used) => Ok(used),
            Reply::Failed(error) => Err(error.into()),
            _ => end_at_wrong_reply(),
        }
    }

    fn in_sequence(&mut self, source: IpAddr, ttl: Duration) -> Result<(), FirewallError> {
        self.request_done(&Request::InSequence { source, ttl })
    }

    fn grants(&mut self) -> Result<Vec<LiveGrant>, FirewallError> {
        self.request_list(&Request::Grants, |reply| match reply {
            Reply::Grants(page) => Some(page),
            _ => None,
        })
    }

    fn ban(&mut self, source: IpAddr, time: Duration) -> Result<(), FirewallError> {
        self.request_done(&Request::Ban { source, time })
    }

    fn unban(&mut self, source: IpAddr) -> Result<(), FirewallError> {
        self.request_done(&Request::Unban { source })
    }

    fn bans(&mut self) -> Result<Vec<Ban>, FirewallError> {
        self.request_list(&Request::Bans, |reply| match reply {
            Reply::Bans(page) => Some(page),
            _ => None,
        })
    }

    fn obstacles(&mut self) -> Result<Vec<Obstacle>, FirewallError> {
        self.request_list(&Request::Obstacles, |reply| match reply {
            Reply::Obstacles(page) => Some(page),
            _ => None,
        })
    }

    fn note_ban(&mut self, source: IpAddr, time: Duration) {
        // A ban that is not noted holds all the same, and is only not put back after a flush.
        if let Err(error) = self.request_done(&Request::NoteBan { source, time }) {
            log::event(Level::Warn, "firewall").with("error", error).emit();
        }
    }
}
