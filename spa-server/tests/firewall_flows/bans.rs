//! A ban shuts a source out; it does not cut this host off from those whom it asks itself.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};
use spa_server::domain::ports::Protocol::{Tcp, Udp};
use spa_server::firewall::{Authenticated, Established, Firewall, Hide, Mode, Rules};

use crate::forward::{self, Site, behind, gateway};
use crate::namespace::{Host, ip, rules, sh};
use crate::net::{FAMILIES, Net, PATIENCE, Seen, flow};

/// Asks a resolver there, which is banned before it answers; true when the answer arrives.
fn is_answered(asker: &Host, resolver: &Host, from: &str, at: &str, ban: impl FnOnce()) -> bool {
    let (from, at) = (SocketAddr::new(ip(from), 0), SocketAddr::new(ip(at), 53));
    let theirs = resolver.run(move || UdpSocket::bind(at).unwrap());
    let ours = asker.run(move || {
        let socket = UdpSocket::bind(from).unwrap();
        socket.connect(at).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send(b"query").unwrap();
        socket
    });
    theirs.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (_, back) = theirs.recv_from(&mut [0; 16]).unwrap();
    ban();
    theirs.send_to(b"answer", back).unwrap();
    ours.recv(&mut [0; 16]).is_ok()
}

#[test]
fn f9_a_ban_does_not_cut_the_answers_to_our_own_questions() {
    for mode in [Mode::Guard, Mode::Standalone] {
        for authenticated in [Authenticated::Pardon, Authenticated::Strict] {
            let net = Net::new(&Rules { mode, authenticated, ..rules() });
            for (server, source, _) in FAMILIES {
                let what = format!("{mode:?} {authenticated:?} {server}");
                let banned = ip(source);
                let ban = move |f: &mut spa_server::firewall::nftables::Nftables| {
                    f.ban(banned, Duration::from_secs(60)).unwrap();
                };
                let mut public = (mode == Mode::Guard).then(|| net.reach(Tcp, source, server, 80));
                let answered =
                    is_answered(&net.server, &net.client, server, source, || net.with(ban));
                assert!(answered, "{what}: the answer of a resolver that was banned");
                let listener = SocketAddr::new(banned, 8000);
                let listener = net.client.run(move || TcpListener::bind(listener).unwrap());
                let to = listener.local_addr().unwrap();
                let own = net.server.run(move || TcpStream::connect_timeout(&to, PATIENCE));
                assert!(own.is_ok(), "{what}: {own:?}");
                // It is shut out all the same, with new and with old connections.
                for (protocol, port) in [(Tcp, 22), (Tcp, 80), (Udp, 5000), (Udp, 5001)] {
                    let seen = net.flow(protocol, source, server, port).map(drop);
                    assert_eq!(seen, Err(Seen::Silent), "{what} {protocol}/{port}");
                }
                assert!(public.as_mut().is_none_or(|flow| !flow.alive()), "{what}: an old one");
                net.with(move |f| f.unban(banned).unwrap());
            }
        }
    }
}

#[test]
fn f9_nor_those_of_the_hosts_behind() {
    for forward in [vec![], vec![behind("tcp/443", None, Established::Drop)]] {
        let site = Site::new(&gateway(Hide::Drop, forward.clone()));
        for [router, inner, client, _] in forward::FAMILIES {
            let banned = ip(client);
            let ban = || {
                site.wall
                    .with(&site.router, move |f| f.ban(banned, Duration::from_secs(60)).unwrap())
            };
            let answered = is_answered(&site.inner, &site.client, inner, client, ban);
            assert!(answered, "{forward:?} {inner}");
            for to in [inner, router] {
                let seen = flow(&site.client, Tcp, client, to, 22).map(drop);
                assert_eq!(seen, Err(Seen::Silent), "{forward:?}: a banned source to {to}");
            }
            site.wall.with(&site.router, move |f| f.unban(banned).unwrap());
            assert!(flow(&site.client, Tcp, client, router, 22).is_ok(), "{router}");
        }
    }
}

/// One forged packet in the name of a router on the way: what that router says of too long packets
/// is still heard.
#[test]
fn f9_nor_what_the_routers_on_the_way_say() {
    for mode in [Mode::Guard, Mode::Standalone] {
        let net = Net::new(&Rules { mode, ..rules() });
        net.client.run(|| {
            sh("echo 1 > /proc/sys/net/ipv4/ip_forward");
            sh("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
            sh("ip link add narrow mtu 1280 type veth peer name end");
            sh("ip link set narrow up && ip link set end up");
            sh("ip addr add 198.51.100.1/24 dev narrow");
            sh("ip -6 addr add 2001:db8:9::1/64 dev narrow nodad");
        });
        let far = ["198.51.100.9", "2001:db8:9::9"];
        for ((server, router, _), far) in FAMILIES.into_iter().zip(far) {
            let narrow = net.server.run(move || {
                sh(&format!("ip route add {far} via {router}"));
                let socket = UdpSocket::bind((ip(server), 0)).unwrap();
                (socket, format!("ip route get {far}"))
            });
            net.with(move |f| f.ban(ip(router), Duration::from_secs(60)).unwrap());
            let (socket, route) = narrow;
            let start = Instant::now();
            while !net.server.run({
                let route = route.clone();
                move || sh(&route).contains("mtu 1280")
            }) {
                assert!(
                    start.elapsed() < Duration::from_secs(3),
                    "{mode:?}: {router} is not heard"
                );
                let _ = socket.send_to(&[0; 1400], (ip(far), 9));
            }
        }
    }
}

/// One neighbour touches a bait, and with it all of fe80::/64 is banned: the answers of a DHCPv6
/// server and the queries of a switch are heard all the same.
#[test]
fn f9_nor_what_keeps_ipv6_on_its_link() {
    for mode in [Mode::Guard, Mode::Standalone] {
        let net = Net::new(&Rules { mode, ..rules() });
        let own = net.server.run(link_local);
        let neighbour = net.client.run(link_local);
        net.with(move |f| f.ban(neighbour.into(), Duration::from_secs(60)).unwrap());
        let lease = net.server.run(move || UdpSocket::bind(("::", 546)).unwrap());
        lease.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        net.client.run(move || {
            let socket = UdpSocket::bind(("::", 547)).unwrap();
            socket.send_to(b"reply", SocketAddrV6::new(own, 546, 0, index_of("far1"))).unwrap();
        });
        assert!(lease.recv(&mut [0; 16]).is_ok(), "{mode:?}: DHCPv6");
        let queries = || sh("grep Icmp6InGroupMembQueries /proc/thread-self/net/snmp6");
        let before = net.server.run(queries);
        net.client.run(move || {
            let kind = (Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6));
            let socket = Socket::new(kind.0, kind.1, kind.2).unwrap();
            let query = [&[130u8, 0, 0, 0][..], &[0; 20]].concat();
            let to = SocketAddrV6::new(own, 0, 0, index_of("far1"));
            socket.send_to(&query, &to.into()).unwrap();
        });
        let start = Instant::now();
        while net.server.run(queries) == before {
            assert!(start.elapsed() < Duration::from_secs(3), "{mode:?}: MLD");
        }
        // Everything else of the neighbour is shut out.
        let open = net.client.run(move || {
            let to = SocketAddrV6::new(own, 80, 0, index_of("far1"));
            TcpStream::connect_timeout(&to.into(), PATIENCE)
        });
        assert!(open.is_err(), "{mode:?}");
    }
}

/// The link-local address of the calling thread's namespace.
fn link_local() -> Ipv6Addr {
    let text = sh("ip -6 -o addr show scope link");
    text.split_whitespace().nth(3).unwrap().split('/').next().unwrap().parse().unwrap()
}

fn index_of(device: &str) -> u32 {
    nix::net::if_::if_nametoindex(device).unwrap()
}
