//! Signals that end `--hold`.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::sys::signal::{SigSet, Signal, raise};
use spa_keys::Failure;

/// Signals of Ctrl-C, of a terminal that closes, and of a service manager.
const STOP_SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGHUP, Signal::SIGTERM];

/// Function that gets the first signal.
type SignalCallback = Box<dyn FnOnce(Signal) + Send>;

/// Blocked signals, and the function that the first one goes to.
#[derive(Clone, Default)]
pub(crate) struct StopSignals(Arc<Mutex<Option<SignalCallback>>>);

impl StopSignals {
    /// Blocks the signals: from now on they come to a thread of their own, not to this one and
    /// those that it will make. They end the process as before while nobody listens.
    pub(crate) fn block_signals() -> Result<Self, Failure> {
        let set: SigSet = STOP_SIGNALS.into_iter().collect();
        set.thread_block().map_err(|error| {
            Failure::failed(format!(
                "cannot handle signals: \
            {error}"
            ))
        })?;
        let stop = Self::default();
        let listener = stop.clone();
        let listen = move || {
            while let Ok(signal) = set.wait() {
                match listener.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    Some(told) => told(signal),
                    // Nobody listens yet, or this is the second time: the user is in a hurry.
                    None => die_of_signal(signal),
                }
            }
        };
        thread::Builder::new().spawn(listen)?;
        Ok(stop)
    }

    /// Calls `told` with the next signal, instead of ending the process.
    pub(super) fn forward_next(&self, told: impl FnOnce(Signal) + Send + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(told));
    }
}

/// Ends the process as if nobody had held the signal back: whoever started us sees why.
pub(super) fn die_of_signal(signal: Signal) {
    let one: SigSet = [signal].into_iter().collect();
    let _ = one.thread_unblock();
    let _ = raise(signal);
}
