//! `on-open` and `on-close`: programs that are told, with nothing in their hands.

mod ends;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use spa_tests::config::Config;
use spa_tests::netns::lan;
use spa_tests::scene::{PATIENCE, SSH, Scene, both, config};
use spa_tests::{Family, need_namespaces, wait_until};

/// A folder that every user can look into.
struct Programs(PathBuf);

impl Programs {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(format!("/tmp/spa-hooks-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    fn program(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

fn hooked(body: &str) -> Config {
    let ttl = "ports = [\"tcp/80\"]\nttl = \"4s\"";
    Config::default()
        .service("ssh", &format!("ports = [\"tcp/22\"]\nttl = \"4s\"\n{body}"))
        .service("web", ttl)
}

const REPORT: &str = r#"echo "args=$*" "uid=$(id -u)" "groups=$(id -G)" \
    "$(grep -E 'CapEff|CapPrm|NoNewPrivs' /proc/self/status | tr -s '\t\n' '==')" \
    "fds=$(ls /proc/self/fd | tr '\n' ,)" "names=$(env | cut -d= -f1 | sort | tr '\n' ,)" \
    "of=$SPA_CLIENT/$SPA_EVENT/$SPA_SOURCE""#;

#[test]
fn a_hook_is_told_and_holds_nothing() {
    need_namespaces!();
    let net = lan();
    let programs = Programs::new("told");
    let run = programs.program("report", REPORT);
    let line = |key| {
        format!(
            "{key} = {{ run = [\"{run}\", \"{{event}}:{{service}}\", \"{{source}}\", \
             \"{{client}}\", \"{{grant}}\"], user = \"nobody\" }}\n"
        )
    };
    let scene = Scene::ready(
        &net.server,
        &net.client,
        &hooked(&(line("on-open") + &line("on-close"))),
        &["ssh"],
    );
    both(|family| {
        let source = net.client.at(family, 0).ip().to_string();
        scene.client.must_open("ssh", family, &[]);
        let seen = scene.server.wait_log(&["level=info", "event=hook", "hook=open", &source]);
        assert!(seen.contains(&format!("args=open:ssh {source} laptop g")), "{seen}");
        assert!(seen.contains(&format!("of=laptop/open/{source}")), "{seen}");
        assert!(seen.contains("uid=65534 groups=65534 "), "{seen}");
        for nothing in ["CapEff:=0000000000000000", "CapPrm:=0000000000000000", "NoNewPrivs:=1"] {
            assert!(seen.contains(nothing), "{nothing}: {seen}");
        }
        // 3 is the folder that `ls` looks into.
        assert!(seen.contains("fds=0,1,2,3, "), "{seen}");
        let names = "names=PATH,PWD,SPA_CLIENT,SPA_EVENT,SPA_GRANT,SPA_SERVICE,SPA_SOURCE,";
        assert!(seen.contains(names), "{seen}");
        // Nobody closes: its time is over.
        let seen = scene.server.wait_log(&["level=info", "event=hook", "hook=close", &source]);
        assert!(seen.contains(&format!("args=close:ssh {source} laptop g")), "{seen}");
    });
    // Renewed: no hook is told. Closed by an administrator: once.
    let mark = scene.server.log().mark();
    scene.client.must_open("ssh", Family::V4, &["--ttl", "60s"]);
    scene.client.must_open("ssh", Family::V4, &["--ttl", "60s"]);
    scene.server.log().wait_since(mark, &["event=renewed"]);
    assert!(scene.server.control(&["close", "--all"]).status.success());
    scene.server.log().wait_since(mark, &["event=hook", "hook=close"]);
    let lines = scene.server.log().lines();
    let told = lines[mark..].iter().filter(|line| line.contains("event=hook ")).count();
    assert_eq!(told, 2, "{:?}", &lines[mark..]);
}

fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn a_hook_that_fails_hangs_or_shouts_changes_nothing() {
    need_namespaces!();
    let net = lan();
    let programs = Programs::new("bad");
    let pids = programs.0.join("pids");
    fs::write(&pids, "").unwrap();
    chown(&pids, Some(65_534), Some(65_534)).unwrap();
    let file = pids.display();
    let hang = programs
        .program("hang", &format!("sleep 3071 & echo $! >{file}; echo $$ >>{file}; sleep 3072"));
    let shout = programs.program("shout", "head -c 10000000 /dev/zero | tr '\\0' '\\033'; exit 3");
    let hooks = format!(
        "on-open = {{ run = [\"{hang}\"], user = \"nobody\", timeout = \"1s\" }}\non-close = {{ \
         run = [\"{shout}\"], user = \"nobody\" }}\n"
    );
    let mut scene = Scene::ready(&net.server, &net.client, &hooked(&hooks), &["ssh"]);
    scene.client.must_open("ssh", Family::V4, &[]);
    assert!(scene.is_open(Family::V4, SSH));
    scene.server.wait_log(&["level=error", "event=hook-failed", "hook=open", "killed after 1 s"]);
    let left = fs::read_to_string(&pids).unwrap();
    assert_eq!(left.lines().count(), 2, "{left}");
    assert!(wait_until(PATIENCE, || !left.lines().any(runs)), "{left} go on");
    let seen =
        scene.server.wait_log(&["level=error", "event=hook-failed", "hook=close", "exit code 3"]);
    assert!(!seen.contains('\u{1b}') && seen.len() < 10_000, "{} bytes", seen.len());

    // Writable by others, then gone.
    fs::set_permissions(&hang, fs::Permissions::from_mode(0o777)).unwrap();
    let mark = scene.server.log().mark();
    scene.client.must_open("ssh", Family::V6, &[]);
    scene
        .server
        .log()
        .wait_since(mark, &["level=error", "event=hook-failed", "hook=open", "error="]);
    fs::remove_file(&shout).unwrap();
    scene
        .server
        .log()
        .wait_since(mark, &["level=error", "event=hook-failed", "hook=close", "error="]);

    // What runs ends with the server.
    fs::set_permissions(&hang, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&pids, "").unwrap();
    scene.server.configure(&hooked(&hooks.replace("\"1s\"", "\"5m\"")));
    scene.server.restart();
    scene.client.must_open("ssh", Family::V4, &[]);
    let two = || fs::read_to_string(&pids).unwrap().lines().filter(|pid| runs(pid)).count();
    assert!(wait_until(PATIENCE, || two() == 2));
    assert!(scene.server.stop().success());
    assert!(wait_until(PATIENCE, || two() == 0), "a hook outlives the server");
}

#[test]
fn root_runs_no_hook_as_root_and_nobody_starts_a_runner_without_one() {
    need_namespaces!();
    let net = lan();
    let programs = Programs::new("root");
    let run = programs.program("report", REPORT);
    let hooks = format!("on-open = {{ run = [\"{run}\"] }}\n");
    let mut scene = Scene::ready(&net.server, &net.client, &hooked(&hooks), &["ssh"]);
    scene.server.wait_log(&[
        "level=warn",
        "event=hook-unfit",
        "service=ssh",
        "hook=open",
        "never runs as root",
    ]);
    scene.client.must_open("ssh", Family::V4, &[]);
    scene.server.wait_log(&["level=error", "event=hook-failed", "never runs as root"]);
    let children =
        |pid: u32| fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    assert_eq!(children(scene.server.daemon().pid()).split_whitespace().count(), 2);
    scene.server.configure(&config(4));
    scene.server.restart();
    assert_eq!(children(scene.server.daemon().pid()).split_whitespace().count(), 1);
}
