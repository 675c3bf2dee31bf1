//! The news channel to the broker: its orders, notices to it, and those at the control socket who
//! wait for its word.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::OwnedFd;

use tokio::sync::oneshot;

use super::readable::Readable;
use crate::control::Response;
use crate::ipc::channel::{Channel, ChannelError};
use crate::ipc::client::end_without_broker;
use crate::ipc::message::{ListenerOrder, Notice};
use crate::log::{self, Level};

/// Somebody at the control socket who waits for a response.
pub(super) type Asker = oneshot::Sender<Response>;

/// The broker, and who waits for it.
pub(super) struct BrokerLink {
    news: Readable<Channel>,
    /// Askers by the number that the broker knows them by.
    waiting: HashMap<u64, Asker>,
    /// Those who accept that no client is left.
    forcing: HashSet<u64>,
    last_asker: u64,
}

impl BrokerLink {
    /// Orders and notices go by this channel.
    pub(super) fn new(news: Channel) -> io::Result<Self> {
        let news = Readable::register(news)?;
        Ok(Self { news, waiting: HashMap::new(), forcing: HashSet::new(), last_asker: 0 })
    }

    /// Waits for an order and the files beside it. Ends the process when the broker is gone.
    pub(super) async fn next_order(&mut self) -> (ListenerOrder, Vec<OwnedFd>) {
        loop {
            let mut received = None;
            let taken = self.news.wait_readable().await.and_then(|()| {
                self.news.take_waiting(|news| match news.receive_now::<ListenerOrder>() {
                    Err(ChannelError::Late) => Ok(0),
                    other => {
                        received = Some(other);
                        Ok(1)
                    }
                })
            });
            match (taken, received) {
                (Err(error), _) => end_without_broker(&error.into()),
                (_, Some(Err(error))) => end_without_broker(&error),
                (_, Some(Ok(order))) => return order,
                (Ok(()), None) => {}
            }
        }
    }

    /// Tells the broker. One that has not read hundreds of notices hangs; its own end is systemd's
    /// business.
    pub(super) fn send_notice(&self, notice: &Notice) {
        if let Err(error) = self.news.get_ref().send_now(notice, &[]) {
            log::event(Level::Error, "broker-not-told").with("error", error).emit();
        }
    }

    /// Asks the broker for somebody who waits for its word.
    pub(super) fn ask_for(&mut self, asker: Asker, notice: impl FnOnce(u64) -> Notice) {
        self.last_asker += 1;
        self.waiting.insert(self.last_asker, asker);
        self.send_notice(&notice(self.last_asker));
    }

    /// Asks for a reload as [`BrokerLink::ask_for`], for somebody who accepts that no client is
    /// left.
    pub(super) fn ask_forced_reload(&mut self, asker: Asker, by: u32) {
        self.forcing.insert(self.last_asker + 1);
        self.ask_for(asker, |asker| Notice::Reload { asker, by });
    }

    /// Tells whether one of these askers accepts that no client is left.
    pub(super) fn any_forces(&self, askers: &[u64]) -> bool {
        askers.iter().any(|asker| self.forcing.contains(asker))
    }

    /// Takes those of these askers that still wait.
    pub(super) fn take_askers(&mut self, askers: &[u64]) -> Vec<Asker> {
        self.forcing.retain(|asker| !askers.contains(asker));
        askers.iter().filter_map(|asker| self.waiting.remove(asker)).collect()
    }

    /// Sends a response to those of these askers that still wait.
    pub(super) fn answer_askers(&mut self, askers: &[u64], response: &Response) {
        answer_all(self.take_askers(askers), response);
    }
}

/// Sends one response to all of them.
pub(super) fn answer_all(askers: Vec<Asker>, response: &Response) {
    for asker in askers {
        let _gone = asker.send(response.clone());
    }
}
