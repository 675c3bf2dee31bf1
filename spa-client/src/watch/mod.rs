//! Changes of our own addresses and routes.

#[cfg(all(target_os = "linux", feature = "linux"))]
mod netlink;
mod polling;

use std::net::SocketAddr;

use spa_keys::Failure;

/// Calls `notify` after every change until it returns false, from a thread of its own that ends
/// with the process.
pub(crate) fn watch_addresses(
    targets: Vec<SocketAddr>,
    notify: impl Fn() -> bool + Send + 'static,
) -> Result<(), Failure> {
    #[cfg(all(target_os = "linux", feature = "linux"))]
    match netlink::ChangeSocket::open_socket() {
        Ok(socket) => return socket.spawn_watch(notify),
        // A sandbox without netlink: then as on other systems.
        Err(error) => {
            spa_keys::note!(
                "spa-client: no notification of address changes ({error}); polling twice a second"
            )
        }
    }
    polling::spawn_polling(targets, notify)
}
