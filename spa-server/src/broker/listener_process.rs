//! The listener as the broker's child: its channels, and its end.

use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use spa_keys::{Failure, exit};

use super::child::{describe_exit, own_program};
use super::files::ConfigFiles;
use crate::ipc::channel::{Channel, ChannelError, MAX_MESSAGE_BYTES};
use crate::ipc::ends::{BrokerChannels, LISTENER_COMMAND};
use crate::ipc::message::{ListenerOrder, Notice, Purpose, Refusal};
use crate::log::{self, Level};

/// Longest time for which the listener may be too busy to read a reply.
const LISTENER_SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time that a listener without channels may take to end.
const LISTENER_EXIT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time that it has to end when the server shall: to write what replays are known by.
const STOP_GRACE: Duration = Duration::from_secs(8);

/// The listener and the way to it.
pub(super) struct ListenerProcess {
    child: Child,
    channels: BrokerChannels,
    /// Set when the start is over.
    ready: bool,
    /// Set when a stop was ordered.
    stopping: bool,
    /// When it is killed if it does not obey the stop.
    stop_by: Option<Instant>,
    /// Reason of the listener for its end.
    failure: Option<Failure>,
}

impl ListenerProcess {
    /// Starts it; its ends are its standard input and output.
    pub(super) fn start(config: &Path) -> io::Result<Self> {
        let (requests, its_requests) = Channel::pair()?;
        let (news, its_news) = Channel::pair()?;
        let child = own_program(LISTENER_COMMAND)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::from(its_requests.into_fd()))
            .stdout(Stdio::from(its_news.into_fd()))
            // Readiness is the broker's to tell.
            .env_remove("NOTIFY_SOCKET")
            .env_remove("WATCHDOG_USEC")
            .env_remove("WATCHDOG_PID")
            .spawn()?;
        requests.set_timeout(LISTENER_SEND_TIMEOUT)?;
        let channels = BrokerChannels { requests, news };
        Ok(Self { child, channels, ready: false, stopping: false, stop_by: None, failure: None })
    }

    /// Channel of its requests.
    pub(super) fn requests(&self) -> &Channel {
        &self.channels.requests
    }

    /// Channel of orders and notices.
    pub(super) fn notices(&self) -> &Channel {
        &self.channels.news
    }

    /// Tells whether its start is over.
    pub(super) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Tells whether it serves: its start is over and it was not told to stop.
    pub(super) fn is_serving(&self) -> bool {
        self.ready && !self.stopping
    }

    /// Takes note that its start is over.
    pub(super) fn note_ready(&mut self) {
        self.ready = true;
    }

    /// Takes note of why it says that it cannot go on.
    pub(super) fn note_failure(&mut self, failure: Failure) {
        self.failure = Some(failure);
    }

    /// Orders a clean stop.
    pub(super) fn order_stop(&mut self) -> Result<(), Failure> {
        self.stopping = true;
        self.stop_by.get_or_insert_with(|| Instant::now() + STOP_GRACE);
        self.send_order(&ListenerOrder::Stop)
    }

    /// When it must have ended, once it was told to stop.
    pub(super) fn stop_by(&self) -> Option<Instant> {
        self.stop_by
    }

    /// Checks that it has not ignored the stop for too long.
    pub(super) fn check_stop_obeyed(&self) -> Result<(), Failure> {
        match self.stop_by {
            Some(end) if end <= Instant::now() => Err(Failure::failed(format!(
                "the listener did not end within {} s: it was killed",
                STOP_GRACE.as_secs()
            ))),
            _ => Ok(()),
        }
    }

    /// Sends an order. A listener that has not read hundreds of orders hangs, and is of no use.
    pub(super) fn send_order(&self, order: &ListenerOrder) -> Result<(), Failure> {
        match self.channels.news.send_now(order, &[]) {
            // It has ended, perhaps with orders unread: its last words come next.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                Ok(())
            }
            Err(error) => {
                Err(Failure::failed(format!("the listener does not take orders: {error}")))
            }
            Ok(()) => Ok(()),
        }
    }

    /// Sends files, to be read for this purpose.
    pub(super) fn send_files(
        &self,
        files: &ConfigFiles,
        number: u64,
        askers: Vec<u64>,
        purpose: Purpose,
    ) -> io::Result<()> {
        files.send_to_listener(&self.channels.news, number, askers, purpose)
    }

    /// Tells that a reload or a trial ends before it began.
    pub(super) fn send_refusal(&self, why: &Failure, askers: Vec<u64>) -> Result<(), Failure> {
        // Findings can be long; the whole of them is what `check` is for.
        let text = why.to_string().chars().take(MAX_MESSAGE_BYTES / 8).collect();
        self.send_order(&ListenerOrder::Refused {
            refusal: Refusal { code: why.code, text },
            askers,
        })
    }

    /// Takes a notice, if one waits.
    ///
    /// # Errors
    /// [`ChannelError::Late`]: none waits.
    pub(super) fn take_notice(&self) -> Result<Notice, ChannelError> {
        self.channels.news.receive_now::<Notice>().map(|(notice, _files)| notice)
    }

    /// Tells whether it has ended.
    pub(super) fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Waits for its end, which is brought about by force when it does not come in time, or at once
    /// with `force`. One that has only closed its ends is compromised, or hangs.
    pub(super) fn wait_for_end(
        &mut self,
        force: bool,
        signals: &SignalFd,
    ) -> io::Result<ExitStatus> {
        if force || !self.ends_soon(signals) {
            let _gone = self.child.kill();
        }
        self.child.wait()
    }

    fn ends_soon(&mut self, signals: &SignalFd) -> bool {
        let end = Instant::now() + LISTENER_EXIT_TIMEOUT;
        loop {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            if end <= Instant::now() {
                return false;
            }
            // The end of a child is a signal; others are of no interest any more.
            let _again =
                poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], time_until(end));
            while matches!(signals.read_signal(), Ok(Some(_))) {}
        }
    }

    /// Explains an end, `outcome` being the broker's own reason for it.
    pub(super) fn explain_end(
        self,
        outcome: Result<(), Failure>,
        status: ExitStatus,
    ) -> Result<(), Failure> {
        outcome?;
        match self.failure {
            Some(failure) => Err(failure),
            None if self.stopping && status.success() => Ok(()),
            None => {
                let how = describe_exit(status);
                log::event(Level::Error, "listener-ended")
                    .with("how", &how)
                    .with("grants", "end by the kernel's timers")
                    .emit();
                Err(Failure::failed(format!("the listener ended by itself: {how}")))
            }
        }
    }
}

/// Time until a moment, rounded up so that the moment has come when poll returns.
pub(super) fn time_until(moment: Instant) -> PollTimeout {
    let left = moment.saturating_duration_since(Instant::now());
    PollTimeout::from(u16::try_from(left.as_millis() + 1).unwrap_or(u16::MAX))
}

/// Reports what no listener of ours says: it is compromised, or broken.
pub(super) fn report_distrust(error: &ChannelError) -> Failure {
    log::event(Level::Error, "listener-distrusted").with("error", error).emit();
    Failure::new(exit::FAILURE, format!("the listener is stopped: {error}"))
}
