//! The server ends, restarts, and loses its store.

use std::thread;

use super::*;

#[test]
fn at_once_and_after_the_ttl() {
    need_namespaces!();
    for capture in ["ring", "nflog", "udp"] {
        let tape = Tape::of(capture);
        tape.replay_in_vain(&format!("{capture}: at once"));
        // For half a minute a session is answered again, which is worth no line.
        let lines = tape.scene.server.log().lines();
        assert!(!lines.iter().any(|line| line.contains("event=replay")), "{capture}");
        tape.closed();
        tape.replay_in_vain(&format!("{capture}: after the ttl"));
        tape.the_client_opens();
    }
}

#[test]
fn after_a_clean_restart() {
    need_namespaces!();
    let mut tape = Tape::new();
    tape.scene.server.restart();
    tape.replay_in_vain("with the grants still live");
    tape.closed();
    tape.scene.server.restart();
    tape.replay_in_vain("after two restarts");
    // A clean stop costs nobody anything.
    assert_eq!(tape.scene.server.status()["fence-left-s"], 0.0);
    tape.the_client_opens();
    tape.replay_in_vain("after a new knock");
}

#[test]
fn after_kill_9() {
    need_namespaces!();
    let mut tape = Tape::new();
    tape.scene.server.kill9();
    tape.scene.server.launch();
    tape.scene.server.wait_log(&["event=unclean-stop"]);
    tape.replay_in_vain("before the fence");
    tape.closed();
    tape.scene.server.kill9();
    tape.scene.server.launch();
    tape.replay_in_vain("after another one");
    tape.the_client_opens();
    tape.replay_in_vain("behind the fence");
}

#[test]
fn without_the_store() {
    need_namespaces!();
    let mut tape = Tape::new();
    tape.scene.server.stop();
    fs::remove_dir_all(tape.scene.server.folder().join("state")).unwrap();
    tape.scene.server.launch();
    tape.scene.server.wait_log(&["event=store-missing"]);
    tape.replay_in_vain("before the fence");
    // The new store has seen no knock yet: that it knows nothing must outlive a crash and a clean
    // stop.
    tape.scene.server.kill9();
    tape.scene.server.launch();
    tape.replay_in_vain("after a crash of the new store");
    tape.scene.server.restart();
    tape.scene.server.kill9();
    tape.scene.server.launch();
    tape.replay_in_vain("after a clean stop and another crash");
    tape.closed();
    tape.scene.server.wait_fence();
    tape.the_client_opens();
    tape.replay_in_vain("behind the fence");

    fs::remove_dir_all(tape.scene.server.folder().join("state")).unwrap();
    tape.replay_in_vain("removed under the server");
    tape.scene.server.kill9();
    tape.scene.server.launch();
    tape.replay_in_vain("removed under the server, which is killed then");
    tape.scene.server.wait_fence();
    tape.the_client_opens();
    tape.replay_in_vain("behind the second fence");
}

#[test]
fn with_a_corrupt_store() {
    need_namespaces!();
    // Half of it would leave a whole slot.
    let part = |bytes: &[u8]| bytes[..bytes.len() / 4].to_vec();
    let noise = |bytes: &[u8]| bytes.iter().map(|byte| byte ^ 0x5a).collect::<Vec<u8>>();
    type Damage<'a> = (&'a str, &'a (dyn Fn(&[u8]) -> Vec<u8> + Sync));
    let damages: [Damage<'_>; 4] = [
        ("empty", &|_| Vec::new()),
        ("a quarter of it", &part),
        ("noise", &noise),
        ("a text", &|_| b"no database\n".to_vec()),
    ];
    thread::scope(|scope| {
        for (name, damage) in damages {
            scope.spawn(move || {
                let mut tape = Tape::new();
                let status = tape.scene.server.stop();
                assert!(status.success(), "{name}: {status}");
                fs::write(tape.store(), damage(&fs::read(tape.store()).unwrap())).unwrap();
                let mark = tape.scene.server.log().mark();
                tape.scene.server.launch();
                let words = ["event=store-unreadable", "corrupt-"];
                tape.scene.server.log().wait_since(mark, &words);
                tape.replay_in_vain(&format!("{name}: before the fence"));
                tape.scene.server.wait_fence();
                tape.replay_in_vain(&format!("{name}: behind the fence"));
                tape.the_client_opens();
            });
        }
    });
}
