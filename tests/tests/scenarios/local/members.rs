//! A member of the socket's group who is not root asks without end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Instant;

use spa_tests::Family;
use spa_tests::daemon::Server;
use spa_tests::netns::lan;
use spa_tests::scene::{PATIENCE, SSH, Scene, both, config};

use super::*;

/// Commands that a member may give at once, and seconds for each one more.
const COMMANDS: u64 = 64;
const SECONDS_EACH: u64 = 2;
/// Connections that a member may have at a time.
const MEMBERS_CONNECTIONS: usize = 16;

/// `spa-server` run by somebody else than root who is in the socket's group.
struct Member<'s> {
    server: &'s Server,
    program: PathBuf,
    group: String,
}

impl<'s> Member<'s> {
    fn new(server: &'s Server) -> Self {
        let program = server.folder().join("spa-server");
        assert!(
            Command::new("cp").arg(binary("spa-server")).arg(&program).status().unwrap().success()
        );
        let config = server.folder().join("server.toml");
        for (path, mode) in
            [(server.folder(), 0o711), (config.as_path(), 0o644), (program.as_path(), 0o755)]
        {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        let group = fs::metadata(server.folder().join("control.sock")).unwrap().gid().to_string();
        Self { server, program, group }
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = self.server.host().command("setpriv");
        let (id, config) = (NOBODY.to_string(), self.server.folder().join("server.toml"));
        command.args(["--reuid", &id, "--regid", &id, "--inh-caps=-all"]);
        command.args(["--groups", &self.group]).arg(&self.program).args(words);
        command.arg("--config").arg(config).output().unwrap()
    }
}

#[test]
fn l4_a_member_of_the_group_fills_neither_log_nor_table() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::new(&net.server, &net.client, &config(600), &["ssh"]);
    let member = Member::new(&scene.server);
    let begun = Instant::now();
    let opened = (0..100)
        .map(|number| member.run(&["open", "web", "--for", &format!("203.0.113.{number}")]))
        .filter(|output| output.status.success())
        .count() as u64;
    let most = COMMANDS + begun.elapsed().as_secs() / SECONDS_EACH + 1;
    assert!((COMMANDS..=most.min(64)).contains(&opened), "{opened} of {most}");
    let refused = member.run(&["ban", "203.0.113.7"]);
    // The limit of grants holds when there are commands left.
    let words = ["sent too many commands", "banned"];
    assert!(words.iter().any(|word| said(&refused).contains(word)), "{}", said(&refused));
    for words in [&["reload"][..], &["ban", "203.0.113.7"]] {
        while member.run(words).status.success() {}
        assert!(said(&member.run(words)).contains("sent too many commands"));
    }
    let lines = scene.server.log().lines();
    let by_member = lines.iter().filter(|line| line.contains("by=65534")).count() as u64;
    let most = COMMANDS + begun.elapsed().as_secs() / SECONDS_EACH + 1;
    assert!(by_member <= most, "{by_member} lines of {most}");
    // Root is not limited, and nobody cuts the host off from itself.
    both(|family| {
        let own = net.server.address(family).to_string();
        let output = scene.server.control(&["ban", &own]);
        assert!(!output.status.success() && said(&output).contains("own address"), "{output:?}");
    });
}

/// Looking costs as much as there is: strangers fill the table of bans, and a member looks at it by
/// as many connections as it may have.
#[test]
fn l4_a_member_that_looks_without_a_pause_holds_up_nobody() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &config(600), &["ssh"]);
    let banned: Vec<String> =
        (0..20_000).map(|n| format!("198.18.{}.{} timeout 1h", n >> 8, n & 255)).collect();
    let table = scene.server.folder().join("bans.nft");
    let text = format!("add element inet spa ban4 {{ {} }}\n", banned.join(", "));
    fs::write(&table, text).unwrap();
    assert!(net.server.command("nft").arg("-f").arg(&table).status().unwrap().success());
    let member = Member::new(&scene.server);
    let (over, looks) = (AtomicBool::new(false), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..MEMBERS_CONNECTIONS {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    member.run(&["status"]);
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let knocks = catch_unwind(AssertUnwindSafe(|| {
            assert!(spa_tests::wait_until(PATIENCE, || looks.load(Ordering::Relaxed) > 0));
            for number in 0..6 {
                let family = Family::BOTH[number % 2];
                let opened = scene.client.open("ssh", family, &["--timeout", "8s"]);
                assert_eq!(opened.json["services"][0]["granted"], true, "{family}: {opened:?}");
            }
        }));
        over.store(true, Ordering::Relaxed);
        knocks.unwrap_or_else(|panic| resume_unwind(panic));
    });
}

/// What goes over it comes back.
fn lives(stream: &mut TcpStream) -> bool {
    stream.write_all(b"still there").is_ok() && stream.read_exact(&mut [0; 11]).is_ok()
}

#[test]
fn l3_a_removal_holds_in_a_trial_and_after_its_rollback() {
    need_namespaces!();
    let net = lan();
    let (mut scene, others) =
        Scene::crowd(&net.server, &net.client, &config(600), &["ssh"], &["phone"]);
    scene.server.wait_fence();
    scene.client.must_open("ssh", Family::V4, &[]);
    let to = net.server.at(Family::V4, SSH);
    let mut stream = net.client.run(|| TcpStream::connect(to).unwrap());
    stream.set_read_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
    assert!(lives(&mut stream));
    let tried = scene.server.control(&["try", "--for", "1h", "--no-wait"]);
    assert!(tried.status.success(), "{}", said(&tried));
    let removed = scene.server.control(&["client", "remove", "laptop"]);
    assert!(removed.status.success(), "{}", said(&removed));
    assert!(said(&removed).contains("shut out now and after its rollback"), "{}", said(&removed));
    let shut_out = |scene: &Scene, when: &str| {
        let opened = scene.client.open("ssh", Family::V6, &["--timeout", "3s"]);
        assert!(!opened.status.success(), "{when}: {opened:?}");
        assert!(scene.is_hidden(Family::V4, SSH), "{when}");
        others[0].must_open("ssh", Family::V6, &[]);
        assert!(scene.server.control(&["close", "--client", "phone"]).status.success());
    };
    shut_out(&scene, "in the trial");
    assert!(spa_tests::wait_until(PATIENCE, || !lives(&mut stream)), "its connection goes on");
    assert!(scene.server.control(&["try", "--cancel"]).status.success());
    shut_out(&scene, "after the rollback");
    // Killed in a trial: the next start takes what was before.
    assert!(scene.server.control(&["try", "--for", "1h", "--no-wait"]).status.success());
    scene.server.kill9();
    scene.server.launch();
    scene.server.wait_fence();
    shut_out(&scene, "after a kill");
    assert!(scene.server.control(&["reload"]).status.success());
    shut_out(&scene, "after a reload");
}

#[test]
fn l3_a_removal_is_remembered_over_a_kill_in_the_trial() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::ready(&net.server, &net.client, &config(600), &["ssh"]);
    assert!(scene.server.control(&["try", "--for", "1h", "--no-wait"]).status.success());
    assert!(scene.server.control(&["client", "remove", "laptop"]).status.success());
    scene.server.kill9();
    scene.server.launch();
    scene.server.wait_fence();
    scene.server.wait_log(&["event=trial-interrupted"]);
    let opened = scene.client.open("ssh", Family::V4, &["--timeout", "3s"]);
    assert!(!opened.status.success(), "{opened:?}");
}

#[test]
fn l3_root_goes_before_trials_of_others() {
    need_namespaces!();
    let net = lan();
    let scene = Scene::ready(&net.server, &net.client, &config(600), &["ssh"]);
    let member = Member::new(&scene.server);
    let begin = || member.run(&["try", "--for", "1h", "--no-wait"]);
    assert!(begin().status.success());
    let reloaded = scene.server.control(&["reload"]);
    assert!(reloaded.status.success(), "{}", said(&reloaded));
    assert!(scene.server.status()["trial"].is_null());
    let again = begin();
    assert!(!again.status.success() && said(&again).contains("just ended"), "{}", said(&again));
    assert!(scene.server.control(&["reload"]).status.success());
}
