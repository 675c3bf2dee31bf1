//! Grants that a compromised listener asks for, by the very channel that its process has.

use std::fs;

use nix::libc;
use spa_tests::inject::Argument::{Number, Text};
use spa_tests::inject::{Injected, inject};
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
fn open(number: u8, client: &str, prefix: u8) -> String {
    let text = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
    let (client, service) = (text(client), text("ssh"));
    let parts: [&[u8]; 5] =
        [&[1, number], &client, &service, &[0, 10, number, 0, 1, prefix], &[60, 0, 0, 0]];
    String::from_utf8(parts.concat()).unwrap()
}

/// Has the listener ask, and takes the answer away from it: the first byte.
fn ask(listener: u32, request: &str) -> u8 {
    let (channel, length) = (find_requests(listener), request.len() as u64);
    let arguments = [Number(channel), Text(request), Number(length)];
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
