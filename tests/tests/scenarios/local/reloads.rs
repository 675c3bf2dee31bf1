//! Files that are gone or empty when the server reads them anew.

use spa_tests::Family;
use spa_tests::netns::lan;
use spa_tests::scene::{Scene, both, config};

use super::*;

#[test]
fn b12_clients_that_vanish_stay_unless_it_is_forced() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &config(600), &["ssh"]);
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let clients = scene.server.folder().join("clients.toml");
    let whole = fs::read_to_string(&clients).unwrap();
    let moved = config(600).set("server.clients", "\"{dir}/client.toml\"");
    let refuses = |what: &str, command: &[&str]| {
        let output = scene.server.control(command);
        assert_eq!(output.status.code(), Some(78), "{what}: {}", said(&output));
        assert!(said(&output).contains("reload --force"), "{what}: {}", said(&output));
        assert_eq!(scene.server.status()["clients"], 1, "{what}");
        assert_eq!(scene.server.status()["grants"].as_array().unwrap().len(), 2, "{what}");
        drop(scene.client.must_open("ssh", Family::V4, &[]));
    };
    // A misspelt name, a file that an editor has moved away, one that a full disk has emptied.
    scene.server.configure(&moved);
    refuses("a missing file", &["reload"]);
    scene.server.configure(&config(600));
    fs::rename(&clients, scene.server.folder().join("away")).unwrap();
    refuses("a file that is away", &["reload"]);
    fs::write(&clients, "").unwrap();
    fs::set_permissions(&clients, Permissions::from_mode(0o600)).unwrap();
    refuses("an empty file", &["reload"]);
    let mark = scene.server.log().mark();
    scene.server.signal(nix::sys::signal::Signal::SIGHUP);
    scene.server.log().wait_since(mark, &["event=reload-refused", "no client"]);
    assert_eq!(scene.server.status()["clients"], 1);

    let forced = scene.server.control(&["reload", "--force"]);
    assert!(forced.status.success(), "{}", said(&forced));
    assert_eq!(scene.server.status()["clients"], 0);
    // Whoever removes the last client by its name means it.
    fs::write(&clients, whole).unwrap();
    assert!(scene.server.control(&["reload"]).status.success());
    let removed = scene.server.control(&["client", "remove", "laptop"]);
    assert!(removed.status.success(), "{}", said(&removed));
    assert_eq!(scene.server.status()["clients"], 0);
}

#[test]
fn b12_devices_that_enrolled_themselves_do_not_hide_a_missing_file() {
    need_namespaces!();
    let net = lan();
    let (scene, _others) =
        Scene::crowd(&net.server, &net.client, &config(600), &["ssh"], &["tablet"]);
    let enrolled = scene.server.folder().join("state-broker/enrolled.toml");
    // As an invited device stands there: one of the clients has moved over.
    let clients = scene.server.folder().join("clients.toml");
    let text = fs::read_to_string(&clients).unwrap();
    let (head, last) = text.rsplit_once("[[client]]").unwrap();
    fs::create_dir_all(enrolled.parent().unwrap()).unwrap();
    fs::write(&enrolled, format!("[[client]]{last}")).unwrap();
    fs::set_permissions(&enrolled, Permissions::from_mode(0o600)).unwrap();
    fs::write(&clients, head).unwrap();
    let output = scene.server.control(&["reload"]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(scene.server.status()["clients"], 2);
    fs::remove_file(&clients).unwrap();
    let output = scene.server.control(&["reload"]);
    assert_eq!(output.status.code(), Some(78), "{}", said(&output));
    assert!(said(&output).contains("clients.toml is missing"), "{}", said(&output));
    assert_eq!(scene.server.status()["clients"], 2);
}

/// The file of what devices have brought about is emptied, or away: the keys that stood before it
/// would be good again.
#[test]
fn b12_replaced_keys_do_not_come_back() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::ready(&net.server, &net.client, &config(600), &["ssh"]);
    let enrolled = scene.server.folder().join("state-broker/enrolled.toml");
    scene.client.must_open("ssh", Family::V4, &[]);
    let rotated = scene.client.command("spa").args(["rotate", "server"]).output().unwrap();
    assert!(rotated.status.success(), "{}", said(&rotated));
    scene.client.must_open("ssh", Family::V6, &[]);
    let whole = fs::read(&enrolled).unwrap();
    for emptied in [true, false] {
        if emptied {
            fs::write(&enrolled, "").unwrap();
        } else {
            fs::remove_file(&enrolled).unwrap();
        }
        let output = scene.server.control(&["reload"]);
        assert_eq!(output.status.code(), Some(78), "{}", said(&output));
        assert!(said(&output).contains("reload --force"), "{}", said(&output));
        scene.client.must_open("ssh", Family::V4, &[]);
    }
    fs::write(&enrolled, &whole).unwrap();
    fs::set_permissions(&enrolled, Permissions::from_mode(0o600)).unwrap();
    assert!(scene.server.control(&["reload"]).status.success());
    fs::write(&enrolled, "").unwrap();
    assert!(scene.server.control(&["reload", "--force"]).status.success());
    assert!(scene.server.stop().success());
    scene.server.launch();
    scene.server.wait_log(&["level=error", "event=enrolled-empty"]);
}
