//! The vectors of answers.

use std::net::SocketAddr;

use spa_proto::{
    Ack, HopKey, Reason, ServerKeys, ServerPublic, ServerSecret, ServerSession, Status, danger,
};

use super::session_fields::E;
use super::{Vector, edited};
use crate::support::{TS, World, counted, hex};

/// The ack of the worked example.
pub fn example_ack() -> Ack {
    Ack {
        status: Status::Granted,
        reason: Reason::None,
        ttl_s: 1800,
        server_ms: TS + 55,
        observed: SocketAddr::from(([203, 0, 113, 7], 51_820)),
        number: 0,
        provisional: true,
        rekey_wanted: false,
    }
}

/// The keys that the long ack of the worked example tells.
pub fn example_keys() -> ServerKeys {
    let secret = ServerSecret::from_bytes(counted(0xc0));
    ServerKeys { public: secret.public(), hop: Some(HopKey::of_server(&secret)) }
}

/// Every status with a reason that goes with it, then every reason.
pub fn answers() -> Vec<(Status, Reason)> {
    use Reason as R;
    let denied = [
        R::Service,
        R::Expired,
        R::Hours,
        R::From,
        R::Ttl,
        R::MaxGrants,
        R::Banned,
        R::Op,
        R::ForAddr,
        R::NewKeys,
        R::Kind,
    ]
    .map(|r| (Status::Denied, r));
    let busy = [R::Firewall, R::Store].map(|r| (Status::Busy, r));
    let stale = [R::Past, R::Future, R::Fence, R::Floor].map(|r| (Status::Stale, r));
    [(Status::Granted, R::None)].into_iter().chain(denied).chain(busy).chain(stale).collect()
}

/// What a vector expects of an ack that opens; what it tells of keys comes behind.
pub fn expected(ack: &Ack) -> String {
    let status = format!("{:?}", ack.status).to_lowercase();
    let word = |set: bool, word: &'static str| if set { word } else { "" };
    let flags = word(ack.provisional, " provisional").to_owned() + word(ack.rekey_wanted, " rekey");
    let (reason, number) = (ack.reason.word(), ack.number);
    format!(
        "{status} {reason} {} {} {} number {number}{flags}",
        ack.ttl_s, ack.server_ms, ack.observed
    )
}

/// Where the vectors go, and the session that all answer.
struct Acks {
    session: ServerSession,
    out: Vec<Vector>,
}

impl Acks {
    fn add(&mut self, name: &str, comment: &str, expect: &str, bytes: &[u8]) {
        self.out.push(
            Vector::new("ack", name, comment, expect)
                .secrets()
                .with("ephemeral", hex(counted(E)))
                .with("ack", hex(bytes)),
        );
    }

    fn good(&mut self, name: &str, comment: &str, ack: &Ack) {
        let bytes = self.session.seal_ack(ack, None);
        self.add(name, comment, &expected(ack), &bytes);
    }

    /// An authentic answer around the example's plaintext, some bytes replaced, and more behind it.
    fn around(&self, changes: &[(usize, u8)], more: &[u8]) -> Vec<u8> {
        let mut plain = danger::ack_plaintext(&example_ack(), false).to_vec();
        for (at, value) in changes {
            plain[*at] = *value;
        }
        plain.extend(more);
        danger::seal_ack_plaintext(&self.session, &plain)
    }

    fn bad(&mut self, name: &str, comment: &str, changes: &[(usize, u8)]) {
        let bytes = self.around(changes, &[]);
        self.add(name, comment, "refused", &bytes);
    }
}

/// Answers, most of them none.
pub fn vectors() -> Vec<Vector> {
    let session = World::fixed().server_session(counted(E));
    let mut acks = Acks { session, out: Vec::new() };
    statuses(&mut acks);
    numbers_and_flags(&mut acks);
    told_keys(&mut acks);
    contradictions(&mut acks);
    not_authentic(&mut acks);
    lengths(&mut acks);
    acks.out
}

fn statuses(acks: &mut Acks) {
    let v6 = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7], 443));
    for (at, (status, reason)) in answers().into_iter().enumerate() {
        let provisional = status == Status::Granted;
        let ack = Ack { status, reason, provisional, ..example_ack() };
        let name = format!("{}-{}", format!("{status:?}").to_lowercase(), reason.word());
        let family = if at % 2 == 0 { "v4" } else { "v6" };
        let observed = if at % 2 == 0 { ack.observed } else { v6 };
        acks.good(&format!("{name}-{family}"), "An answer.", &Ack { observed, ..ack });
    }
}

fn numbers_and_flags(acks: &mut Acks) {
    let kept = Ack { provisional: false, ..example_ack() };
    acks.good("kept", "The grant needs no CONFIRM.", &kept);
    acks.good("number-1", "The answer to the first CONFIRM.", &Ack { number: 1, ..kept });
    acks.good("number-8", "The answer to the last CONFIRM.", &Ack { number: 8, ..kept });
    acks.good("rekey", "New keys are wanted.", &Ack { rekey_wanted: true, ..example_ack() });
    let denied = Ack { status: Status::Denied, reason: Reason::From, ..kept };
    acks.good("number-2-denied", "A CONFIRM is refused.", &Ack { number: 2, ..denied });
    let later = acks.around(&[(31, 0xf1)], &[]);
    let comment = "Flag bits 4 to 7 are of a later version, and ignored.";
    acks.add("flags-later", comment, &expected(&example_ack()), &later);
    for number in [9, 10, 16, 128, 255] {
        acks.bad(&format!("number-{number}"), "No CONFIRM has this number.", &[(30, number)]);
    }
}

/// Whether a told key is usable is not the ack's matter: an unusable one is told all the same.
fn told_keys(acks: &mut Acks) {
    let keys = example_keys();
    let short = expected(&example_ack());
    let (public, hop) = (hex(keys.public.0), hex(*keys.hop.as_ref().unwrap().to_bytes()));
    let good = acks.session.seal_ack(&example_ack(), Some(&keys));
    let expect = format!("{short} key {public} hop {hop}");
    acks.add("keys", "The server's present keys.", &expect, &good);
    let fixed = ServerKeys { hop: None, ..keys.clone() };
    let bytes = acks.session.seal_ack(&example_ack(), Some(&fixed));
    let expect = format!("{short} key {public} hop none");
    acks.add("keys-no-hop", "Ports do not hop.", &expect, &bytes);
    for (name, comment, bytes) in [
        ("zeros", "No key at all: to be ignored, and the ack with it is good.", [0; 32]),
        ("small-order", "The point 1.", std::array::from_fn(|i| u8::from(i == 0))),
        ("not-canonical", "2^255 - 18, another name of the point 1.", {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (0xee, 0x7f);
            bytes
        }),
        ("top-bit", "The bit that the curve ignores is set.", {
            let mut bytes = keys.public.0;
            bytes[31] |= 0x80;
            bytes
        }),
        ("the-same", "The key that the session came by.", World::fixed().server_public.0),
    ] {
        let told = ServerKeys { public: ServerPublic(bytes), hop: None };
        let bytes = acks.session.seal_ack(&example_ack(), Some(&told));
        acks.add(&format!("keys-{name}"), comment, &format!("{short} key ignored"), &bytes);
    }
    for at in [0, 12, 42, 43, 44, 75, 76, 107, 108, 123] {
        let bad = edited(&good, |b| b[at] ^= 1);
        acks.add(&format!("keys-flipped-{at}"), "One bit changed.", "refused", &bad);
    }
    let told = keys.public.0.into_iter().chain(*keys.hop.as_ref().unwrap().to_bytes());
    let told: Vec<u8> = told.collect();
    let behind: Vec<(&str, &str, u8, &[u8])> = vec![
        ("bit-alone", "It says that keys follow, and none do.", 3, &[]),
        ("unsaid", "Keys follow, and it does not say so.", 1, &told),
        ("half", "Half of the keys.", 3, &told[..32]),
        ("one-less", "One byte less.", 3, &told[..63]),
        ("zeros-unsaid", "Zeros in the place of keys, unsaid.", 1, &[0; 64]),
    ];
    for (name, comment, flags, more) in behind {
        let bytes = acks.around(&[(31, flags)], more);
        acks.add(&format!("keys-{name}"), comment, "refused", &bytes);
    }
    let ciphertext: Vec<(&str, &str, u8, &[u8])> = vec![
        ("bit-alone", "It says that a ciphertext follows, and none does.", 5, &[]),
        ("unsaid", "A ciphertext follows, and it does not say so.", 1, &[1; 1088]),
        ("one-less", "One byte less.", 5, &[1; 1087]),
        ("one-more", "One byte more.", 5, &[1; 1089]),
        ("not-keys", "It says keys, and a ciphertext follows.", 3, &[1; 1088]),
        ("without-keys", "It says both, and one follows.", 7, &[1; 1088]),
    ];
    for (name, comment, flags, more) in ciphertext {
        let bytes = acks.around(&[(31, flags)], more);
        acks.add(&format!("ciphertext-{name}"), comment, "refused", &bytes);
    }
    acks.add("keys-cut", "The first 60 bytes of the long form.", "refused", &good[..60]);
    acks.add("keys-short", "123 bytes.", "refused", &good[..123]);
    acks.add("keys-long", "125 bytes.", "refused", &[&good[..], &[0]].concat());
}

/// Authentic, and says two things at once, or nothing of this version.
fn contradictions(acks: &mut Acks) {
    for (status, reason) in answers().into_iter().skip(1) {
        let word = reason.word();
        let code = reason as u8;
        let name = format!("granted-{word}");
        acks.bad(&name, "Granted, with the reason of a refusal.", &[(1, code)]);
        let number = status as u8;
        let name = format!("provisional-{word}");
        acks.bad(&name, "Refused, and provisional.", &[(0, number), (1, code)]);
    }
    for status in [Status::Denied, Status::Stale, Status::Busy] {
        let name = format!("{}-none", format!("{status:?}").to_lowercase());
        acks.bad(&name, "A refusal without a reason.", &[(0, status as u8), (31, 0)]);
    }
    for status in [4, 5, 128, 255] {
        acks.bad(&format!("status-{status}"), "No such status.", &[(0, status), (31, 0)]);
    }
    for reason in [18, 19, 128, 255] {
        let changes = [(0, 1), (1, reason), (31, 0)];
        acks.bad(&format!("reason-{reason}"), "No such reason.", &changes);
    }
}

fn not_authentic(acks: &mut Acks) {
    let good = acks.session.seal_ack(&example_ack(), None);
    for (name, at) in [
        ("nonce", 0),
        ("status", 12),
        ("reason", 13),
        ("ttl", 14),
        ("clock", 16),
        ("ip", 30),
        ("port", 40),
        ("number", 42),
        ("flags", 43),
        ("authenticator", 59),
    ] {
        let bad = edited(&good, |b| b[at] ^= 1);
        acks.add(&format!("flipped-{name}"), "One bit changed.", "refused", &bad);
    }
    let world = World::fixed();
    let other = world.server_session(counted(E + 1)).seal_ack(&example_ack(), None);
    acks.add("other-session", "The answer to another session.", "refused", &other);
    let confirm = danger::confirm_packet(&world.parts(), counted(E), 0, 2, &[0; 32]).unwrap();
    acks.add("confirm", "What a CONFIRM seals, 60 bytes.", "refused", &confirm[48..]);
}

fn lengths(acks: &mut Acks) {
    let good = acks.session.seal_ack(&example_ack(), None);
    acks.add("empty", "Nothing.", "refused", &[]);
    acks.add("nonce-alone", "12 bytes.", "refused", &good[..12]);
    acks.add("short", "59 bytes.", "refused", &good[..59]);
    acks.add("long", "61 bytes.", "refused", &edited(&good, |b| b.push(0)));
    for more in [1, 2, 16, 32, 62, 63, 65, 128, 1232 - 60] {
        let bytes = acks.around(&[], &vec![0; more]);
        let name = format!("authentic-{}", bytes.len());
        acks.add(&name, "Authentic, in a length that no answer has.", "refused", &bytes);
    }
}
