//! A client closes its grants without a pause, on a host whose connection tracking is full of other
//! people's flows: to end its own, all of them have to be looked at.

use std::net::{IpAddr, Ipv4Addr};

use nix::libc;
use spa_proto::Op;
use spa_server::firewall::netlink::NetlinkSocket;
use spa_server::firewall::netlink::message::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, single};
use spa_server::firewall::netlink::nla::Nla;
use spa_tests::need_namespaces;
use spa_tests::netns::lan;
use spa_tests::scene::{Scene, both};

use super::*;

/// Other people's flows.
const FLOWS: u32 = 120_000;
/// Grants that are opened and closed as fast as the client can send: within its budget.
const CLOSINGS: usize = 60;
/// `IPCTNL_MSG_CT_NEW` of ctnetlink, and what it is told of an entry
/// (linux/netfilter/nfnetlink_conntrack.h).
const NEW_ENTRY: u16 = 1 << 8;
const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const TIMEOUT: u16 = 7;

/// Writes one end-to-end tuple of a UDP flow.
fn put_tuple(n: &mut Nla, kind: u16, from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) {
    n.nest(kind, |n| {
        n.nest(1, |n| {
            n.put(1, &from.0.octets());
            n.put(2, &to.0.octets());
        });
        n.nest(2, |n| {
            n.put_u8(1, libc::IPPROTO_UDP as u8);
            n.put_u16(2, from.1);
            n.put_u16(3, to.1);
        });
    });
}

/// Makes that many entries.
fn fill_conntrack(host: &Host) {
    host.run(|| {
        let mut netlink = NetlinkSocket::open().unwrap();
        for number in 0..FLOWS {
            let from = (Ipv4Addr::from_bits(0x0a80_0000 + number), 5000);
            let to = (Ipv4Addr::new(10, 1, 1, 1), 53);
            let flags = NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK;
            let entry = single(NEW_ENTRY, flags, libc::AF_INET as u8, 0, |n| {
                put_tuple(n, TUPLE_ORIG, from, to);
                put_tuple(n, TUPLE_REPLY, to, from);
                n.put_u32(TIMEOUT, 3600);
            });
            netlink.request("an entry", &entry, &mut |_| ()).unwrap();
        }
        let count = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap();
        assert!(count.trim().parse::<u32>().unwrap() >= FLOWS, "{count}");
    });
}

/// Opens `ssh` for itself and closes it again, without waiting for answers.
fn open_and_close(knocker: &Knocker, sender: &Sender) {
    let bind_src: Option<IpAddr> = Some(sender.source());
    for op in [Op::Open, Op::Close] {
        let session = knocker.session_with("ssh", |request| Request {
            bind_src,
            want_ack: false,
            op,
            ..request
        });
        sender.all(&session);
    }
}

#[test]
fn b9_closing_with_a_full_conntrack_holds_up_nobody() {
    need_namespaces!();
    let net = lan();
    let config = Config::default()
        .service("ssh", "ports = [\"tcp/22\"]\nttl = \"60s\"\nestablished = \"drop\"");
    let (scene, others) = Scene::crowd(&net.server, &net.client, &config, &["ssh"], &["mallory"]);
    scene.server.wait_fence();
    fill_conntrack(&net.server);
    let mallory = Knocker::of(&others[0]);
    let sender = Sender::new(&net.client, &net.server, Family::V4);
    let closed = |least: usize| {
        let lines = scene.server.log().lines();
        let mut of = lines.iter().filter(|line| line.contains("event=closed"));
        of.by_ref().filter(|line| line.contains("client=mallory")).count() >= least
    };
    for _ in 0..CLOSINGS {
        open_and_close(&mallory, &sender);
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            // From here on as many as the budget lets through.
            while !stop.load(Ordering::Relaxed) {
                open_and_close(&mallory, &sender);
                thread::sleep(Duration::from_millis(100));
            }
        });
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            both(|family| {
                for _ in 0..5 {
                    scene.client.must_open("ssh", family, &[]);
                }
            });
        }));
        stop.store(true, Ordering::Relaxed);
        opened.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    assert!(spa_tests::wait_until(PATIENCE, || closed(CLOSINGS)), "{:?}", scene.server.log());
}
