//! `on-close` is told of every end: in the server's absence, after a crash, when its service is
//! gone.

use spa_tests::Family;
use spa_tests::nft;

use super::*;

/// Programs that write a line into a file of theirs: event, service, grant.
struct Diary {
    programs: Programs,
    run: String,
}

impl Diary {
    fn new(name: &str) -> Self {
        let programs = Programs::new(name);
        let file = programs.0.join("diary");
        fs::write(&file, "").unwrap();
        chown(&file, Some(65_534), Some(65_534)).unwrap();
        let run = programs.program("note", &format!("echo \"$@\" >>{}", file.display()));
        Self { programs, run }
    }

    fn hook(&self, key: &str) -> String {
        self.hook_of(key, &self.run)
    }

    fn hook_of(&self, key: &str, run: &str) -> String {
        format!(
            "{key} = {{ run = [\"{run}\", \"{{event}}\", \"{{service}}\", \"{{source}}\"], user = \
             \"nobody\", timeout = \"5m\" }}\n"
        )
    }

    fn hooks(&self) -> String {
        self.hook("on-open") + &self.hook("on-close")
    }

    fn count(&self, words: &str) -> usize {
        let text = fs::read_to_string(self.programs.0.join("diary")).unwrap();
        text.lines().filter(|line| line.contains(words)).count()
    }

    fn wait(&self, words: &str) {
        assert!(wait_until(PATIENCE, || self.count(words) > 0), "never told: {words}");
    }
}

/// `ssh` with these hooks, a minute long, and `web` without.
fn minute(body: &str) -> Config {
    Config::default()
        .service("ssh", &format!("ports = [\"tcp/22\"]\nttl = \"60s\"\n{body}"))
        .service("web", "ports = [\"tcp/80\"]\nttl = \"60s\"")
}

/// Opens and closes over IPv6, by which time whatever came before has been told as often as it ever
/// is.
fn settle(scene: &Scene, diary: &Diary) {
    let count = |event: &str| diary.count(&format!("{event} ssh 2001:"));
    let (opens, closes) = (count("open"), count("close"));
    scene.client.must_open("ssh", Family::V6, &[]);
    assert!(wait_until(PATIENCE, || count("open") > opens));
    assert!(scene.server.control(&["close", "--all"]).status.success());
    assert!(wait_until(PATIENCE, || count("close") > closes));
}

#[test]
fn an_end_in_the_servers_absence_is_told_once_at_the_next_start() {
    need_namespaces!();
    let net = lan();
    for killed in [false, true] {
        let diary = Diary::new(if killed { "killed" } else { "stopped" });
        let source = net.client.address(Family::V4);
        let (open, close) = (format!("open ssh {source}"), format!("close ssh {source}"));
        let mut scene = Scene::ready(&net.server, &net.client, &minute(&diary.hooks()), &["ssh"]);
        scene.client.must_open("ssh", Family::V4, &[]);
        diary.wait(&open);
        if killed {
            scene.server.kill9();
        } else {
            assert!(scene.server.stop().success());
        }
        // By this rather than by time: the end must not come before the stop on a busy machine.
        nft::load(&net.server, "delete table inet spa");
        assert_eq!(diary.count(&close), 0, "told by nobody");
        scene.server.launch();
        diary.wait(&close);
        scene.server.wait_fence();
        settle(&scene, &diary);
        // Still once after another start.
        scene.server.restart();
        scene.server.wait_fence();
        settle(&scene, &diary);
        assert_eq!((diary.count(&open), diary.count(&close)), (1, 1));
        assert!(scene.server.stop().success());
        nft::load(&net.server, "delete table inet spa");
    }
}

#[test]
fn what_is_open_over_a_crash_is_told_at_its_end() {
    need_namespaces!();
    let net = lan();
    let diary = Diary::new("over");
    let mut scene = Scene::ready(&net.server, &net.client, &minute(&diary.hooks()), &["ssh"]);
    scene.client.must_open("ssh", Family::V4, &[]);
    diary.wait("open ssh");
    scene.server.kill9();
    scene.server.launch();
    scene.server.wait_fence();
    // Renewed after the start: its beginning was told before.
    scene.client.must_open("ssh", Family::V4, &[]);
    assert_eq!(diary.count("close"), 0);
    assert!(scene.server.control(&["close", "--all"]).status.success());
    diary.wait("close ssh");
    settle(&scene, &diary);
    let source = net.client.address(Family::V4);
    assert_eq!(diary.count(&format!("open ssh {source}")), 1);
    assert_eq!(diary.count(&format!("close ssh {source}")), 1);
}

#[test]
fn an_end_that_was_being_told_at_a_crash_is_told_again() {
    need_namespaces!();
    let net = lan();
    let diary = Diary::new("again");
    let gate = diary.programs.0.join("gate");
    let wait = diary.programs.program(
        "wait",
        &format!(
            "echo begins \"$1\" >>{0}/diary; until [ -e {0}/gate ]; do sleep 0.05; done; echo \
            \"$@\" >>{0}/diary",
            diary.programs.0.display()
        ),
    );
    let hooks = diary.hook("on-open") + &diary.hook_of("on-close", &wait);
    let mut scene = Scene::ready(&net.server, &net.client, &minute(&hooks), &["ssh"]);
    scene.client.must_open("ssh", Family::V4, &[]);
    diary.wait("open ssh");
    assert!(scene.server.control(&["close", "--all"]).status.success());
    diary.wait("begins close");
    scene.server.kill9();
    assert_eq!(diary.count("close ssh"), 0);
    fs::write(&gate, "").unwrap();
    scene.server.launch();
    diary.wait("close ssh");
    assert_eq!(diary.count("begins close"), 2);
}

#[test]
fn a_service_or_client_that_is_taken_away_is_told_by_the_hook_that_it_had() {
    need_namespaces!();
    let net = lan();
    let diary = Diary::new("gone");
    let mut scene =
        Scene::ready(&net.server, &net.client, &minute(&diary.hooks()), &["ssh", "web"]);
    let opened = |scene: &Scene, times| {
        scene.client.must_open("ssh", Family::V4, &[]);
        assert!(wait_until(PATIENCE, || diary.count("open ssh") == times));
        assert_eq!(diary.count("close ssh"), times - 1);
    };
    let ended = |times| {
        assert!(wait_until(PATIENCE, || diary.count("close ssh") == times), "not {times} times")
    };
    // A client's stanza cannot name a service that is not there.
    let clients = scene.server.folder().join("clients.toml");
    let may = |from: &str, to: &str| {
        let text = fs::read_to_string(&clients).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(&clients, text.replace(from, to)).unwrap();
    };
    let (both_names, one_name) = ("services = [\"ssh\", \"web\"]", "services = [\"web\"]");
    let web = Config::default().service("web", "ports = [\"tcp/80\"]\nttl = \"60s\"");
    // The service, by a reload.
    opened(&scene, 1);
    scene.server.configure(&web);
    may(both_names, one_name);
    assert!(scene.server.control(&["reload"]).status.success());
    ended(1);
    // The hooks, by a reload: what was told of its beginning is told of its end.
    may(one_name, both_names);
    scene.server.configure(&minute(&diary.hooks()));
    assert!(scene.server.control(&["reload"]).status.success());
    opened(&scene, 2);
    scene.server.configure(&minute(""));
    assert!(scene.server.control(&["reload"]).status.success());
    assert!(scene.server.control(&["close", "--all"]).status.success());
    ended(2);
    // The service, while no server runs. Nothing else has a hook, so the next start has no runner
    // any more.
    scene.server.configure(&minute(&diary.hooks()));
    assert!(scene.server.control(&["reload"]).status.success());
    opened(&scene, 3);
    assert!(scene.server.stop().success());
    scene.server.configure(&web);
    may(both_names, one_name);
    scene.server.launch();
    ended(3);
    may(one_name, both_names);
    scene.server.configure(&minute(&diary.hooks()));
    scene.server.restart();
    scene.server.wait_fence();
    // The client.
    opened(&scene, 4);
    assert!(scene.server.control(&["client", "remove", "laptop"]).status.success());
    ended(4);
    assert_eq!(diary.count("open ssh"), 4);
}

#[test]
fn failures_are_counted_by_service_and_hook() {
    need_namespaces!();
    let net = lan();
    let diary = Diary::new("counted");
    let fails = diary.programs.program("fails", "exit 1");
    let hooks = diary.hook("on-open") + &diary.hook_of("on-close", &fails);
    let scene = Scene::ready(&net.server, &net.client, &minute(&hooks), &["ssh"]);
    let figures = || String::from_utf8(scene.server.control(&["metrics"]).stdout).unwrap();
    let (open, close) = (
        "spa_hook_failures_total{service=\"ssh\",hook=\"open\"} ",
        "spa_hook_failures_total{service=\"ssh\",hook=\"close\"} ",
    );
    for count in [0, 1, 2] {
        let there = || figures().contains(&format!("{close}{count}\n"));
        assert!(wait_until(PATIENCE, there), "{count}: {}", figures());
        scene.client.must_open("ssh", Family::V4, &[]);
        assert!(scene.server.control(&["close", "--all"]).status.success());
    }
    let last = figures();
    assert!(
        last.contains(&format!("{open}0\n")) && !last.contains("service=\"web\",hook"),
        "{last}"
    );
}

#[test]
fn a_trial_that_is_rolled_back_tells_the_ends_of_what_it_opened() {
    need_namespaces!();
    let net = lan();
    let diary = Diary::new("trial");
    // Without a hook before the trial nobody could run one in it.
    let before = Config::default()
        .service("ssh", "ports = [\"tcp/22\"]\nttl = \"60s\"")
        .service("web", &format!("ports = [\"tcp/80\"]\nttl = \"60s\"\n{}", diary.hooks()));
    let scene = Scene::ready(&net.server, &net.client, &before, &["ssh", "web"]);
    scene.server.configure(&minute(&diary.hooks()));
    assert!(scene.server.control(&["try", "--for", "2m"]).status.success());
    scene.client.must_open("ssh", Family::V4, &[]);
    diary.wait("open ssh");
    assert!(scene.server.control(&["try", "--cancel"]).status.success());
    // The service is there before and after, its hooks are not.
    assert!(scene.server.control(&["close", "--all"]).status.success());
    diary.wait("close ssh");
    assert_eq!((diary.count("open"), diary.count("close")), (1, 1));
}

#[test]
fn a_runner_that_died_or_a_memory_that_cannot_be_written_is_named() {
    need_namespaces!();
    let net = lan();
    let diary = Diary::new("named");
    let mut scene = Scene::ready(&net.server, &net.client, &minute(&diary.hooks()), &["ssh"]);
    scene.client.must_open("ssh", Family::V4, &[]);
    diary.wait("open ssh");
    let broker = scene.server.daemon().pid();
    let children = fs::read_to_string(format!("/proc/{broker}/task/{broker}/children")).unwrap();
    let is_runner = |pid: &&str| {
        fs::read(format!("/proc/{pid}/cmdline"))
            .unwrap()
            .windows(9)
            .any(|words| words == b"run-hooks")
    };
    let runner: i32 =
        children.split_whitespace().find(is_runner).expect("a runner").parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(runner), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    scene.server.wait_log(&["level=error", "event=runner-ended"]);
    // All else goes on; what is not told is told at the next start.
    assert!(scene.is_open(Family::V4, SSH));
    assert!(scene.server.control(&["close", "--all"]).status.success());
    scene.client.must_open("ssh", Family::V6, &[]);
    assert!(scene.server.stop().success());
    assert_eq!(diary.count("close"), 0);
    scene.server.launch();
    diary.wait("close ssh");

    // A folder in the place of the file.
    assert!(scene.server.stop().success());
    let memory = scene.server.folder().join("state-broker/hooks");
    fs::remove_file(&memory).unwrap();
    fs::create_dir(&memory).unwrap();
    scene.server.launch();
    scene.server.wait_log(&["level=error", "event=hooks-forgotten"]);
    let opened = diary.count("open");
    scene.client.must_open("ssh", Family::V4, &[]);
    scene.server.wait_log(&["level=error", "event=hooks-not-remembered"]);
    assert!(wait_until(PATIENCE, || diary.count("open") > opened), "no hook without a memory");
}
