//! State notifications to systemd (sd_notify(3)).

use sd_notify::NotifyState;

fn notify_systemd(states: &[NotifyState<'_>]) {
    // Without systemd there is no socket, and that is no error.
    let _not_supervised = sd_notify::notify(states);
}

/// The start is over: the listener has capture, store and control, and the firewall is in place.
pub(super) fn notify_ready() {
    notify_systemd(&[NotifyState::Ready]);
}

/// Both loops go round: told when the listener has said so, so a stuck one is killed.
pub(super) fn notify_alive() {
    notify_systemd(&[NotifyState::Watchdog]);
}

/// A reload begins; [`ready`] ends it.
pub(super) fn notify_reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(time) => notify_systemd(&[NotifyState::Reloading, time]),
        Err(_) => notify_systemd(&[NotifyState::Reloading]),
    }
}

/// A clean stop begins.
pub(super) fn notify_stopping() {
    notify_systemd(&[NotifyState::Stopping]);
}
