//! A server whose place another one takes from a backup.

use super::*;

/// Longer than the fence of a server that knows nothing of its past.
const FENCE_ENDS: std::time::Duration = std::time::Duration::from_secs(75);

#[test]
fn after_a_restore_on_a_machine_without_a_past() {
    need_namespaces!();
    let mut tape = Tape::new();
    let tablet = Client::enrolled(&tape.net.client, &tape.scene.server, "tablet", &["ssh"]);
    let keep = TempDir::new();
    let archive = keep.join("spa.backup").display().to_string();
    let made = tape.scene.server.control(&["backup", &archive]);
    assert!(made.status.success(), "{made:?}");
    assert_eq!(tape.scene.server.status()["backup"]["changed"], serde_json::json!([]));
    // Keys that the backup does not know, and knocks that it cannot know either.
    let rotated = tablet.command("spa").args(["rotate", "server"]).output().unwrap();
    assert!(rotated.status.success(), "{rotated:?}");
    tape.record();
    tablet.must_open("ssh", Family::V4, &[]);
    assert_eq!(tape.scene.server.status()["backup"]["changed"], serde_json::json!(["clients"]));
    let text = tape.scene.server.control(&["status"]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("out of date: other clients; spa-server backup FILE"), "{text}");

    // Another machine: nothing of the first is there but its addresses.
    let refused = tape.scene.server.control(&["restore", &archive]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("a server is running"));
    tape.scene.server.stop();
    for entry in fs::read_dir(tape.scene.server.folder()).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            fs::remove_dir_all(entry.path()).unwrap();
        } else {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    let restored = tape.scene.server.control(&["restore", &archive]);
    assert!(restored.status.success(), "{restored:?}");
    tape.scene.server.launch();
    let fence = tape.scene.server.status()["fence-left-s"].as_f64().unwrap();
    assert!(fence > 50.0, "{fence}");
    tape.replay_in_vain("before the fence");
    let over = || tape.scene.server.status()["fence-left-s"] == 0.0;
    assert!(wait_until(FENCE_ENDS, over), "{}", tape.scene.server.status());
    tape.replay_in_vain("behind the fence");
    tape.the_client_opens();

    // Whoever has other keys since hears nothing, and is told why.
    let words = ["doctor", "ssh@server", "--knock", "--timeout", "2s"];
    let said = tablet.command("spa-client").args(words).output().unwrap();
    let text = String::from_utf8_lossy(&said.stdout);
    assert!(text.contains("restored from a backup"), "{text}");
    assert!(text.contains("client remove tablet; spa-server invite tablet"), "{text}");
    // And so it comes back.
    assert!(tape.scene.server.control(&["client", "remove", "tablet"]).status.success());
    let invited = tape.scene.server.control(&["invite", "tablet", "--service", "ssh"]);
    assert!(invited.status.success(), "{invited:?}");
}

#[test]
fn a_restore_over_a_clean_stop_takes_its_trust_away() {
    need_namespaces!();
    let mut tape = Tape::new();
    let keep = TempDir::new();
    let archive = keep.join("spa.backup").display().to_string();
    assert!(tape.scene.server.control(&["backup", &archive]).status.success());
    let key = fs::read_to_string(tape.scene.server.folder().join("server.key")).unwrap();
    tape.scene.server.stop();
    let same = tape.scene.server.control(&["restore", &archive]);
    assert!(same.status.success(), "all is there as it was: {same:?}");
    tape.scene.server.launch();
    tape.scene.server.wait_log(&["event=unclean-stop"]);
    let fence = tape.scene.server.status()["fence-left-s"].as_f64().unwrap();
    assert!(fence > 50.0, "{fence}");
    tape.replay_in_vain("after a restore of what was there");
    assert_eq!(fs::read_to_string(tape.scene.server.folder().join("server.key")).unwrap(), key);
}
