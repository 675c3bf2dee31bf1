//! Changes as the routing table shows them: for systems without rtnetlink.

use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::Duration;

use spa_keys::Failure;

use crate::address::find_source_address;

/// Time between two looks at the routing table.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Calls `notify` after every change, from a thread of its own.
pub(super) fn spawn_polling(
    targets: Vec<SocketAddr>,
    notify: impl Fn() -> bool + Send + 'static,
) -> Result<(), Failure> {
    let sources = move || -> Vec<Option<IpAddr>> {
        targets
            .iter()
            .map(|target| find_source_address(*target).ok().map(|source| source.ip()))
            .collect()
    };
    let watch = move || {
        let mut before = sources();
        loop {
            thread::sleep(POLL_INTERVAL);
            let now = sources();
            if now != before && !notify() {
                return;
            }
            before = now;
        }
    };
    thread::Builder::new().spawn(watch)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_is_said_while_nothing_changes() {
        let (events, heard) = std::sync::mpsc::channel();
        spawn_polling(vec!["127.0.0.1:1".parse().unwrap()], move || events.send(()).is_ok())
            .unwrap();
        assert!(heard.recv_timeout(POLL_INTERVAL * 3).is_err());
    }
}
