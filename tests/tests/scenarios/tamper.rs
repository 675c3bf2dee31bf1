//! Packets of a real session with one thing wrong: nothing opens, nobody answers, nobody falls
//! over.

use spa_proto::danger::remac;
use spa_proto::{CLIENT_PACKET, MAX_PACKET, MIN_PACKET, PairKeys, Session, Status};
use spa_tests::capture::Sniffer;
use spa_tests::knocker::{Knocker, Sender};
use spa_tests::netns::{Host, Lan, lan};
use spa_tests::scene::{PATIENCE, SSH, Scene, WEB, both, config};
use spa_tests::{Family, need_namespaces, nft};

const STAGES: usize = 3;
/// Sessions that one client begins here at most: below what the server grants a client at once, so
/// that every packet meets the check that it is made for and not the client's budget.
const PER_CLIENT: usize = 120;
/// Packets between two looks at whether the server has kept up: far fewer than its ring holds.
const AT_ONCE: usize = 240;

/// A server, many clients, and a sniffer that hears the server's every word.
struct Field {
    scene: Scene,
    marker: Knocker,
    knockers: Vec<Knocker>,
    sniffer: Sniffer,
}

impl Field {
    /// With this many clients per family.
    fn new(net: &Lan, clients: usize) -> Field {
        let names: Vec<String> =
            (0..2 * clients).map(|number| format!("device-{number}")).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.push("marker");
        let (scene, clients) =
            Scene::crowd(&net.server, &net.client, &config(60), &["ssh"], &names);
        scene.server.wait_fence();
        let mut knockers: Vec<Knocker> = clients.iter().map(Knocker::of).collect();
        let marker = knockers.pop().unwrap();
        let sniffer = Sniffer::start(&net.server, Host::DEVICE);
        Field { scene, marker, knockers, sniffer }
    }

    /// The family's share of the clients.
    fn knockers(&self, family: Family) -> &[Knocker] {
        let (v4, v6) = self.knockers.split_at(self.knockers.len() / 2);
        if family == Family::V4 { v4 } else { v6 }
    }

    fn sender(&self, family: Family) -> Sender {
        Sender::new(self.scene.client.host(), self.scene.server.host(), family)
    }

    /// Panics unless the server has said nothing and opened nothing. Returns its counts of packets.
    fn assert_nothing_happened(&self) -> serde_json::Value {
        let host = self.scene.server.host();
        self.sniffer.assert_silent(host, Host::DEVICE);
        let status = self.scene.server.status();
        assert_eq!(
            (&status["knocks"]["granted"], &status["grants"]),
            (&0.into(), &serde_json::json!([]))
        );
        let packets = &status["packets"];
        assert_eq!(
            (&packets["lost"], &packets["over-budget"]),
            (&0.into(), &0.into()),
            "packets were not looked at: {status}"
        );
        for set in ["grant4", "grant6", "all4", "all6", "live4", "live6"] {
            assert_eq!(nft::elements(host, "inet", "spa", set), Some(Vec::new()), "{set}");
        }
        for family in Family::BOTH {
            assert!(
                self.scene.is_hidden(family, SSH) && self.scene.is_hidden(family, WEB),
                "{family}"
            );
        }
        packets.clone()
    }

    /// Each of these sessions lacked nothing but the stage that was tampered with, and the daemon
    /// is well.
    fn assert_the_rest_was_right(&self, sessions: &[Vec<Session>; 2]) {
        for (family, sessions) in Family::BOTH.into_iter().zip(sessions) {
            let sender = self.sender(family);
            for session in sessions {
                sender.all(session);
                let ack = sender.ack(session, PATIENCE).map(|ack| ack.status);
                assert_eq!(
                    ack,
                    Some(Status::Granted),
                    "{family}: the true packets do not open either"
                );
            }
            self.scene.client.must_open("ssh", family, &[]);
            assert!(self.scene.is_open(family, SSH), "{family}");
        }
    }
}

/// Sends every session with each stage changed by `change` at each position, and returns one
/// session per stage.
fn sweep(
    field: &Field,
    family: Family,
    positions: std::ops::Range<usize>,
    knocker: impl Fn(usize, usize) -> usize,
    change: impl Fn(&Knocker, &mut [u8], usize),
) -> Vec<Session> {
    let (sender, knockers) = (field.sender(family), field.knockers(family));
    let mut last = Vec::new();
    for stage in 0..STAGES {
        for position in positions.clone() {
            let knocker = &knockers[knocker(stage, position)];
            let session = knocker.session("ssh");
            for (at, (port, packet)) in session.packets().iter().enumerate() {
                let mut packet = packet.clone();
                if at == stage {
                    change(knocker, &mut packet, position);
                }
                sender.send(*port, &packet);
            }
            if position % (AT_ONCE / STAGES) == 0 {
                field.marker.settle(&field.scene.server, &sender);
            }
            if position + 1 == positions.end {
                last.push(session);
            }
        }
    }
    field.marker.settle(&field.scene.server, &sender);
    last
}

/// In both families at once.
fn in_both<T: Send>(work: impl Fn(Family) -> T + Sync) -> [T; 2] {
    let results = std::sync::Mutex::new(Vec::new());
    both(|family| {
        let result = work(family);
        results.lock().unwrap().push((family.digit(), result));
    });
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(digit, _)| *digit);
    let results: Vec<T> = results.into_iter().map(|(_, result)| result).collect();
    results.try_into().unwrap_or_else(|_| panic!("two results"))
}

/// What a stranger on the path can do: he cannot make the mac right.
#[test]
fn every_byte_of_every_stage_flipped() {
    need_namespaces!();
    let net = lan();
    let count = STAGES * CLIENT_PACKET;
    let field = Field::new(&net, count.div_ceil(PER_CLIENT));
    let sessions = in_both(|family| {
        let knocker = |stage, position| (stage * CLIENT_PACKET + position) / PER_CLIENT;
        sweep(&field, family, 0..CLIENT_PACKET, knocker, |_, packet, at| {
            packet[at] ^= 1 << (at % 8)
        })
    });
    let packets = field.assert_nothing_happened();
    assert_eq!(packets["strangers"], 2 * count, "{packets}");
    field.assert_the_rest_was_right(&sessions);
}

/// What a thief of the pre-shared key can do: tag and mac are right, the rest is not.
#[test]
fn every_byte_flipped_under_a_right_mac() {
    need_namespaces!();
    /// Behind tag and mac.
    const BEGIN: usize = 16;
    /// Clients for each stage: a session with such a packet can cost two tokens of the budget.
    const CLIENTS: usize = 6;
    let net = lan();
    // Several clients a stage: all of these would be too much for one client's budget.
    let field = Field::new(&net, CLIENTS * STAGES);
    let sessions = in_both(|family| {
        let change = |knocker: &Knocker, packet: &mut [u8], at: usize| {
            packet[at] ^= 1 << (at % 8);
            let gate: &PairKeys = knocker.parts().pair;
            remac(gate, packet);
        };
        sweep(
            &field,
            family,
            BEGIN..CLIENT_PACKET,
            |stage, at| CLIENTS * stage + at % CLIENTS,
            change,
        )
    });
    let packets = field.assert_nothing_happened();
    assert_eq!(packets["strangers"], 0, "{packets}");
    let refused = ["not-authentic", "ignored"].map(|name| packets[name].as_u64().unwrap());
    let sent = 2 * STAGES * (CLIENT_PACKET - BEGIN);
    assert_eq!(refused.iter().sum::<u64>(), sent as u64, "{packets}");
    field.assert_the_rest_was_right(&sessions);
}

/// Every stage cut to every length and grown to every length, past what a packet may have and past
/// what a frame holds.
#[test]
fn every_length() {
    need_namespaces!();
    let net = lan();
    let field = Field::new(&net, 1);
    let sessions = in_both(|family| {
        let (sender, knocker) = (field.sender(family), &field.knockers(family)[0]);
        let sessions: Vec<Session> = (0..STAGES).map(|_| knocker.session("ssh")).collect();
        let short =
            (0..MIN_PACKET).flat_map(|length| (0..STAGES).map(move |stage| (stage, length)));
        let long = (MIN_PACKET..=MAX_PACKET)
            .filter(|length| *length != CLIENT_PACKET)
            .map(|length| (length % STAGES, length));
        // With the 28 or 48 bytes of headers: one below, at and above the common MTU, and in
        // several fragments.
        let longer = [MAX_PACKET + 1, 1300, 1451, 1452, 1453, 1471, 1472, 1473, 4000, 9000];
        let longer =
            longer.into_iter().flat_map(|length| (0..STAGES).map(move |stage| (stage, length)));
        for (number, (stage, length)) in short.chain(long).chain(longer).enumerate() {
            for (at, (port, packet)) in sessions[stage].packets().iter().enumerate() {
                let mut packet = packet.clone();
                if at == stage {
                    packet.resize(length, 0);
                }
                sender.send(*port, &packet);
            }
            if number % (AT_ONCE / STAGES) == 0 {
                field.marker.settle(&field.scene.server, &sender);
            }
        }
        field.marker.settle(&field.scene.server, &sender);
        sessions
    });
    let packets = field.assert_nothing_happened();
    // What cannot be a knock by its length does not even leave the kernel.
    assert_eq!(packets["strangers"], 2 * (MAX_PACKET - MIN_PACKET), "{packets}");
    field.assert_the_rest_was_right(&sessions);
}
