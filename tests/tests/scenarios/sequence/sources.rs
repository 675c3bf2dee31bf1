//! Stages from several sources, and packets of strangers between them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use spa_proto::{ACK_LEN, Ack, MIN_PACKET, Session, random};
use spa_tests::capture::Sniffer;
use spa_tests::knocker::Sender;
use spa_tests::need_namespaces;
use spa_tests::netns::{Host, lan};
use spa_tests::raw::Forger;
use spa_tests::scene::{PATIENCE, SSH, both, config};

use super::{Field, PORTS};

/// A session has one progress, wherever its stages come from: nobody without the keys can make one.
/// Who completes it has the door for a moment, who confirms his own address for the ttl.
#[test]
fn two_sources_add_up_for_a_moment_and_the_confirmed_one_stays() {
    need_namespaces!();
    let net = lan();
    let field = Field::new(&net, &config(60).set("sequence.reorder", "\"5s\""));
    both(|family| {
        let view = field.view(&net, family);
        let (home, away) = (view.home.source(), view.away.source());
        for (from_home, from_away) in [
            (&[0][..], &[1, 2][..]),
            (&[0, 1], &[2]),
            (&[0, 2], &[1]),
            (&[1], &[0, 2]),
            (&[1, 2], &[0]),
        ] {
            let what = format!("{family}: {from_home:?} from here, {from_away:?} from there");
            let session = view.unbound_session();
            let split = || {
                view.home.stages(&session, from_home);
                view.away.stages(&session, from_away);
            };
            assert_eq!(view.opened(split), (0, 0), "{what}");
            assert!(view.let_in().contains(&(away, true)), "{what}: {:?}", view.let_in());
            // The client hears from his own last stage where the server sees him, and says so.
            let confirmed = || {
                let (port, confirm) = field.laptop.confirm(&session, 1, home);
                view.away.send(port, &confirm);
                view.home.send(port, &confirm);
            };
            assert_eq!(view.opened(confirmed), (1, 0), "{what}");
            assert_eq!(view.let_in(), BTreeSet::from([(home, false)]), "{what}");
        }
        // A bound one never adds up, and the foreign stages do not hold up the client's own.
        let session = view.session();
        let split = || {
            view.home.stages(&session, &[0, 1]);
            view.away.stages(&session, &[2]);
        };
        assert_eq!(view.opened(split), (0, 0), "{family}: bound");
        assert_eq!(view.opened(|| view.home.all(&session)), (1, 0), "{family}: bound");
        assert_eq!(view.opened(|| view.away.all(&session)), (0, 0), "{family}: it opened before");
    });
}

/// Who is in between the stages of a client completes its session; not one that is bound.
#[test]
fn a_session_is_completed_by_whoever_is_first_or_by_the_bound_one() {
    need_namespaces!();
    let net = lan();
    let field = Field::new(&net, &config(60));
    both(|family| {
        let view = field.view(&net, family);
        let (home, away) = (view.home.source(), view.away.source());
        let overtaken = |session: &Session| {
            view.opened(|| {
                view.home.stage(session, 0);
                view.away.all(session);
                view.home.stages(session, &[1, 2]);
            })
        };
        let unbound = view.unbound_session();
        assert_eq!(overtaken(&unbound), (0, 0), "{family}: not bound, not confirmed");
        assert_eq!(view.let_in(), BTreeSet::from([(away, true)]), "{family}: not bound");
        // Both were told their addresses; the CONFIRM is the last word.
        for sender in [&view.home, &view.away] {
            // What came while the firewall worked is not answered before it comes again.
            sender.stage(&unbound, 2);
            let told = sender.ack(&unbound, PATIENCE).expect("an answer");
            assert_eq!((told.observed.ip(), told.provisional), (sender.source(), true), "{family}");
        }
        let (port, confirm) = field.laptop.confirm(&unbound, 1, home);
        assert_eq!(view.opened(|| view.home.send(port, &confirm)), (1, 0), "{family}");
        assert_eq!(view.let_in(), BTreeSet::from([(home, false)]), "{family}: confirmed");
        assert_eq!(overtaken(&view.session()), (1, 0), "{family}: bound");
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

/// A lost answer is given again, to each source its own, as often as it is asked for: a quota is
/// what copies would eat. It is shorter than what it answers, and opens nothing.
#[test]
fn a_repeated_last_stage_is_answered_to_its_source_and_opens_nothing() {
    need_namespaces!();
    let net = lan();
    let field = Field::new(&net, &config(60));
    both(|family| {
        let view = field.view(&net, family);
        let (home, away) = (view.home.source(), view.away.source());
        let sniffer = Sniffer::start(&net.server, Host::DEVICE);
        let repeat = |session: &Session| {
            view.home.all(session);
            // Until the grant stands there is no answer that could be repeated.
            assert!(view.home.ack(session, PATIENCE).is_some(), "{family}: no ack at all");
            (0..8).for_each(|_| view.away.stage(session, 2));
            (0..8).for_each(|_| view.home.stage(session, 2));
            (0..8).for_each(|_| view.home.all(session));
        };
        let answers = |session: &Session| {
            sniffer.catch_up(&net.server, Host::DEVICE);
            let said = sniffer.sent_by(net.server.address(family));
            let opened = said.into_iter().filter_map(|packet| {
                let payload = packet.udp_payload()?.to_vec();
                let (ack, _) = session.open_ack(&payload)?;
                Some((packet.target, payload.len(), ack))
            });
            opened.collect::<Vec<_>>()
        };
        let count = |answers: &[(IpAddr, usize, Ack)], to: IpAddr| {
            answers.iter().filter(|(target, ..)| *target == to).count()
        };

        let session = view.unbound_session();
        assert_eq!(view.opened(|| repeat(&session)), (0, 0), "{family}");
        assert_eq!(view.let_in(), BTreeSet::from([(home, true)]), "{family}: the first only");
        let told = answers(&session);
        assert_eq!((count(&told, home), count(&told, away)), (17, 8), "{family}: {told:?}");
        for (target, length, ack) in &told {
            assert_eq!((ack.observed.ip(), ack.number), (*target, 0), "{family}");
            assert!(*length == ACK_LEN && *length < MIN_PACKET, "{family}");
        }
        // Bound, the other source hears nothing.
        let session = view.session();
        assert_eq!(view.opened(|| repeat(&session)), (1, 0), "{family}: bound");
        let told = answers(&session);
        assert_eq!((count(&told, home), count(&told, away)), (17, 0), "{family}: {told:?}");
    });
}
