//! Stages from several sources, and packets of strangers between them.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use spa_proto::{ACK_LEN, MIN_PACKET, Request, Session, random};
use spa_tests::capture::Sniffer;
use spa_tests::knocker::Sender;
use spa_tests::need_namespaces;
use spa_tests::netns::{Host, lan};
use spa_tests::raw::Forger;
use spa_tests::scene::{PATIENCE, SSH, both, config};

use super::{Field, PORTS};

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
