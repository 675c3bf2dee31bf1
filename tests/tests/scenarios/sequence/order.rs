//! Order and times of the stages of one source.

use std::time::Duration;

use spa_proto::Request;
use spa_tests::need_namespaces;
use spa_tests::netns::lan;
use spa_tests::scene::{SSH, both, config};

use super::{Field, ORDERS, PORTS, let_pass};

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
