//! Reload: the files are opened and proposed, and what the listener has taken becomes what runs.

use std::io;

use spa_keys::Failure;

use super::files::ConfigFiles;
use super::{Broker, supervise};
use crate::ipc::channel;
use crate::ipc::message::{ListenerOrder, Purpose, Refusal};

impl Broker {
    /// Begins a reload that was asked for, when none is under way.
    pub(super) fn start_reload(&mut self) -> Result<(), Failure> {
        if self.reloading || !self.ready || self.stopping {
            return Ok(());
        }
        let Some(askers) = self.wanted.take() else { return Ok(()) };
        supervise::notify_reloading();
        match self.check_no_trial().and_then(|()| ConfigFiles::open_named(&self.path)) {
            Ok(opened) => {
                self.reloading = true;
                let number = self.handler.propose_config(opened.config.clone());
                self.send_files(&opened, number, askers)?;
                self.read = Some((number, opened));
                Ok(())
            }
            Err(failure) => {
                supervise::notify_ready();
                self.refuse_reload(&failure, askers)
            }
        }
    }

    /// Sends the files of a reload to the listener.
    pub(super) fn send_files(
        &self,
        opened: &ConfigFiles,
        number: u64,
        askers: Vec<u64>,
    ) -> io::Result<()> {
        opened.send_to_listener(&self.ends.news, number, askers, Purpose::Reload)
    }

    /// Nothing is changed.
    pub(super) fn refuse_reload(&self, failure: &Failure, askers: Vec<u64>) -> Result<(), Failure> {
        // Findings can be long; the whole of them is what `check` is for.
        let text = failure.to_string().chars().take(channel::MAX_MESSAGE_BYTES / 8).collect();
        let refusal = Refusal { code: failure.code, text };
        self.send_order(&ListenerOrder::Refused { refusal, askers })
    }

    /// The listener has read what it was sent.
    pub(super) fn finish_reload(&mut self, number: u64, done: bool) -> Result<(), Failure> {
        self.reloading = false;
        if self.trial_read(number, done)? {
            // Going back may have begun meanwhile, under another number.
            self.reloading = self.trial_reads();
        } else if let Some((_, opened)) = self.read.take().filter(|(read, _)| *read == number)
            && done
            && self.handler.config_number() == number
        {
            self.handler.set_servers(&opened.servers);
            self.running = opened;
            if self.back.take().is_some() {
                self.tell_trial()?;
            }
        }
        if !self.reloading {
            self.handler.settle_reload();
            supervise::notify_ready();
        }
        Ok(())
    }
}
