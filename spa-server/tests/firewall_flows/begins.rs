//! What begins a connection is judged by the grants, whatever conntrack believes of it.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use spa_server::domain::ports::Protocol::{Tcp, Udp};
use spa_server::firewall::{Established, Firewall, Hide, Mode, Rules};

use crate::flood::finish_checksum;
use crate::forward::{self, Site, behind, gateway, inside};
use crate::namespace::{Host, grant, ip, load, rules, sh};
use crate::net::{FAMILIES, Net, PATIENCE, Seen};

/// Port of a service that resets each connection after its first byte.
const RESETTER: u16 = 23;
/// The client's own port, kept over its connections.
const FROM: u16 = 5555;
/// Attempts of the attacker for each ended grant.
const TRIES: usize = 4;

fn resetter(host: &Host) {
    host.run(|| {
        let listener = TcpListener::bind(("::", RESETTER)).unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0]);
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
        });
    });
}

/// Connects from a port of one's own.
fn connect_from(host: &Host, source: &str, port: u16, to: SocketAddr) -> Result<TcpStream, Seen> {
    let source = SocketAddr::new(ip(source), port);
    host.run(move || {
        let kind = socket2::Type::STREAM;
        let socket = socket2::Socket::new(socket2::Domain::for_address(to), kind, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.bind(&source.into()).unwrap();
        match socket.connect_timeout(&to.into(), PATIENCE) {
            Ok(()) => Ok(socket.into()),
            Err(e) if e.kind() == ErrorKind::ConnectionRefused => Err(Seen::Refused),
            Err(e) if e.kind() == ErrorKind::TimedOut => Err(Seen::Silent),
            Err(e) => panic!("{to}: {e}"),
        }
    })
}

/// Makes connections from one port, of which the service resets each, until one does not get
/// through; `close` runs within the first. Answers how many got through after it.
fn reconnects(host: &Host, source: &str, to: SocketAddr, close: impl FnOnce()) -> usize {
    // A first SYN may be lost while neighbours find each other.
    let first = (0..5).find_map(|_| connect_from(host, source, FROM, to).ok());
    let first = first.expect("the granted client gets through");
    close();
    end_by_reset(first);
    let again = || connect_from(host, source, FROM, to).ok().map(end_by_reset);
    (0..TRIES).map_while(|_| again()).count()
}

fn end_by_reset(mut stream: TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"x").unwrap();
    let ended = stream.read(&mut [0]).unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::ConnectionReset, "the service resets");
}

#[test]
fn f1_a_syn_is_never_established() {
    for mode in [Mode::Guard, Mode::Standalone] {
        for bound in ["", "tcp/23"] {
            let ports = |text: &str| text.parse().into_iter().collect();
            let net = Net::new(&Rules {
                mode,
                protected: ports("tcp/23"),
                bound: ports(bound),
                ..rules()
            });
            resetter(&net.server);
            for (server, source, _) in FAMILIES {
                let given = grant(1, source, "tcp/23", 600);
                net.with(move |f| f.open(&given).unwrap());
                let to = SocketAddr::new(ip(server), RESETTER);
                // With a bound port the reset itself would not get out after the end.
                let close = || {
                    net.with(|f| assert!(f.close(spa_server::domain::grant::GrantId(1)).is_ok()))
                };
                let again = if bound.is_empty() {
                    reconnects(&net.client, source, to, close)
                } else {
                    let again = reconnects(&net.client, source, to, || ());
                    assert_eq!(again, TRIES, "granted, {server}");
                    close();
                    usize::from(connect_from(&net.client, source, FROM, to).is_ok())
                };
                assert_eq!(
                    again, 0,
                    "{mode:?} {bound} {server}: of {TRIES} connections without a grant got in"
                );
            }
        }
    }
}

#[test]
fn f1_a_forwarded_syn_is_never_established() {
    for how in ["routed", "ours", "theirs"] {
        for [router, inner, client, _] in forward::FAMILIES {
            let end =
                if inner.contains(':') { format!("[{inner}]:23") } else { format!("{inner}:23") };
            let target = (how == "ours").then_some(end.as_str());
            let ports = if how == "routed" { "tcp/23" } else { "tcp/2323" };
            let site =
                Site::new(&gateway(Hide::Drop, vec![behind(ports, target, Established::Keep)]));
            resetter(&site.inner);
            if how == "theirs" {
                let family = if inner.contains(':') { "ip6" } else { "ip" };
                let text = format!(
                    "table inet engine {{ chain pre {{ type nat hook prerouting priority dstnat; \
                     tcp dport 2323 dnat {family} to {end}; }}\n}}\n"
                );
                site.router.run(move || load(&text));
            }
            let to = if how == "routed" { (inner, 23) } else { (router, 2323) };
            let to = SocketAddr::new(ip(to.0), to.1);
            site.open(inside(1, client, ports, 600));
            let again = reconnects(&site.client, client, to, || site.close(1));
            assert_eq!(again, 0, "{how} {inner}: of {TRIES} connections without a grant got in");
        }
    }
}

/// Somebody's helper for FTP, and a local program that names one of our ports.
#[test]
fn f2_related_opens_no_hidden_port() {
    for mode in [Mode::Guard, Mode::Standalone] {
        let net = Net::new(&Rules { mode, ..rules() });
        net.server.run(|| {
            load(
                "table inet helper { ct helper ftp { type \"ftp\" protocol tcp; }\nchain out { \
                 type filter hook output priority 0; tcp dport 21 ct helper set \"ftp\"; }\n}\n",
            );
        });
        for (server, stranger, _) in FAMILIES {
            let at = SocketAddr::new(ip(stranger), 21);
            let listener = net.client.run(move || TcpListener::bind(at).unwrap());
            let mut control = net.server.run(move || TcpStream::connect(at).unwrap());
            let mut peer = listener.accept().unwrap().0;
            // The helper reads what follows a line that it has seen.
            control.write_all(b"NOOP\r\n").unwrap();
            peer.read_exact(&mut [0; 6]).unwrap();
            control.write_all(port_command(ip(server), 22).as_bytes()).unwrap();
            let expected =
                || net.server.run(|| sh("cat /proc/thread-self/net/nf_conntrack_expect"));
            let start = std::time::Instant::now();
            while !expected().contains("dport=22") {
                assert!(start.elapsed() < Duration::from_secs(5), "no expectation, {server}");
            }
            let seen = net.flow(Tcp, stranger, server, 22).map(drop);
            assert_eq!(seen, Err(Seen::Silent), "{mode:?} {server}: the stranger's connection");
        }
    }
}

/// RFC 959 PORT, RFC 2428 EPRT.
fn port_command(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(a) => {
            let [a, b, c, d] = a.octets();
            format!("PORT {a},{b},{c},{d},{},{}\r\n", port >> 8, port & 0xff)
        }
        IpAddr::V6(a) => format!("EPRT |2|{a}|{port}|\r\n"),
    }
}

/// Somebody's NAT leads the hidden port to another one, where the service listens.
#[test]
fn f11_a_redirect_opens_no_hidden_port() {
    for mode in [Mode::Guard, Mode::Standalone] {
        let net = Net::new(&Rules { mode, ..rules() });
        net.server.run(|| {
            load(
                "table inet theirs { chain pre { type nat hook prerouting priority dstnat; tcp \
                 dport 22 redirect to :80; udp dport 5000 redirect to :5001; }\n}\n",
            );
        });
        for (server, client, stranger) in FAMILIES {
            let given = grant(1, client, "tcp/22,udp/5000", 600);
            net.with(move |f| f.open(&given).unwrap());
            for (protocol, port) in [(Tcp, 22), (Udp, 5000)] {
                let what = format!("{mode:?} {server} {protocol}/{port}");
                let seen = net.flow(protocol, stranger, server, port).map(drop);
                assert_eq!(seen, Err(Seen::Silent), "{what}: the stranger");
                assert!(net.flow(protocol, client, server, port).is_ok(), "{what}: the client");
            }
            let used = net.with(|f| f.grants().unwrap()[0].used);
            assert_eq!(used, Some(2), "{server}: counted as what they asked for");
            net.with(|f| f.close(spa_server::domain::grant::GrantId(1)).unwrap());
        }
    }
}

/// A listener that was taken over has packet sockets: it repeats a stranger's first packet on
/// loopback, and conntrack takes the stranger's own packets for a known flow from then on.
#[test]
fn f3_loopback_is_trusted_for_local_sources_only() {
    for (mode, interfaces, reverse_path) in [
        (Mode::Guard, vec![], 0),
        (Mode::Guard, vec![], 2),
        (Mode::Guard, vec!["near1".to_owned()], 0),
        (Mode::Standalone, vec![], 0),
        (Mode::Standalone, vec!["near1".to_owned()], 2),
    ] {
        let what = format!("{mode:?} {interfaces:?} rp_filter={reverse_path}");
        let net = Net::new(&Rules { mode, interfaces, ..rules() });
        net.server.run(move || {
            for name in ["all", "lo", "near1"] {
                sh(&format!("echo {reverse_path} > /proc/sys/net/ipv4/conf/{name}/rp_filter"));
            }
            std::thread::spawn(repeat_on_loopback(["near1", "lo"].map(packet_socket)));
        });
        for (server, stranger, _) in FAMILIES {
            for (protocol, port) in [(Tcp, 22), (Udp, 5000)] {
                let seen = net.flow(protocol, stranger, server, port).err();
                assert_eq!(seen, Some(Seen::Silent), "{what} {server} {protocol}");
            }
            // What is local stays so.
            for address in [server, if server.contains(':') { "::1" } else { "127.0.0.1" }] {
                let here = crate::net::flow(&net.server, Tcp, address, address, 22);
                assert!(here.is_ok(), "{what} from {address} to itself");
            }
        }
        net.server.run(|| {
            let own = sh("ip -6 -o addr show dev near1 scope link");
            let own: std::net::Ipv6Addr =
                own.split_whitespace().nth(3).unwrap().split('/').next().unwrap().parse().unwrap();
            let index = nix::net::if_::if_nametoindex("near1").unwrap();
            let to = std::net::SocketAddrV6::new(own, 22, 0, index).into();
            let open = TcpStream::connect_timeout(&to, PATIENCE);
            // Nothing tells it from a neighbour's: it asks for a grant like one.
            assert!(open.is_err(), "the host's own link-local address");
        });
    }
}

/// A packet socket at a device of the calling thread's namespace.
pub fn packet_socket(device: &str) -> socket2::Socket {
    use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, bind, socket};
    let (kind, flags) = (SockType::Raw, SockFlag::SOCK_CLOEXEC);
    let made = socket(AddressFamily::Packet, kind, flags, SockProtocol::EthAll).unwrap();
    let devices = nix::ifaddrs::getifaddrs().unwrap();
    let mut own = devices.filter(|entry| entry.interface_name == device);
    let address = own.find_map(|entry| Some(*entry.address?.as_link_addr()?)).unwrap();
    bind(std::os::fd::AsRawFd::as_raw_fd(&made), &address).unwrap();
    made.into()
}

/// Copies what comes from the stranger for a hidden port, as often as it comes.
fn repeat_on_loopback([cable, loopback]: [socket2::Socket; 2]) -> impl FnOnce() + Send {
    move || {
        let mut frame = [0; 2048];
        while let Ok(length) = Read::read(&mut &cable, &mut frame) {
            let frame = &mut frame[..length];
            let transport = if frame[12..14] == [0x08, 0] { 34 } else { 54 };
            let to = frame.get(transport + 2..transport + 4);
            if to == Some(&22u16.to_be_bytes()) || to == Some(&5000u16.to_be_bytes()) {
                frame[..12].fill(0);
                finish_checksum(frame, transport);
                let _ = loopback.send(frame);
            }
        }
    }
}
