//! `spa-server top` in a real terminal.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spa_tests::daemon::{Server, binary};
use spa_tests::netns::{Host, lan};
use spa_tests::scene::{self, PATIENCE, SSH, Scene, both};
use spa_tests::terminal::Terminal;
use spa_tests::{Family, need_namespaces, wait_until};

/// A terminal with a shell on a host.
fn shell(host: &Host) -> Terminal {
    let terminal =
        Terminal::new(&format!("ip netns exec {} env PS1='READY> ' ENV= sh", host.namespace()));
    terminal.wait("READY>");
    terminal
}

/// Starts `top`; its process id.
fn top(terminal: &Terminal, server: &Server) -> Pid {
    let folder = server.folder().display();
    let program = binary("spa-server");
    let script = format!(
        "echo $$ > {folder}/pid\nexec {} top --config {folder}/server.toml\n",
        program.display()
    );
    fs::write(server.folder().join("top.sh"), script).unwrap();
    terminal.line(&format!("clear; sh {folder}/top.sh"));
    terminal.wait("arrows select");
    let pid = fs::read_to_string(server.folder().join("pid")).unwrap();
    Pid::from_raw(pid.trim().parse().unwrap())
}

/// `top` has left nothing behind: its screen, and the modes that it needs.
fn is_as_before(terminal: &Terminal) {
    terminal.until("the prompt", |screen| {
        screen.contains("READY>") && !screen.contains("arrows select")
    });
    terminal.line("clear; stty -a");
    terminal.until("a terminal for lines", |screen| {
        screen.contains(" echo ") && screen.contains(" icanon ")
    });
    terminal.line("clear");
}

#[test]
fn top_shows_and_closes_and_lifts() {
    need_namespaces!();
    let net = lan();
    let mut scene = Scene::new(&net.server, &net.client, &scene::config(600), &["ssh"]);
    scene.server.wait_fence();
    for family in Family::BOTH {
        scene.client.must_open("ssh", family, &[]);
        let stranger = net.stranger.address(family).to_string();
        assert!(scene.server.control(&["ban", &stranger]).status.success());
    }
    let terminal = shell(&net.server);
    let server = &scene.server;
    let rows = |command: &str| {
        let json: serde_json::Value =
            serde_json::from_slice(&server.control(&[command, "--json"]).stdout).unwrap();
        json[command].as_array().unwrap().len()
    };

    top(&terminal, server);
    for words in [
        "198.51.100.10",
        "2001:db8:c::10",
        "203.0.113.66/32",
        "2001:db8:5::/64",
        "2 grants  2 bans",
    ] {
        terminal.wait(words);
    }
    // The kernel's countdown, second by second.
    let left = |screen: &str| {
        let line = screen.lines().find(|line| line.contains("198.51.100.10")).map(str::to_owned);
        line.and_then(|line| {
            line.split_whitespace().find(|word| word.starts_with("9m")).map(str::to_owned)
        })
    };
    let before = left(&terminal.screen()).unwrap();
    terminal.until("a countdown", |screen| left(screen).is_some_and(|now| now != before));

    // The first row is the grant over IPv4. A no closes nothing.
    terminal.press("c");
    terminal.wait("close g1 (laptop ssh 198.51.100.10");
    terminal.press("n");
    terminal.wait("arrows select");
    assert_eq!(rows("grants"), 2);
    terminal.press("c");
    terminal.wait("close g1");
    terminal.press("y");
    assert!(wait_until(PATIENCE, || rows("grants") == 1), "{}", terminal.screen());
    terminal.until("the other one", |screen| {
        !screen.contains("198.51.100.10") && screen.contains("g2")
    });
    assert!(scene.is_hidden(Family::V4, SSH) && scene.is_open(Family::V6, SSH));
    // Smaller than anything it needs, and back.
    terminal.tmux(&["resize-window", "-x", "9", "-y", "3"]);
    terminal
        .until("a small screen", |screen| screen.lines().count() <= 3 && screen.contains("\n> "));
    terminal.tmux(&["resize-window", "-x", "80", "-y", "24"]);
    terminal.wait("2001:db8:c::10");
    terminal.press("c");
    terminal.wait("close g2");
    terminal.press("y");
    assert!(wait_until(PATIENCE, || rows("grants") == 0), "{}", terminal.screen());
    // Nothing but bans is left, so the first of them is selected.
    terminal.wait("0 grants");
    terminal.press("u");
    assert!(wait_until(PATIENCE, || rows("bans") == 1), "{}", terminal.screen());
    terminal.wait("1 ban");
    terminal.press("u");
    assert!(wait_until(PATIENCE, || rows("bans") == 0), "{}", terminal.screen());
    both(|family| assert!(scene.is_hidden(family, SSH), "{family}"));
    terminal.press("q");
    is_as_before(&terminal);

    // A signal, and a server that goes away and comes back.
    let pid = top(&terminal, server);
    kill(pid, Signal::SIGTERM).unwrap();
    is_as_before(&terminal);
    top(&terminal, server);
    assert!(scene.server.stop().success());
    terminal.wait("no answer, these figures are old: no server answers");
    scene.server.launch();
    terminal.until("the server again", |screen| !screen.contains("these figures are old"));
    terminal.press("q");
    is_as_before(&terminal);
}
