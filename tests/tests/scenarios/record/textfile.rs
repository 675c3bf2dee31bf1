//! The folder of the figures' file is missing, cannot be written or is full: named in the log, and
//! nothing else suffers.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use spa_tests::daemon::Server;
use spa_tests::netns::lan;
use spa_tests::scene::{SSH, Scene, both, config};
use spa_tests::{need_namespaces, wait_until};

/// Written every 15 s.
const WRITTEN: Duration = Duration::from_secs(60);

/// What is wrong, made before the start; what mends it; the kernel's words.
struct Trouble {
    before: &'static str,
    mend: Option<&'static str>,
    words: &'static str,
}

const TROUBLES: [Trouble; 3] = [
    Trouble { before: "rmdir \"$0\"", mend: None, words: "No such file" },
    Trouble {
        before: "mount -t tmpfs -o size=64k,mode=755 tmpfs \"$0\" && mount -o remount,ro \"$0\"",
        mend: Some("mount -o remount,rw \"$0\""),
        words: "Read-only file system",
    },
    Trouble {
        before: "mount -t tmpfs -o size=64k,mode=755 tmpfs \"$0\" && { head -c 1m /dev/zero > \
            \"$0/ballast\" || true; }",
        mend: Some("rm \"$0/ballast\""),
        words: "No space left on device",
    },
];

/// Runs a script in the server's mount namespace.
fn inside(server: &mut Server, script: &str, folder: &Path) {
    let pid = server.daemon().pid().to_string();
    let done = Command::new("nsenter")
        .args(["-t", &pid, "-m", "sh", "-c", script])
        .arg(folder)
        .output()
        .unwrap();
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn the_folder_cannot_be_written() {
    need_namespaces!();
    thread::scope(|scope| {
        for trouble in TROUBLES {
            scope.spawn(move || goes_on(&trouble));
        }
    });
}

fn goes_on(trouble: &Trouble) {
    let net = lan();
    let config = config(600).set("metrics.textfile", "\"{dir}/figures/spa.prom\"");
    let script = format!("mkdir -p \"$0\" && {} && exec \"$@\"", trouble.before);
    let server =
        Server::prepare(&net.server, &config).with_wrapper(&["sh", "-c", &script, "{dir}/figures"]);
    let mut scene = Scene::of(server, &net.client, &["ssh"]);
    scene.server.wait_fence();
    let line =
        scene.server.wait_log(&["level=error", "event=metrics-not-written", "figures/spa.prom"]);
    assert!(line.contains(trouble.words) && line.contains("do="), "{}: {line}", trouble.words);
    // Knocks, control and reloads are as ever.
    both(|family| {
        scene.client.must_open("ssh", family, &[]);
        assert!(scene.is_open(family, SSH), "{}, {family}", trouble.words);
    });
    let reloaded = scene.server.control(&["reload"]);
    assert!(reloaded.status.success(), "{}: {reloaded:?}", trouble.words);
    assert!(scene.server.control(&["metrics"]).status.success(), "{}", trouble.words);
    let folder = scene.server.folder().join("figures");
    let log = scene.server.log().clone();
    let said = || {
        let lines = log.lines();
        lines.iter().filter(|line| line.contains("event=metrics-not-written")).count()
    };
    let Some(mend) = trouble.mend else {
        // Made later it is out of the listener's reach until a restart, as the line says; then it
        // is written.
        fs::create_dir(&folder).unwrap();
        let begun = scene.server.log().mark();
        assert!(scene.server.stop().success());
        scene.server = restarted(scene.server);
        assert!(
            wait_until(WRITTEN, || folder.join("spa.prom").exists()),
            "not written after a restart"
        );
        let lines = scene.server.log().lines().split_off(begun);
        assert!(!lines.iter().any(|line| line.contains("metrics-not-written")), "{lines:?}");
        return;
    };
    let mark = scene.server.log().mark();
    inside(&mut scene.server, mend, &folder);
    let written = || {
        let lines = scene.server.log().lines().split_off(mark);
        lines.iter().any(|line| line.contains("level=info event=metrics-written"))
    };
    assert!(wait_until(WRITTEN, written), "{}: {:?}", trouble.words, scene.server.log().lines());
    assert_eq!(said(), 1, "once, not every 15 s: {:?}", scene.server.log().lines());
}

/// Starts it again, without what its wrapper did before.
fn restarted(server: Server) -> Server {
    let mut server = server.with_wrapper(&["env"]);
    server.launch();
    server
}
