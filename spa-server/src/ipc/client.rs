//! The firewall as the listener has it: every operation is a request to the broker.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use socket2::Socket;
use spa_keys::{TextForm, exit};

use super::channel::{Channel, ChannelError};
use super::message::{self, Answer, Opens, Request, Trouble};
use crate::capture::udp::Binder;
use crate::domain::grant::{Grant, GrantId, Scope};
use crate::domain::ports::{PortRange, ProtoPorts, Protocol};
use crate::engine::{KeyReplacement, ReplaceKeysError};
use crate::firewall::{Ban, Firewall, FirewallError, LiveGrant, Obstacle, Rules};
use crate::log::{self, Level};

/// The longest that the broker may take. Putting back a full table of bans takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The listener's end of the requests. Its copies share the channel.
#[derive(Clone, Debug)]
pub struct Remote {
    channel: Arc<Mutex<Channel>>,
    config: Arc<AtomicU64>,
    name: &'static str,
}

impl Remote {
    /// Asks by this channel; `name` is the name of the backend behind it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(channel: Channel, name: &'static str) -> std::io::Result<Self> {
        channel.set_patience(PATIENCE)?;
        Ok(Self {
            channel: Arc::new(Mutex::new(channel)),
            config: Arc::new(AtomicU64::new(1)),
            name,
        })
    }

    /// From now on [`Firewall::install`] is about this configuration. Answers the number of the
    /// last one.
    pub fn select(&self, config: u64) -> u64 {
        self.config.swap(config, Ordering::Relaxed)
    }

    /// Bound sockets for capture `udp`, which cannot make any itself.
    #[must_use]
    pub fn binder(&self) -> Binder {
        let remote = self.clone();
        Box::new(move |(port, six)| {
            let (answer, files) = remote.exchange(&Request::Bind { port, six });
            match (answer, files.into_iter().next()) {
                (Answer::Socket(true), Some(socket)) => Ok(Some(Socket::from(socket))),
                (Answer::Socket(false), _) => Ok(None),
                (Answer::Failed(trouble), _) => {
                    let text = match trouble {
                        Trouble::Other(text) => text,
                        other => FirewallError::from(other).to_string(),
                    };
                    Err(std::io::Error::other(text))
                }
                _ => end(&ChannelError::Garbage("not what was asked for".to_owned())),
            }
        })
    }

    /// Makes new keys durable.
    pub(crate) fn replace(&self, keys: &KeyReplacement) -> Result<(), ReplaceKeysError> {
        let psk = keys.psk.to_text();
        let mut request = Request::Replace {
            invited: keys.invited,
            client: keys.client.to_string(),
            old: keys.old.to_text(),
            new: keys.new.to_text(),
            psk: psk.expose().to_owned(),
            evidence: keys.evidence.bytes().to_vec(),
        };
        let (answer, _) = self.exchange(&request);
        if let Request::Replace { psk, .. } = &mut request {
            zeroize::Zeroize::zeroize(psk);
        }
        match answer {
            Answer::Done => Ok(()),
            Answer::Failed(Trouble::Gone(text)) => Err(ReplaceKeysError::Refused(text)),
            Answer::Failed(Trouble::Refused(text)) => {
                Err(ReplaceKeysError::Refused(format!("the broker refuses: {text}")))
            }
            Answer::Failed(trouble) => {
                Err(ReplaceKeysError::Failed(FirewallError::from(trouble).to_string()))
            }
            _ => end(&ChannelError::Garbage("not what was asked for".to_owned())),
        }
    }

    /// A client has its new keys.
    pub(crate) fn seen(&self, client: &str) -> Result<(), FirewallError> {
        self.done(&Request::Seen { client: client.to_owned() })
    }

    /// Asks and hands every part of the answer to `part` until it says that none follows.
    fn ask(
        &self,
        request: &Request,
        part: &mut dyn FnMut(Answer) -> Option<bool>,
    ) -> Result<(), FirewallError> {
        let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        send(&channel, request);
        loop {
            let answer = match receive(&channel).0 {
                Answer::Failed(trouble) => return Err(trouble.into()),
                answer => answer,
            };
            match part(answer) {
                Some(true) => {}
                Some(false) => return Ok(()),
                None => end(&ChannelError::Garbage("not what was asked for".to_owned())),
            }
        }
    }

    fn exchange(&self, request: &Request) -> (Answer, Vec<OwnedFd>) {
        let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        send(&channel, request);
        receive(&channel)
    }

    fn done(&self, request: &Request) -> Result<(), FirewallError> {
        self.ask(request, &mut |answer| (answer == Answer::Done).then_some(false))
    }
}

fn send(channel: &Channel, request: &Request) {
    if let Err(error) = channel.send(request, &[]) {
        end(&error.into());
    }
}

fn receive(channel: &Channel) -> (Answer, Vec<OwnedFd>) {
    match channel.receive() {
        Ok(received) => received,
        Err(error) => end(&error),
    }
}

/// Without its broker a listener can open nothing and must not go on taking knocks: whoever watches
/// starts both anew.
pub(crate) fn end(error: &ChannelError) -> ! {
    log::event(Level::Error, "broker-gone").with("error", error).emit();
    std::process::exit(i32::from(exit::FAILURE));
}

impl Firewall for Remote {
    fn name(&self) -> &'static str {
        self.name
    }

    fn install(&mut self, rules: &Rules) -> Result<(), FirewallError> {
        let knock = rules.knock.iter().map(|range| (range.first, range.last)).collect();
        self.done(&Request::Install { config: self.config.load(Ordering::Relaxed), knock })
    }

    fn remove(&mut self) -> Result<(), FirewallError> {
        Err(FirewallError::Other(
            "the table is the broker's: it is not taken away while it runs".to_owned(),
        ))
    }

    fn open(&mut self, grant: &Grant) -> Result<(), FirewallError> {
        self.done(&Request::Open {
            id: grant.id.0,
            client: grant.client.to_string(),
            service: grant.service.to_string(),
            source: grant.source,
            prefix: grant.prefix,
            ttl: grant.ttl,
        })
    }

    fn close(&mut self, id: GrantId) -> Result<(), FirewallError> {
        self.done(&Request::Close { id: id.0 })
    }

    fn in_sequence(&mut self, source: IpAddr, ttl: Duration) -> Result<(), FirewallError> {
        self.done(&Request::InSequence { source, ttl })
    }

    fn grants(&mut self) -> Result<Vec<LiveGrant>, FirewallError> {
        let mut all = Vec::new();
        self.ask(&Request::Grants, &mut |answer| {
            let Answer::Grants(grants, more) = answer else { return None };
            all.extend(grants.into_iter().filter_map(live));
            Some(more)
        })?;
        Ok(all)
    }

    fn ban(&mut self, source: IpAddr, time: Duration) -> Result<(), FirewallError> {
        self.done(&Request::Ban { source, time })
    }

    fn unban(&mut self, source: IpAddr) -> Result<(), FirewallError> {
        self.done(&Request::Unban { source })
    }

    fn bans(&mut self) -> Result<Vec<Ban>, FirewallError> {
        let mut all = Vec::new();
        self.ask(&Request::Bans, &mut |answer| {
            let Answer::Bans(bans, more) = answer else { return None };
            let ban = |(address, prefix, left)| {
                Some(Ban { network: IpNet::new(address, prefix).ok()?, left })
            };
            all.extend(bans.into_iter().filter_map(ban));
            Some(more)
        })?;
        Ok(all)
    }

    fn obstacles(&mut self) -> Result<Vec<Obstacle>, FirewallError> {
        let mut all = Vec::new();
        self.ask(&Request::Obstacles, &mut |answer| {
            let Answer::Obstacles(obstacles, more) = answer else { return None };
            all.extend(obstacles.into_iter().map(|(chain, text)| Obstacle { chain, text }));
            Some(more)
        })?;
        Ok(all)
    }

    fn note_ban(&mut self, source: IpAddr, time: Duration) {
        // A ban that is not noted holds all the same, and is only not put back after a flush.
        if let Err(error) = self.done(&Request::NoteBan { source, time }) {
            log::event(Level::Warn, "firewall").with("error", error).emit();
        }
    }
}

fn live(grant: message::LiveGrant) -> Option<LiveGrant> {
    let ports = |(protocol, first, last)| {
        let protocol =
            [Protocol::Tcp, Protocol::Udp].into_iter().find(|known| known.number() == protocol)?;
        Some(ProtoPorts { protocol, range: PortRange { first, last } })
    };
    let scope = match grant.opens {
        Opens::All => Scope::All,
        Opens::Ports(list) => Scope::Ports(list.into_iter().map(ports).collect::<Option<_>>()?),
        Opens::Inside(list) => Scope::Inside(list.into_iter().map(ports).collect::<Option<_>>()?),
    };
    Some(LiveGrant {
        grant: Grant {
            id: GrantId(grant.id),
            client: grant.client.into(),
            service: grant.service.into(),
            source: grant.source,
            prefix: grant.prefix,
            scope,
            ttl: grant.ttl,
        },
        left: grant.left,
        used: grant.used,
    })
}
