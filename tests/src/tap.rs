//! A man on the wire between a client and the router: he sees each of the client's knocks before
//! the server does, and sends what he likes before and after it.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::Family;
use crate::netns::{Host, Routed};
use crate::nft;
use crate::packet::Packet;
use crate::raw::{Forger, device_socket};

/// The knock ports of the tests' configuration.
const KNOCK_PORTS: [u16; 3] = [40001, 40002, 40003];
/// How often he looks whether he shall end.
const TICK: Duration = Duration::from_millis(5);

/// Datagram of the client on its way to a knock port.
pub struct Caught {
    /// The client, as it is on its own side of the router.
    pub source: SocketAddr,
    /// The server and the port of the stage.
    pub target: SocketAddr,
    /// Content.
    pub payload: Vec<u8>,
}

/// The router lets no knock of the client through by itself, until this is dropped; its thread
/// passes them on.
#[derive(Debug)]
pub struct Tap {
    router: Host,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tap {
    /// Passes on the client's knocks from now on, each through `handle`, which gets the socket that
    /// forges on the router and is to send the original itself.
    pub fn start(net: &Routed, mut handle: impl FnMut(&Forger, &Caught) + Send + 'static) -> Tap {
        // The knocks in front, so that the thread is the only way; the packets that it makes pass
        // the translator behind, as those of the client would.
        nft::load(
            &net.router,
            "table inet tap { chain forward { type filter hook forward priority filter - 10;
                iifname client udp dport { 40001, 40002, 40003 } drop; }; }",
        );
        let mut socket = device_socket(&net.router, "client");
        socket.set_read_timeout(Some(TICK)).expect("a timeout");
        let forger = Forger::new(&net.router);
        let gateway = client_side_address(&net.router);
        let servers = Family::BOTH.map(|family| net.server.address(family));
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            while !stopped.load(Ordering::Relaxed) {
                let Ok(length) = socket.read(&mut buffer) else { continue };
                // What the router sends to the client passes here too.
                if buffer[6..12] == gateway {
                    continue;
                }
                let Some(packet) = Packet::of_frame(&buffer[..length]) else { continue };
                let (Some((source, target)), Some(payload)) = (packet.ends(), packet.udp_payload())
                else {
                    continue;
                };
                if servers.contains(&target.ip()) && KNOCK_PORTS.contains(&target.port()) {
                    let payload = payload.to_vec();
                    handle(&forger, &Caught { source, target, payload });
                }
            }
        });
        Tap { router: net.router.clone(), stop, thread: Some(thread) }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        nft::load(&self.router, "delete table inet tap");
    }
}

/// Link-layer address of the router on the client's link.
fn client_side_address(router: &Host) -> [u8; 6] {
    router
        .run(|| crate::raw::link_address("client"))
        .and_then(|address| address.addr())
        .expect("the router's device to the client")
}

/// Addresses of the client behind an address translator.
pub fn inside(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([10, 77, 0, 10]),
        Family::V6 => IpAddr::from([0xfd77, 0, 0, 0, 0, 0, 0, 0x10]),
    }
}

/// Addresses that the server sees the client come from, behind the translator.
pub fn outside(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([192, 0, 2, 254]),
        Family::V6 => IpAddr::from([0x2001, 0xdb8, 1, 0, 0, 0, 0, 0xfe]),
    }
}

/// Puts the client behind an address translator: its own address is a private one, and the router
/// masquerades it.
pub fn translate(net: &Routed) {
    for family in Family::BOTH {
        let address = inside(family);
        net.client.add_address(address);
        let (switch, length, gateway) = match family {
            Family::V4 => ("-4", 32, "198.51.100.254"),
            Family::V6 => ("-6", 128, "2001:db8:c::fe"),
        };
        net.client
            .ip(&[&format!("{switch} route replace default via {gateway} dev eth0 src {address}")]);
        net.router.ip(&[&format!("{switch} route add {address}/{length} dev client")]);
        translate_to(net, family, "masquerade");
    }
}

/// Makes the translator do this with the client's new connections: `masquerade`, or `snat to
/// ADDRESS`.
pub fn translate_to(net: &Routed, family: Family, how: &str) {
    let name = if family == Family::V4 { "ip" } else { "ip6" };
    nft::load(
        &net.router,
        &format!(
            "table {name} translator {{ chain post \
             {{ type nat hook postrouting priority srcnat; }} \
            ; }}
            flush chain {name} translator post
            add rule {name} translator post {name} saddr {} {how}",
            inside(family)
        ),
    );
}
