//! A relay that also brings the client the answers that were meant for the relay, as an address
//! translator would.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

use spa_tests::need_namespaces;
use spa_tests::probe::{Held, hold};
use spa_tests::raw::{Forger, udp_socket_at};
use spa_tests::scene::both;
use spa_tests::tap::{Tap, outside};

use super::*;

/// The relay's own port.
const PORT: u16 = 4444;

/// The client is told the relay's address first and confirms it, since it cannot know better. Then
/// its own connections fail, it asks where else it was seen, and confirms that.
#[test]
fn a_relay_loses_the_door_when_the_client_confirms_its_own_address() {
    need_namespaces!();
    let house = House::new(|config| config);
    // What the relay gives to the client passes by the router's memory of connections.
    let mut rules = String::from("table inet relay { chain out {\n");
    rules.push_str("type filter hook output priority raw;\n");
    for (word, family) in ["ip", "ip6"].iter().zip(Family::BOTH) {
        let server = house.net.server.address(family);
        rules.push_str(&format!("{word} saddr {server} notrack;\n"));
    }
    nft::load(&house.net.router, &(rules + "}; }"));
    let held: Arc<Mutex<Vec<(Family, Held)>>> = Arc::default();
    let (stranger, server) = (house.net.stranger.clone(), house.net.server.clone());
    let sockets = Family::BOTH.map(|family| {
        let socket = udp_socket_at(&stranger, stranger.at(family, PORT));
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        Arc::new(socket)
    });
    let connections = Arc::clone(&held);
    let router = house.net.router.clone();
    let tap = Tap::start(&house.net, move |forger, caught| {
        let family = Family::of(caught.source.ip());
        let socket = &sockets[usize::from(family == Family::V6)];
        forger.udp(stranger.at(family, PORT), caught.target, &caught.payload);
        if caught.target.port() == 40003 {
            let answers = deliver(socket, &Forger::new(&router), caught.source);
            let mut held = connections.lock().unwrap();
            if answers > 0 && !held.iter().any(|(of, _)| *of == family) {
                held.push((family, hold(&stranger, server.at(family, SSH), PATIENCE)));
            }
        }
        forger.udp(caught.source, caught.target, &caught.payload);
    });
    both(|family| {
        house.scene.client.must_open("ssh", family, &[]);
        // He had it for the time, since the client has confirmed his address.
        let relay = house.net.stranger.address(family);
        let line = house.log_line("granted", relay);
        assert!(line.contains("ttl=60s"), "{line}");
        house.log_line("granted", outside(family));
        house.assert_let_in(family, outside(family));
    });
    drop(tap);
    let mut held = std::mem::take(&mut *held.lock().unwrap());
    assert_eq!(held.len(), 2, "the relay was let in over both families first");
    for (family, held) in &mut held {
        assert!(!held.is_alive(SILENCE), "{family}: the relay's connection goes on");
    }
}

/// Gives the client the answers to the relay's last datagram, as if they came from the server.
fn deliver(socket: &UdpSocket, forger: &Forger, client: SocketAddr) -> usize {
    let mut buffer = [0; 2048];
    let mut count = 0;
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        forger.udp(from, client, &buffer[..length]);
        count += 1;
        socket.set_read_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
    }
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    count
}
