//! Stages as no honest network delivers them: what opens and what does not, by docs/protocol.md
//! sections 10 and 11.
//!
//! Every outcome is read from the log behind a marker knock, which the server handles after
//! everything sent before it.

mod changed;
mod order;
mod sources;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use spa_proto::{Request, Session};
use spa_tests::config::Config;
use spa_tests::knocker::{Knocker, Sender};
use spa_tests::netns::Lan;
use spa_tests::nft::Element;
use spa_tests::scene::{PATIENCE, SSH, Scene};
use spa_tests::{Family, nft, wait_until};

/// Seconds that a grant lasts before it is confirmed.
const PROVISIONAL_S: u64 = 10;
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
    /// A knock bound to the client's own address: it opens for the ttl at once.
    fn session(&self) -> Session {
        let home = self.home.source();
        self.field.laptop.session_with("ssh", |request| Request { bind_src: Some(home), ..request })
    }

    /// A knock that any source may complete, and whose grant lasts where it is confirmed.
    fn unbound_session(&self) -> Session {
        self.field.laptop.session("ssh")
    }

    /// Addresses that the kernel lets in, and whether each is there for a moment only.
    fn let_in(&self) -> BTreeSet<(IpAddr, bool)> {
        let set = format!("grant{}", self.family.digit());
        let elements = nft::elements(&self.net.server, "inet", "spa", &set).expect("the set");
        let row = |element: &Element| {
            let short = element.timeout.is_some_and(|timeout| timeout <= PROVISIONAL_S);
            (element.key[0].parse().expect("an address"), short)
        };
        elements.iter().map(row).collect()
    }

    fn log(&self, source: &Sender, events: &[&str]) -> usize {
        let source = format!("source={} ", source.source());
        let ours = |line: &&String| line.contains("client=laptop ") && line.contains(&source);
        let lines = self.field.scene.server.log().lines();
        let named =
            |line: &String| events.iter().any(|event| line.contains(&format!("event={event} ")));
        lines.iter().filter(ours).filter(|line| named(line)).count()
    }

    /// Number of times that `work` opened the service, for the client's own address and for the
    /// other one.
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
