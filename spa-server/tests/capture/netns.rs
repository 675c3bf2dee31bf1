//! Two hosts as network namespaces on a veth pair: `server` 10.7.0.1 and fd07::1, `client` 10.7.0.2
//! and fd07::2.
#![allow(unsafe_code)]

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};
use socket2::{Domain, SockAddr, Socket, Type};

/// Link addresses without their last digit, which is the host's.
const MAC: &str = "02:00:00:00:07:0";

pub(crate) const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 7, 1];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 7, 2];

static COUNT: AtomicU32 = AtomicU32::new(0);

/// Both namespaces; deleted when dropped.
pub(crate) struct Pair {
    pub(crate) server: String,
    pub(crate) client: String,
}

impl Pair {
    /// Makes the namespaces. Needs root.
    pub(crate) fn new() -> Self {
        let id = format!("cap{}x{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let pair = Self { server: format!("{id}s"), client: format!("{id}c") };
        ip(&format!("netns add {}", pair.server));
        ip(&format!("netns add {}", pair.client));
        ip(&format!(
            "-n {} link add veth0 type veth peer name veth0 netns {}",
            pair.server, pair.client
        ));
        for (name, host, other) in [(&pair.server, 1, 2), (&pair.client, 2, 1)] {
            ip(&format!("-n {name} link set lo up"));
            ip(&format!("-n {name} link set veth0 address {MAC}{host}"));
            ip(&format!("-n {name} link set veth0 up"));
            ip(&format!("-n {name} address add 10.7.0.{host}/24 dev veth0"));
            // Without duplicate address detection the address is usable at once.
            ip(&format!("-n {name} address add fd07::{host}/64 dev veth0 nodad"));
            ip(&format!("-n {name} address add fe80::{host}/64 dev veth0 nodad"));
            for network in ["10.7.0.", "fd07::", "fe80::"] {
                ip(&format!("-n {name} neigh add {network}{other} lladdr {MAC}{other} dev veth0"));
            }
        }
        wait_until_up(&pair.server, "veth0");
        wait_until_up(&pair.client, "veth0");
        pair
    }

    pub(crate) fn in_server<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.server, work)
    }

    pub(crate) fn in_client<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&self.client, work)
    }

    /// Loads a ruleset on the server.
    #[allow(dead_code)]
    pub(crate) fn nft(&self, rules: &str) {
        let done = Command::new("ip").args(["netns", "exec", &self.server, "nft", rules]).status();
        assert!(done.expect("nft runs").success(), "nft refused {rules}");
    }

    /// Packets that the client's end could not hand over, because the server's queue was full.
    #[allow(dead_code)]
    pub(crate) fn wire_drops(&self) -> u64 {
        let words = ["-n", &self.client, "-s", "-j", "link", "show", "veth0"];
        let link = Command::new("ip").args(words).output().expect("iproute2 is installed").stdout;
        let link: serde_json::Value = serde_json::from_slice(&link).expect("JSON");
        link.pointer("/0/stats64/tx/dropped")
            .and_then(serde_json::Value::as_u64)
            .expect("a counter")
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        for name in [&self.server, &self.client] {
            let _ = Command::new("ip").args(["netns", "delete", name]).status();
        }
    }
}

/// Runs `work` on a thread of its own inside the namespace. Sockets made there stay there.
pub(crate) fn inside<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> T {
    let namespace = File::open(format!("/run/netns/{name}")).expect("namespace exists");
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            setns(namespace.as_fd(), CloneFlags::CLONE_NEWNET).expect("setns needs root");
            work()
        });
        match worker.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Waits until packets can leave by an interface, which the kernel arranges a little after it was
/// set up.
pub(crate) fn wait_until_up(name: &str, interface: &str) {
    for _ in 0..1000 {
        let words = ["-n", name, "link", "show", interface];
        let link = Command::new("ip").args(words).output().expect("iproute2 is installed");
        if String::from_utf8_lossy(&link.stdout).contains("state UP") {
            return;
        }
    }
    panic!("{interface} does not come up");
}

/// Runs `ip` with these words.
pub(crate) fn ip(words: &str) {
    let done = Command::new("ip").args(words.split(' ')).status().expect("iproute2 is installed");
    assert!(done.success(), "`ip {words}` failed: these tests need root and network namespaces");
}

/// Server address and a client address of one family, with these ports.
pub(crate) fn ends(six: bool, from: u16, to: u16) -> (SocketAddr, SocketAddr) {
    let (client, server) = if six { ("[fd07::2]", "[fd07::1]") } else { ("10.7.0.2", "10.7.0.1") };
    let parse = |host, port| format!("{host}:{port}").parse().expect("an address");
    (parse(client, from), parse(server, to))
}

/// A socket that sends whole Ethernet frames by `veth0` of the calling thread's namespace.
pub(crate) fn wire() -> Socket {
    let index = nix::net::if_::if_nametoindex("veth0").expect("veth0 exists");
    // Protocol 0: it receives nothing.
    let socket = Socket::new(Domain::PACKET, Type::RAW, None).expect("packet socket");
    // SAFETY: the storage is zeroed and holds a whole `sockaddr_ll`, whose fields are plain
    // numbers.
    let address = unsafe {
        SockAddr::try_init(|storage, length| {
            let address = &mut *storage.cast::<libc::sockaddr_ll>();
            address.sll_family = libc::AF_PACKET as u16;
            address.sll_ifindex = index as i32;
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })
    };
    socket.bind(&address.expect("an address").1).expect("bound to veth0");
    socket
}

/// An Ethernet frame from the client to this link address, with these tags (tag protocol, VLAN id).
pub(crate) fn frame(to: [u8; 6], tags: &[(u16, u16)], packet: &[u8]) -> Vec<u8> {
    let mut frame = [to, CLIENT_MAC].concat();
    for (protocol, id) in tags {
        frame.extend(protocol.to_be_bytes());
        frame.extend(id.to_be_bytes());
    }
    frame.extend(if packet.first().is_some_and(|b| b >> 4 == 4) {
        [0x08, 0x00]
    } else {
        [0x86, 0xdd]
    });
    frame.extend(packet);
    frame
}
