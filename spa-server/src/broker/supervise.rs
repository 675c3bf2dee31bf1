//! What systemd is told (sd_notify(3)).

use sd_notify::NotifyState;

fn tell(states: &[NotifyState<'_>]) {
    // Without systemd there is no socket, and that is no error.
    let _not_supervised = sd_notify::notify(states);
}

/// The start is over: the listener has capture, store and control, and the firewall is in place.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Both loops go round: told when the listener has said so, so a stuck one is killed.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// A reload begins; [`ready`] ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(time) => tell(&[NotifyState::Reloading, time]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// A clean stop begins.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}
