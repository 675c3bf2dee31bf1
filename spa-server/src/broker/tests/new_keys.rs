//! New keys: what a compromised listener cannot make of an invitation or a client, and what an
//! honest one can.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use spa_keys::TextForm;
use spa_proto::{
    ClientSecret, Context, InvitationSecret, NewKeys, Op, PairKeys, Psk, ServerSecret,
    ServerSession, Session, SessionParts, TagKey, epoch_of,
};

use super::*;
use crate::config::clients::{NewClient, add_invitation, enrolled_file};
use crate::config::{Secret, Surroundings};
use crate::ipc::message::ReplaceRequest;

const PORT: u16 = 7001;

fn folder() -> PathBuf {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("spa-broker-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn server() -> ServerSecret {
    ServerSecret::from_bytes([9; 32])
}

fn now_ms() -> u64 {
    u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// A broker that knows the invitation of `phone`.
struct Scene {
    pair: Pair,
    file: PathBuf,
    invitation: InvitationSecret,
    device: ClientSecret,
    /// Whose keys those of `owner` are.
    owner: ClientSecret,
}

impl Scene {
    fn new() -> Self {
        Self::with_stanza("")
    }

    /// The same with these lines in the stanza of `owner`.
    fn with_stanza(stanza: &str) -> Self {
        let owner = ClientSecret::generate().unwrap();
        let client = format!(
            "[[client]]\nname = \"owner\"\npublic = \"{}\"\npsk = \"e\"\nservices = \
             [\"SERVICE\"]\n{stanza}\n",
            owner.public().to_text()
        );
        let state = folder().join("state");
        let text = format!("[server]\nstate = \"{}\"\n{CONFIG}", state.display());
        let mut pair = Pair::with_clients(&text, &client);
        pair.handler.keys.set_servers(&[server().public()]);
        let file = enrolled_file(&state);
        let invitation = InvitationSecret::generate().unwrap();
        let client = NewClient {
            name: "phone".to_owned(),
            public: invitation.client().public().to_text(),
            psk: Secret::new(invitation.psk().to_text().expose().to_owned()),
            services: vec!["ssh".to_owned()],
            from: Vec::new(),
            hours: None,
            expires: None,
            ttl: None,
            max_ttl: None,
            max_grants: None,
            grant_prefix_v4: None,
            grant_prefix_v6: None,
            third_party: false,
            rotate: None,
            sequence: crate::config::Stages::Fixed(vec![888, 555, 222]),
        };
        let services = config(&text).services;
        add_invitation(&file, &client, now_ms() + 60_000, &services, &Surroundings::none())
            .unwrap();
        Self { pair, file, invitation, device: ClientSecret::generate().unwrap(), owner }
    }

    /// What an honest listener makes of a request that `signer` signed with the keys of `old`.
    fn request(
        &self,
        old: &ClientSecret,
        psk: &Psk,
        op: Op,
        signer: &ClientSecret,
        at_ms: u64,
    ) -> Request {
        let server = server();
        let context = Context::new(&server.public(), &old.public());
        let tag = TagKey::derive(psk, &context);
        let pair = PairKeys::of_client(psk, old, &server.public(), &context).unwrap();
        let parts = SessionParts {
            server: &server.public(),
            context: &context,
            tag: &tag,
            pair: &pair,
            signer,
            hedge: &old.hedge_key(),
        };
        let request = spa_proto::Request {
            service: 0,
            ttl_s: 0,
            op,
            want_ack: true,
            bind_src: None,
            for_addr: None,
            all: false,
            ports: &[PORT],
            padding: &[],
        };
        let new = NewKeys {
            public: self.device.public(),
            secret: &self.device,
            signer: &self.device,
            old: old.public(),
            old_psk: psk,
        };
        let session = Session::with_new_keys(&parts, &request, &new, at_ms).unwrap();
        let packet = &session.packets()[0].1;
        let keys = ServerSession::agree(&server, &pair, &context, &pair.ephemeral(packet).unwrap())
            .unwrap();
        let opened = keys.open(packet, epoch_of(at_ms), 0, PORT).unwrap();
        Request::Replace(ReplaceRequest {
            invited: matches!(op, Op::Enrol(_)),
            client: if matches!(op, Op::Enrol(_)) { "phone" } else { "owner" }.to_owned(),
            old: old.public().to_text(),
            new: self.device.public().to_text(),
            psk: Psk::from_bytes([3; 32]).to_text().expose().to_owned(),
            kem: Some(Psk::from_bytes([4; 32]).to_text().expose().to_owned()),
            evidence: keys.evidence(&opened).bytes().to_vec(),
        })
    }

    /// A REKEY of `owner` to the keys of the device.
    fn rekey(&self) -> Request {
        let op = Op::Rekey(self.device.public());
        self.request(&self.owner, &Psk::from_bytes([5; 32]), op, &self.owner, now_ms())
    }

    fn enrol(&self) -> Request {
        let (own, psk) = (self.invitation.client(), self.invitation.psk());
        self.request(&own, &psk, Op::Enrol(self.device.public()), &own, now_ms())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let folder = self.file.parent().and_then(Path::parent).unwrap();
        let _left = std::fs::remove_dir_all(folder);
    }
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

#[test]
fn an_invitation_makes_one_client_with_the_stanza_of_the_file() {
    let mut scene = Scene::new();
    let request = scene.enrol();
    assert_eq!(scene.pair.ask(&request), Reply::Done);
    assert!(scene.pair.handler.keys.take_changed());
    let after = text(&scene.file);
    assert!(after.contains("[[client]]") && !after.contains("[[invitation]]"), "{after}");
    assert!(
        after.contains(&scene.device.public().to_text()) && after.contains("services = [\"ssh\"]")
    );
    // Once, whoever asks again: the same is done already.
    assert_eq!(scene.pair.ask(&request), Reply::Done);
    assert_eq!(text(&scene.file), after);
}

#[test]
fn without_the_invitations_own_signature_nobody_is_enrolled() {
    let mut scene = Scene::new();
    let before = text(&scene.file);
    let honest = scene.enrol();
    let Request::Replace(asked) = honest.clone() else { unreachable!() };
    let mine = ClientSecret::generate().unwrap();
    // The listener has the invitation's psk and public keys, and signs itself.
    let forged = scene.request(
        &scene.invitation.client(),
        &scene.invitation.psk(),
        Op::Enrol(scene.device.public()),
        &mine,
        now_ms(),
    );
    let stale = scene.request(
        &scene.invitation.client(),
        &scene.invitation.psk(),
        Op::Enrol(scene.device.public()),
        &scene.invitation.client(),
        now_ms() - 700_000,
    );
    let with = |change: &dyn Fn(&mut ReplaceRequest)| {
        let mut asked = asked.clone();
        change(&mut asked);
        Request::Replace(asked)
    };
    let mut wrong = vec![forged, stale];
    wrong.push(with(&|asked| asked.evidence.clear()));
    wrong.push(with(&|asked| asked.evidence.push(0)));
    wrong.push(with(&|asked| asked.evidence.truncate(100)));
    // Every byte of what was signed counts: session, body, source, signature, new keys, proof.
    for at in (0..asked.evidence.len()).step_by(7) {
        wrong.push(with(&move |asked| asked.evidence[at] ^= 1));
    }
    // The signature is for other keys than those that the listener would like.
    let mine = mine.public().to_text();
    wrong.push(with(&|asked| asked.new.clone_from(&mine)));
    wrong.push(with(&|asked| asked.old.clone_from(&mine)));
    wrong.push(with(&|asked| asked.invited = false));
    for request in wrong {
        let answer = scene.pair.ask(&request);
        assert!(matches!(answer, Reply::Failed(RequestError::Refused(_))), "{answer:?}");
        assert_eq!(text(&scene.file), before);
    }
    assert!(!scene.pair.handler.keys.take_changed());
    assert_eq!(scene.pair.ask(&honest), Reply::Done);
}

#[test]
fn another_servers_signature_counts_for_nothing() {
    let mut scene = Scene::new();
    let request = scene.enrol();
    scene.pair.handler.keys.set_servers(&[ServerSecret::from_bytes([10; 32]).public()]);
    assert!(matches!(scene.pair.ask(&request), Reply::Failed(RequestError::Refused(_))));
}

#[test]
fn a_client_rotates_itself_and_a_retired_key_nobody() {
    let mut scene = Scene::new();
    let request = scene.rekey();
    assert_eq!(scene.pair.ask(&request), Reply::Done);
    let once = text(&scene.file);
    assert!(once.contains("[[rotated]]") && once.contains("until"), "{once}");
    // Its answer was lost.
    assert_eq!(scene.pair.ask(&request), Reply::Done);
    assert_eq!(text(&scene.file), once);
    assert_eq!(scene.pair.ask(&Request::Seen { client: "owner".to_owned() }), Reply::Done);
    let seen = text(&scene.file);
    assert_eq!(seen.matches("until").count(), once.matches("until").count() - 1, "{seen}");
    // Whoever stole the retired key, and the listener too, changes nothing any more.
    scene.device = ClientSecret::generate().unwrap();
    let stolen = scene.rekey();
    assert!(matches!(scene.pair.ask(&stolen), Reply::Failed(RequestError::TooLate(_))));
    assert_eq!(text(&scene.file), seen);
}

/// B2 for keys: what the stanza does not let the engine give, a listener gets nowhere either.
#[test]
fn b2_keys_beyond_the_clients_stanza() {
    let refused = |scene: &mut Scene, request: &Request| {
        let answer = scene.pair.ask(request);
        assert!(matches!(answer, Reply::Failed(RequestError::Refused(_))), "{answer:?}");
        assert!(!text(&scene.file).contains("[[rotated]]"));
    };
    for stanza in ["rotate = \"never\"", "rotate = \"refresh\"", "expires = \"2020-01-01\""] {
        let mut scene = Scene::with_stanza(stanza);
        let request = scene.rekey();
        refused(&mut scene, &request);
    }
    // Keys that are no client's, or not that client's.
    let mut scene = Scene::new();
    scene.owner = ClientSecret::generate().unwrap();
    let of_nobody = scene.rekey();
    refused(&mut scene, &of_nobody);
    let Request::Replace(asked) = of_nobody else { unreachable!() };
    for client in ["laptop", "nobody", "phone"] {
        let mut named = asked.clone();
        named.client = client.to_owned();
        refused(&mut scene, &Request::Replace(named));
    }
    for stanza in ["rotate = \"any\"", "rotate = \"same-kind\"", ""] {
        let mut scene = Scene::with_stanza(stanza);
        let request = scene.rekey();
        assert_eq!(scene.pair.ask(&request), Reply::Done, "{stanza}");
        // Removed meanwhile.
        let mut scene = Scene::with_stanza(stanza);
        let request = scene.rekey();
        scene.pair.handler.versions.revoke_client("owner").unwrap();
        assert!(matches!(scene.pair.ask(&request), Reply::Failed(RequestError::TooLate(_))));
    }
}
