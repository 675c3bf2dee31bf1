//! Stages as no honest network delivers them: what opens and what does not, by docs/protocol.md
//! sections 10 and 11.
//!
//! Every outcome is read from the log behind a marker knock, which the server handles after
//! everything sent before it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use spa_proto::{ACK_LEN, MIN_PACKET, Request, Session, random};
use spa_tests::capture::Sniffer;
use spa_tests::config::Config;
use spa_tests::knocker::{Knocker, Sender};
use spa_tests::netns::{Host, Lan, lan};
use spa_tests::raw::Forger;
use spa_tests::scene::{PATIENCE, SSH, Scene, both, config};
use spa_tests::{Family, need_namespaces, nft, wait_until};

const PORTS: [u16; 3] = [40001, 40002, 40003];
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// A server, the client whose sessions are tried, and one that marks how far the server has come.
struct Field {
    scene: Scene,
    laptop: Knocker,
    marker: Knocker,
}

/// One family's view of the field.
struct View<'a> {
    field: &'a Field,
    net: &'a Lan,
    family: Family,
    /// The client's own address.
    home: Sender,
    /// Another address, of the same host.
    away: Sender,
}

impl Field {
    fn new(net: &Lan, config: &Config) -> Field {
        for family in Family::BOTH {
            net.client.add_spare_address(away(family));
        }
        let (scene, others) = Scene::crowd(&net.server, &net.client, config, &["ssh"], &["marker"]);
        scene.server.wait_fence();
        let (laptop, marker) = (Knocker::of(&scene.client), Knocker::of(&others[0]));
        Field { scene, laptop, marker }
    }

    fn view<'a>(&'a self, net: &'a Lan, family: Family) -> View<'a> {
        let home = Sender::new(&net.client, &net.server, family);
        View {
            field: self,
            net,
            family,
            home,
            away: Sender::from(&net.client, away(family), &net.server),
        }
    }
}

impl View<'_> {
    fn session(&self) -> Session {
        self.field.laptop.session("ssh")
    }

    fn log(&self, source: &Sender, events: &[&str]) -> usize {
        let source = format!("source={} ", source.source());
        let ours = |line: &&String| line.contains("client=laptop ") && line.contains(&source);
        let lines = self.field.scene.server.log().lines();
        let named =
            |line: &String| events.iter().any(|event| line.contains(&format!("event={event} ")));
        lines.iter().filter(ours).filter(|line| named(line)).count()
    }

    /// How often `work` opened the door, for the client's own address and for the other one.
    fn opened(&self, work: impl FnOnce()) -> (usize, usize) {
        let count =
            || [&self.home, &self.away].map(|source| self.log(source, &["granted", "renewed"]));
        let before = count();
        work();
        self.field.marker.settle(&self.field.scene.server, &self.home);
        let after = count();
        (after[0] - before[0], after[1] - before[1])
    }

    /// The kernel's word for it that nothing has opened.
    fn assert_closed(&self) {
        let set = format!("grant{}", self.family.digit());
        let elements = nft::elements(&self.net.server, "inet", "spa", &set);
        assert_eq!(elements, Some(Vec::new()), "{}", self.family);
        assert!(self.field.scene.is_hidden(self.family, SSH), "{}", self.family);
    }
}

fn away(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(198, 51, 100, 11).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 0x11).into(),
    }
}

/// Time itself is what the server is to see go by.
fn let_pass(time: Duration) {
    let begun = Instant::now();
    assert!(wait_until(time + PATIENCE, || begun.elapsed() >= time));
}

#[test]
fn any_order_within_reorder_opens_once() {
    need_namespaces!();
    let net = lan();
    // The longest there is: a busy machine must not make a stage too early.
    let field = Field::new(&net, &config(60).set("sequence.reorder", "\"5s\""));
    both(|family| {
        let view = field.view(&net, family);
        for order in ORDERS {
            let session = view.session();
            assert_eq!(
                view.opened(|| view.home.stages(&session, &order)),
                (1, 0),
                "{family}, {order:?}"
            );
        }
        for order in
            [&[0, 0, 1, 1, 2, 2][..], &[2, 2, 1, 1, 0], &[0, 1, 0, 1, 2, 0, 1, 2], &[1, 0, 1, 0, 2]]
        {
            let session = view.session();
            assert_eq!(
                view.opened(|| view.home.stages(&session, order)),
                (1, 0),
                "{family}, {order:?}"
            );
        }
        assert!(field.scene.is_open(family, SSH), "{family}");
    });
}

#[test]
fn a_stage_that_came_too_early_opens_nothing_until_it_comes_again() {
    need_namespaces!();
    let net = lan();
    let reorder = Duration::from_millis(100);
    let field = Field::new(&net, &config(60).set("sequence.reorder", "\"100ms\""));
    both(|family| {
        let view = field.view(&net, family);
        let early = |first: &[usize], then: &[usize]| {
            let session = view.session();
            let opened = view.opened(|| {
                view.home.stages(&session, first);
                field.marker.settle(&field.scene.server, &view.home);
                let_pass(reorder * 2);
                view.home.stages(&session, then);
            });
            assert_eq!(opened, (0, 0), "{family}: {first:?} and much later {then:?}");
            session
        };
        let sessions = [
            early(&[1, 2], &[0]),
            early(&[2], &[0, 1]),
            early(&[2, 1], &[0]),
            early(&[1], &[0, 2]),
        ];
        view.assert_closed();
        // Nothing was lost by it: the client's resend of the same bytes opens.
        for session in sessions {
            assert_eq!(view.opened(|| view.home.all(&session)), (1, 0), "{family}");
        }
    });
}

#[test]
fn an_incomplete_or_misplaced_sequence_opens_nothing() {
    need_namespaces!();
    let net = lan();
    let field = Field::new(&net, &config(60).set("sequence.reorder", "\"5s\""));
    both(|family| {
        let view = field.view(&net, family);
        for stages in [
            &[0][..],
            &[1],
            &[2],
            &[0, 1],
            &[0, 2],
            &[1, 2],
            &[0, 0, 0],
            &[2, 2, 1, 1],
            &[0, 1, 1, 0],
        ] {
            let session = view.session();
            assert_eq!(
                view.opened(|| view.home.stages(&session, stages)),
                (0, 0),
                "{family}: {stages:?}"
            );
        }
        // Right bytes at each other's ports.
        for order in &ORDERS[1..] {
            let session = view.session();
            let misplaced = || {
                for ((_, packet), at) in session.packets().iter().zip(order) {
                    view.home.send(PORTS[*at], packet);
                }
            };
            assert_eq!(view.opened(misplaced), (0, 0), "{family}: to the ports {order:?}");
            // Made for those ports by somebody who has the key.
            let ports = order.map(|at| PORTS[at]);
            let session = field.laptop.session_with("ssh", |request| Request {
                service: request.service,
                ports: Box::leak(Box::new(ports)),
                ..request
            });
            assert_eq!(
                view.opened(|| view.home.all(&session)),
                (0, 0),
                "{family}: made for {ports:?}"
            );
        }
        // Two sessions do not add up to one.
        let (one, two) = (view.session(), view.session());
        let mixed = || {
            view.home.stage(&one, 0);
            view.home.stage(&two, 1);
            view.home.stage(&one, 2);
        };
        assert_eq!(view.opened(mixed), (0, 0), "{family}: stages of two sessions");
        view.assert_closed();
    });
    let packets = &field.scene.server.status()["packets"];
    // Of the three stages one or none is at home in five of the orders: 12 of 15 are misplaced, for
    // each way and family.
    assert_eq!(packets["wrong-port"], 2 * 2 * 12, "{packets}");
}

#[test]
fn two_sources_do_not_add_up() {
    need_namespaces!();
    let net = lan();
    let field = Field::new(&net, &config(60).set("sequence.reorder", "\"5s\""));
    both(|family| {
        let view = field.view(&net, family);
        let mut sessions = Vec::new();
        for (home, away) in [
            (&[0][..], &[1, 2][..]),
            (&[0, 1], &[2]),
            (&[0, 2], &[1]),
            (&[1], &[0, 2]),
            (&[1, 2], &[0]),
        ] {
            let session = view.session();
            let split = || {
                view.home.stages(&session, home);
                view.away.stages(&session, away);
            };
            let before = view.log(&view.away, &["other-source"]);
            assert_eq!(
                view.opened(split),
                (0, 0),
                "{family}: {home:?} from here, {away:?} from there"
            );
            let told = view.log(&view.away, &["other-source"]) - before;
            assert_eq!(told, 1, "{family}: the log tells of the other source, once");
            sessions.push(session);
        }
        view.assert_closed();
        // The foreign stages have not held up the client's own.
        for session in &sessions {
            assert_eq!(view.opened(|| view.home.all(session)), (1, 0), "{family}");
            assert_eq!(
                view.opened(|| view.away.all(session)),
                (0, 0),
                "{family}: it opened before"
            );
        }
    });
}

/// Each source has a progress of its own, and the first that is complete has the session; unless it
/// is bound to one.
#[test]
fn a_session_belongs_to_the_first_complete_source_or_to_the_bound_one() {
    need_namespaces!();
    let net = lan();
    let field = Field::new(&net, &config(60));
    both(|family| {
        let view = field.view(&net, family);
        let overtaken = |session: &Session| {
            view.opened(|| {
                view.home.stage(session, 0);
                view.away.all(session);
                view.home.stages(session, &[1, 2]);
            })
        };
        assert_eq!(overtaken(&view.session()), (0, 1), "{family}: not bound");
        let source = view.home.source();
        let bound = field
            .laptop
            .session_with("ssh", |request| Request { bind_src: Some(source), ..request });
        assert_eq!(overtaken(&bound), (1, 0), "{family}: bound");
    });
}

#[test]
fn a_late_stage_opens_nothing_ever() {
    need_namespaces!();
    let net = lan();
    let field = Field::new(&net, &config(60).set("sequence.timeout", "\"1s\""));
    both(|family| {
        let view = field.view(&net, family);
        for missing in [1, 2] {
            let session = view.session();
            let mark = field.scene.server.log().mark();
            let begun: Vec<usize> = (0..missing).collect();
            assert_eq!(view.opened(|| view.home.stages(&session, &begun)), (0, 0), "{family}");
            let source = format!("source={} ", view.home.source());
            field
                .scene
                .server
                .log()
                .wait_since(mark, &["event=timed-out", "client=laptop", &source]);
            assert_eq!(
                view.opened(|| view.home.stage(&session, missing)),
                (0, 0),
                "{family}: late"
            );
            assert_eq!(
                view.opened(|| view.home.all(&session)),
                (0, 0),
                "{family}: a spent session"
            );
        }
        view.assert_closed();
        assert_eq!(view.opened(|| view.home.all(&view.session())), (1, 0), "{family}: a fresh one");
    });
}

/// The time runs from stage to stage, not for the whole.
#[test]
fn a_slow_sequence_opens_when_each_stage_is_in_time() {
    need_namespaces!();
    let net = lan();
    let (timeout, pause) = (Duration::from_secs(3), Duration::from_millis(1600));
    assert!(2 * pause > timeout);
    let field = Field::new(&net, &config(60).set("sequence.timeout", "\"3s\""));
    both(|family| {
        let view = field.view(&net, family);
        let session = view.session();
        let slowly = || {
            for stage in 0..3 {
                if stage > 0 {
                    let_pass(pause);
                }
                view.home.stage(&session, stage);
            }
        };
        assert_eq!(view.opened(slowly), (1, 0), "{family}");
    });
}

/// Nothing that a stranger sends between the stages resets, completes or delays them.
#[test]
fn strangers_between_the_stages_change_nothing() {
    need_namespaces!();
    let net = lan();
    let field = Field::new(&net, &config(60));
    both(|family| {
        let view = field.view(&net, family);
        let (session, other) = (view.session(), view.session());
        let (forger, stranger) =
            (Forger::new(&net.stranger), Sender::new(&net.stranger, &net.server, family));
        let disturb = || {
            for (port, packet) in session.packets() {
                let noise: [u8; MIN_PACKET] = random().unwrap();
                // In the stranger's own name, and in the client's.
                let forged = |payload: &[u8]| {
                    let source: SocketAddr = net.client.at(family, 5353);
                    stranger.send(*port, payload);
                    forger.udp(source, net.server.at(family, *port), payload);
                };
                forged(&noise);
                forged(&[]);
                // A tag that was seen on the wire, around noise.
                let mut copied = noise;
                copied[..16].copy_from_slice(&packet[..16]);
                forged(&copied);
                // A packet that was seen on the wire, at another stage's port.
                let wrong =
                    PORTS[(PORTS.iter().position(|p| p == port).unwrap() + 1) % PORTS.len()];
                forger.udp(net.client.at(family, 5353), net.server.at(family, wrong), packet);
            }
            // Another session of the same client, never completed.
            view.home.stage(&other, 0);
        };
        let disturbed = || {
            for stage in 0..3 {
                disturb();
                view.home.stage(&session, stage);
            }
            disturb();
        };
        assert_eq!(view.opened(disturbed), (1, 0), "{family}");
        let seen = field.scene.seen(&net.stranger, family, SSH);
        assert_eq!(seen, spa_tests::probe::TcpProbe::Silent, "{family}");
    });
}

/// A lost ack is answered again, but nobody can make the server talk without end.
#[test]
fn a_repeated_last_stage_is_answered_three_times_more() {
    need_namespaces!();
    let net = lan();
    let field = Field::new(&net, &config(60));
    both(|family| {
        let view = field.view(&net, family);
        let sniffer = Sniffer::start(&net.server, Host::DEVICE);
        let session = view.session();
        let repeated = || {
            view.home.all(&session);
            // Until the grant stands there is no answer that could be repeated.
            assert!(view.home.ack(&session, PATIENCE).is_some(), "{family}: no ack at all");
            // Nobody else gets a copy, wherever the last stage comes from.
            (0..8).for_each(|_| view.away.stage(&session, 2));
            (0..8).for_each(|_| view.home.stage(&session, 2));
            (0..8).for_each(|_| view.home.all(&session));
        };
        assert_eq!(view.opened(repeated), (1, 0), "{family}");
        sniffer.catch_up(&net.server, Host::DEVICE);
        let said = sniffer.sent_by(net.server.address(family));
        let acks: Vec<&[u8]> = said.iter().filter_map(|packet| packet.udp_payload()).collect();
        assert_eq!(acks.len(), 4, "{family}: {said:?}");
        assert_eq!(BTreeSet::from_iter(&acks).len(), 1, "{family}: the same bytes");
        assert!(acks[0].len() == ACK_LEN && session.open_ack(acks[0]).is_some(), "{family}");
        assert!(
            said.iter().all(|packet| packet.target == view.home.source()),
            "{family}: {said:?}"
        );
    });
}
