//! A state folder without room, or that cannot be written, at the start and while the server runs.

use std::path::PathBuf;
use std::process::Command;

use spa_tests::daemon::{Client, binary};
use spa_tests::netns::lan;
use spa_tests::probe::EchoServer;
use spa_tests::scene::{SILENCE, Scene, both, config};
use spa_tests::{need_namespaces, wait_until};

use super::*;

/// Runs the rest of its arguments with a file system of this server's own in its folder, after more
/// of a script.
fn on_a_disk(mount: &str, then: &str) -> Vec<String> {
    let script = format!("mkdir -p \"$0\" && {mount} && {{ {then} }} && exec \"$@\"");
    ["sh", "-c", &script, "{dir}/disk"].map(str::to_owned).to_vec()
}

const SMALL: &str = "mount -t tmpfs -o size=4m,mode=700 tmpfs \"$0\"";

#[test]
fn a_start_on_a_disk_that_cannot_be_written() {
    need_namespaces!();
    for (then, words) in [
        ("mount -o remount,ro \"$0\";", "Read-only file system"),
        ("head -c 8m /dev/zero > \"$0/ballast\" || true;", "No space left on device"),
    ] {
        let net = lan();
        let _door = EchoServer::start(&net.server, SSH);
        let config = config(60).set("server.state", "\"{dir}/disk/state\"");
        let server = Server::prepare(&net.server, &config);
        let client = Client::enrolled(&net.client, &server, "laptop", &["ssh"]);
        // Hidden before, as by a start that was good.
        assert!(server.control(&["firewall", "install"]).status.success());
        let folder = server.folder().display().to_string();
        let mut command = net.server.command("timeout");
        command.arg("20");
        command.args(on_a_disk(SMALL, then).iter().map(|word| word.replace("{dir}", &folder)));
        let output = command
            .arg(binary("spa-server"))
            .args(["run", "--config"])
            .arg(server.folder().join("server.toml"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words}: {text}");
        assert!(text.contains(words) && text.contains("disk/state"), "{words}: {text}");
        both(|family| {
            assert_eq!(
                tcp(&net.stranger, net.server.at(family, SSH), SILENCE),
                TcpProbe::Silent,
                "{words} {family}"
            );
            assert!(
                !client.open("ssh", family, &["--timeout", "1s"]).status.success(),
                "{words} {family}"
            );
            assert!(grants(&net.server, family).is_empty(), "{words} {family}");
        });
    }
}

/// ext4 as after an error of its disk (`errors=remount-ro`): files that are open cannot be written
/// either.
#[test]
fn the_disk_fails_under_the_server() {
    need_namespaces!();
    let net = lan();
    let config = config(3).set("server.state", "\"{dir}/disk/state\"");
    let image = "truncate -s 32m \"$0.img\" && mkfs.ext4 -q -F -E root_owner=0:0 \"$0.img\" && \
        mount -o loop,errors=remount-ro \"$0.img\" \"$0\" && chmod 700 \"$0\"";
    let folder_of = |server: &Server| server.folder().join("disk");
    let wrapper = on_a_disk(image, "true;");
    let words: Vec<&str> = wrapper.iter().map(String::as_str).collect();
    let server = Server::prepare(&net.server, &config).with_wrapper(&words);
    let mut scene = Scene::of(server, &net.client, &["ssh"]);
    scene.server.wait_fence();
    let disk: PathBuf = folder_of(&scene.server);
    let pid = scene.server.daemon().pid();
    let inside = |script: &str| {
        let done = Command::new("nsenter")
            .args(["-t", &pid.to_string(), "-m", "sh", "-c", script])
            .arg(&disk)
            .output()
            .unwrap();
        assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
    };
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    inside("mount -o remount,abort \"$0\"");
    // Marks that are written already cover some seconds: knocks within them open, as they may.
    let refused = |family| {
        let opened = scene.client.open("ssh", family, &["--timeout", "2s"]);
        opened.json["services"][0]["reason"] == "store"
    };
    let gone = |family| grants(&net.server, family).is_empty();
    both(|family| {
        assert!(
            wait_until(PATIENCE * 3, || refused(family) && gone(family)),
            "{family}: it goes on opening"
        );
        assert!(scene.is_hidden(family, SSH), "{family}");
        let source = format!("source={} ", net.client.address(family));
        scene.server.wait_log(&["event=failed", "client=laptop ", &source, "reason=store"]);
    });
    let line = scene.server.wait_log(&["event=store ", "level=error"]);
    assert!(line.contains("Read-only") || line.contains("I/O error"), "{line}");
    assert_eq!(scene.server.status()["version"], 1);
}
