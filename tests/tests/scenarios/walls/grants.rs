//! Grants and new keys that a compromised listener asks for, by the very channel that its process
//! has.

use std::fs;
use std::io::Read as _;
use std::os::unix::net::UnixStream;

use nix::libc;
use spa_keys::{Folder, Identity, PassphraseSource, TextForm, key_file};
use spa_proto::{ClientSecret, NewKeys, Op, Psk, ServerSecret, ServerSession, Session, epoch_of};
use spa_server::ipc::channel::Channel;
use spa_server::ipc::message::{ReplaceRequest, Request};
use spa_tests::daemon::{Client, Server};
use spa_tests::inject::Argument::{Bytes, Number, Text};
use spa_tests::inject::{Injected, inject};
use spa_tests::knocker::{Knocker, now_ms};
use spa_tests::netns::lan;
use spa_tests::scene::{PATIENCE, Scene, config};
use spa_tests::wait::wait_for;
use spa_tests::{need_namespaces, nft};

/// The broker's answer: done.
const DONE: u8 = 0;

/// Descriptor of the channel of requests in the listener: the first socket that it makes its own.
fn find_requests(listener: u32) -> u64 {
    let entries = fs::read_dir(format!("/proc/{listener}/fd")).unwrap();
    let sockets = entries.filter_map(|entry| {
        let path = entry.unwrap().path();
        let is_socket = fs::read_link(&path).unwrap().to_string_lossy().starts_with("socket:");
        is_socket.then(|| path.file_name().unwrap().to_str().unwrap().parse().unwrap())
    });
    sockets.min().expect("a socket")
}

/// `Request::Open` as it goes over the channel (`spa-server/src/ipc/message.rs`, bincode): the
/// grant's number, client, service, 10.NUMBER.0.1, prefix, ttl, confirmed, and no grant that ends.
fn open(number: u8, client: &str, prefix: u8) -> Vec<u8> {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let (client, service) = (text(client), text("ssh"));
    let parts: [&[u8]; 5] =
        [&[1, number], &client, &service, &[0, 10, number, 0, 1, prefix], &[60, 0, 0, 0]];
    parts.concat()
}

/// The client's own signature under a REKEY to `new`, and what the listener makes of it.
fn replace(server: &Server, client: &Client, new: &ClientSecret) -> Vec<u8> {
    let secret: ServerSecret = key_file::read(&server.folder().join("server.key")).unwrap();
    let folder = Folder::at(client.folder());
    let own = Identity::read(&folder.identity(), PassphraseSource::Nobody).unwrap();
    let psk = folder.read_host("server").unwrap().psk;
    let knocker = Knocker::of(client);
    let (parts, ports, now) = (knocker.parts(), knocker.ports(), now_ms());
    let request = spa_proto::Request {
        service: 0,
        ttl_s: 0,
        op: Op::Rekey(new.public()),
        want_ack: true,
        bind_src: None,
        for_addr: None,
        all: false,
        ports: &ports,
        padding: &[],
    };
    let keys = NewKeys {
        public: new.public(),
        secret: new,
        signer: new,
        old: own.public(),
        old_psk: &psk,
    };
    let session = Session::with_new_keys(&parts, &request, &keys, now).unwrap();
    let (port, packet) = &session.packets()[0];
    let ephemeral = parts.pair.ephemeral(packet).unwrap();
    let seen = ServerSession::agree(&secret, parts.pair, parts.context, &ephemeral).unwrap();
    let opened = seen.open(packet, epoch_of(now), 0, *port).unwrap();
    let request = Request::Replace(ReplaceRequest {
        invited: false,
        client: knocker.name().to_owned(),
        old: own.public().to_text(),
        new: new.public().to_text(),
        psk: Psk::from_bytes([3; 32]).to_text().expose().to_owned(),
        kem: None,
        evidence: seen.evidence(&opened).bytes().to_vec(),
    });
    let (listener, broker) = Channel::pair().unwrap();
    listener.send(&request, &[]).unwrap();
    let mut bytes = vec![0; 4096];
    let read = UnixStream::from(broker.into_fd()).read(&mut bytes).unwrap();
    bytes.truncate(read);
    bytes
}

/// Has the listener ask, and takes the answer away from it: the first byte.
fn ask(listener: u32, request: &[u8]) -> u8 {
    let (channel, length) = (find_requests(listener), request.len() as u64);
    let arguments = [Number(channel), Bytes(request), Number(length)];
    assert_eq!(inject(listener, libc::SYS_write, &arguments), Injected::Answer(length));
    let room = " ".repeat(512);
    let [socket, memory, size, flags] =
        [Number(channel), Text(&room), Number(512), Number(libc::MSG_TRUNC as u64)];
    let arguments = [socket, memory, size, flags, Number(0), Number(0)];
    let read = wait_for(PATIENCE, || match inject(listener, libc::SYS_recvfrom, &arguments) {
        Injected::Answer(read) => Some(read),
        Injected::Error(libc::EAGAIN | libc::EINTR) => None,
        other => panic!("{other:?}"),
    });
    let read = read.expect("an answer");
    // `Reply::Done` is one byte; a refusal has words.
    if read == 1 { DONE } else { DONE + 1 }
}

#[test]
fn b2_a_compromised_listener_asks_for_grants() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::ready(&net.server, &net.client, &config(60), &["ssh"]);
    let listener = scene.server.daemon().listener();
    for (number, client, prefix) in
        [(1, ":admin", 16), (2, ":admin", 31), (3, "nobody", 32), (4, "laptop", 16)]
    {
        assert_ne!(ask(listener, &open(number, client, prefix)), DONE, "{client} /{prefix}");
        scene.server.wait_log(&["event=request-refused"]);
    }
    for set in ["grant4", "grant_wide4"] {
        let elements = nft::elements(&net.server, "inet", "spa", set).unwrap_or_default();
        assert!(elements.is_empty(), "{set}: {elements:?}");
    }
    // What nobody can tell from a knock or an administrator's word is seen.
    for (number, client) in [(5, ":admin"), (6, "laptop")] {
        assert_eq!(ask(listener, &open(number, client, 32)), DONE);
        let network = format!("network=10.{number}.0.1/32");
        let client = format!("client={client}");
        scene.server.wait_log(&["event=opened", &client, "service=ssh", &network, "ttl=60s"]);
    }
}

/// The stanza's `rotate` holds for who has the client's keys and the listener, too.
#[test]
fn b2_a_compromised_listener_asks_for_new_keys() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::ready(&net.server, &net.client, &config(60), &["ssh"]);
    let allowed = ["--service", "ssh", "--rotate", "any"];
    let clients = [("never", "never"), ("refreshed", "refresh")].map(|(name, rotate)| {
        let arguments = ["--service", "ssh", "--rotate", rotate];
        (name, Client::enrolled_with(&net.client, &scene.server, name, &arguments))
    });
    let free = Client::enrolled_with(&net.client, &scene.server, "free", &allowed);
    assert!(scene.server.control(&["reload"]).status.success());
    let listener = scene.server.daemon().listener();
    let new = ClientSecret::generate().unwrap();
    let enrolled = scene.server.folder().join("state-broker/enrolled.toml");
    for (name, client) in &clients {
        let mark = scene.server.log().mark();
        assert_ne!(ask(listener, &replace(&scene.server, client, &new)), DONE, "{name}");
        scene.server.log().wait_since(mark, &["event=request-refused", name, "kind"]);
        assert!(!enrolled.exists(), "{name}");
    }
    assert_eq!(ask(listener, &replace(&scene.server, &free, &new)), DONE);
    assert!(fs::read_to_string(enrolled).unwrap().contains(&new.public().to_text()));
}
