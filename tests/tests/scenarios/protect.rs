//! `protect = "after-first-grant"`: nothing of a service is hidden before a client has opened it
//! once, and all of it is from then on.

use std::os::unix::fs::PermissionsExt;

use nix::libc;
use nix::sys::signal::Signal;
use serde_json::json;
use spa_tests::inject::{Argument, numbers, refused};
use spa_tests::netns::{Host, lan};
use spa_tests::probe::TcpProbe;
use spa_tests::scene::{PATIENCE, SSH, Scene, WEB, both, config};
use spa_tests::{Family, need_namespaces, nft, wait_until};

/// Whether a stranger finds `ssh` and `web` hidden.
fn hidden(scene: &Scene, stranger: &Host, expected: [bool; 2]) {
    both(|family| {
        for (port, hidden) in [SSH, WEB].into_iter().zip(expected) {
            let wanted = if hidden { TcpProbe::Silent } else { TcpProbe::Open };
            assert_eq!(scene.seen(stranger, family, port), wanted, "port {port} over {family}");
        }
    });
}

#[test]
fn a_service_is_hidden_once_it_was_opened() {
    need_namespaces!();
    let net = lan();
    let careful = config(4).set("firewall.protect", "\"after-first-grant\"");
    let mut scene = Scene::new(&net.server, &net.client, &careful, &["ssh", "web"]);
    let stranger = &net.stranger;
    scene.server.wait_fence();
    hidden(&scene, stranger, [false, false]);
    assert_eq!(scene.server.status()["not-hidden"], json!(["ssh", "web"]));
    scene.server.wait_log(&["level=warn", "event=not-hidden", "services=ssh,web"]);
    let text = scene.server.control(&["status"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("visible until a client has opened it once: ssh, web"), "{text}");

    // A stranger's attempts are no grant; a client's knock is.
    scene.client.must_open("ssh", Family::V4, &[]);
    assert!(scene.is_open(Family::V4, SSH), "it opens and hides at once");
    hidden(&scene, stranger, [true, false]);
    scene.server.wait_log(&["event=hidden", "service=ssh"]);
    assert_eq!(scene.server.status()["not-hidden"], json!(["web"]));
    let printed = scene.server.control(&["firewall", "print"]);
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(printed.contains("22") && !printed.contains(" 80"), "{printed}");

    // Remembered: over a stop, a crash, and a foreign hand.
    scene.server.restart();
    hidden(&scene, stranger, [true, false]);
    scene.server.kill9();
    scene.server.launch();
    hidden(&scene, stranger, [true, false]);
    let mark = scene.server.log().mark();
    nft::load(&net.server, "flush ruleset");
    scene.server.log().wait_since(mark, &["event=firewall-restored"]);
    hidden(&scene, stranger, [true, false]);

    // Out of the listener's reach.
    let path = format!("{}/state-broker/opened", scene.server.folder().display());
    assert!(std::fs::read_to_string(&path).unwrap().ends_with("\nssh\n"));
    let [here, flags] = numbers([libc::AT_FDCWD, libc::O_WRONLY]);
    let listener = scene.server.daemon().listener();
    let error = refused(listener, libc::SYS_openat, &[here, Argument::Text(&path), flags]);
    assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    let error = refused(listener, libc::SYS_unlink, &[Argument::Text(&path)]);
    assert_eq!(error.raw_os_error(), Some(libc::EACCES));

    // The operator's word: everything at once, and back to what was opened.
    for (protect, expected) in [("always", [true, true]), ("after-first-grant", [true, false])] {
        scene.server.configure(&config(4).set("firewall.protect", &format!("\"{protect}\"")));
        let mark = scene.server.log().mark();
        scene.server.signal(Signal::SIGHUP);
        scene.server.log().wait_since(mark, &["event=reloaded"]);
        hidden(&scene, stranger, expected);
    }
    scene.server.wait_fence();
    scene.client.must_open("web", Family::V6, &[]);
    assert_eq!(scene.server.status()["not-hidden"], json!([]));
    // The last grant ends, and everything is as always.
    let over = || scene.server.status()["grants"] == json!([]);
    assert!(wait_until(PATIENCE, over), "a grant never ends");
    hidden(&scene, stranger, [true, true]);
    both(|family| {
        assert!(scene.is_hidden(family, SSH) && scene.is_hidden(family, WEB), "{family}")
    });
}

#[test]
fn a_memory_that_cannot_be_trusted_hides_everything() {
    need_namespaces!();
    let net = lan();
    let careful = config(4).set("firewall.protect", "\"after-first-grant\"");
    let mut scene = Scene::new(&net.server, &net.client, &careful, &["ssh", "web"]);
    scene.server.wait_fence();
    scene.client.must_open("ssh", Family::V4, &[]);
    hidden(&scene, &net.stranger, [true, false]);
    let path = scene.server.folder().join("state-broker/opened");
    // Others could have written it.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
    scene.server.restart();
    scene.server.wait_log(&["level=error", "event=opened-unreadable", "hidden=everything"]);
    hidden(&scene, &net.stranger, [true, true]);
}

#[test]
fn b4_a_memory_that_was_emptied_or_cut_hides_everything() {
    need_namespaces!();
    let net = lan();
    let careful = config(4).set("firewall.protect", "\"after-first-grant\"");
    let mut scene = Scene::new(&net.server, &net.client, &careful, &["ssh", "web"]);
    scene.server.wait_fence();
    scene.client.must_open("ssh", Family::V4, &[]);
    let path = scene.server.folder().join("state-broker/opened");
    let whole = std::fs::read_to_string(&path).unwrap();
    // As a full disk, a cut-off power line or a stray byte leaves it.
    for text in ["", "ssh\n", &whole[..whole.len() - 2], &whole.replace("ssh", "s\u{1}h")] {
        std::fs::write(&path, text).unwrap();
        let mark = scene.server.log().mark();
        scene.server.restart();
        hidden(&scene, &net.stranger, [true, true]);
        let words = ["level=error", "event=opened-unreadable", "hidden=everything"];
        scene.server.log().wait_since(mark, &words);
    }
    // Nor does a reload make visible what this process has hidden.
    std::fs::write(&path, &whole).unwrap();
    scene.server.restart();
    std::fs::remove_file(&path).unwrap();
    assert!(scene.server.control(&["reload"]).status.success());
    hidden(&scene, &net.stranger, [true, false]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
    // Of all that stands in the folder, what was never there is the only thing that is no sign.
    std::fs::write(&path, whole).unwrap();
    scene.server.restart();
    hidden(&scene, &net.stranger, [true, false]);
}
