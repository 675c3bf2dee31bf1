//! Askers at the control socket whose response waits for the broker.

use std::collections::{HashMap, HashSet};

use tokio::sync::oneshot;

use crate::control::Response;

/// Askers by the number that the broker knows them by.
#[derive(Default)]
pub(super) struct Askers {
    waiting: HashMap<u64, oneshot::Sender<Response>>,
    /// Those who accept that no client is left.
    forcing: HashSet<u64>,
    last: u64,
}

impl Askers {
    /// Keeps an asker. Returns its number.
    pub(super) fn add_asker(&mut self, asker: oneshot::Sender<Response>) -> u64 {
        self.last += 1;
        self.waiting.insert(self.last, asker);
        self.last
    }

    /// Keeps an asker who accepts that no client is left. Returns its number.
    pub(super) fn add_forcing(&mut self, asker: oneshot::Sender<Response>) -> u64 {
        let number = self.add_asker(asker);
        self.forcing.insert(number);
        number
    }

    /// Tells whether one of these askers accepts that no client is left.
    pub(super) fn any_forces(&self, askers: &[u64]) -> bool {
        askers.iter().any(|asker| self.forcing.contains(asker))
    }

    /// Sends a response to those of these askers that still wait.
    pub(super) fn answer_askers(&mut self, askers: &[u64], response: &Response) {
        for asker in askers.iter().filter_map(|asker| {
            self.forcing.remove(asker);
            self.waiting.remove(asker)
        }) {
            let _gone = asker.send(response.clone());
        }
    }
}
