//! A ban shuts a source out; it does not cut this host off from those whom it asks itself.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use spa_server::domain::ports::Protocol::{Tcp, Udp};
use spa_server::firewall::{Authenticated, Established, Firewall, Hide, Mode, Rules};

use crate::forward::{self, Site, behind, gateway};
use crate::namespace::{Host, ip, rules};
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
