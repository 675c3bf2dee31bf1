//! Changes of our own addresses and routes.

#[cfg(all(target_os = "linux", feature = "linux"))]
mod netlink;
mod polling;

use std::net::SocketAddr;
use std::sync::mpsc::Sender;

use spa_keys::Failure;

/// Sends an event after every change, from a thread of its own that ends with the process.
pub(crate) fn watch_addresses<T: Send + 'static>(
    targets: Vec<SocketAddr>,
    events: Sender<T>,
    event: fn() -> T,
) -> Result<(), Failure> {
    #[cfg(all(target_os = "linux", feature = "linux"))]
    match netlink::ChangeSocket::open_socket() {
        Ok(watch) => return watch.spawn_watch(events, event),
        // A sandbox without netlink: then as on other systems.
        Err(error) => {
            spa_keys::note!(
                "spa-client: no word of address changes ({error}); looking twice a second"
            )
        }
    }
    polling::spawn_polling(targets, events, event)
}
