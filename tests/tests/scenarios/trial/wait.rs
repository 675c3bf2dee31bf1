//! `try` on a terminal: it counts down, and only Ctrl-C and `confirm` are orders.

use nix::sys::signal::Signal;
use spa_tests::daemon::binary;
use spa_tests::need_namespaces;
use spa_tests::terminal::Terminal;
use spa_tests::wait_until;

use super::*;

/// A terminal on the server's host, with `spa` for the program and `CONFIG` for its file.
fn terminal(house: &House) -> Terminal {
    let host = house.net.server.namespace();
    let terminal = Terminal::new(&format!("ip netns exec {host} env PS1='READY> ' ENV= sh"));
    terminal.wait("READY>");
    // No sentence is broken.
    terminal.tmux(&["resize-window", "-x", "250", "-y", "40"]);
    let (program, folder) = (binary("spa-server"), house.scene.server.folder());
    let script = format!(
        "trap : INT\n{} \"$@\" --config {}/server.toml\necho \"ended with $?.\"\n",
        program.display(),
        folder.display()
    );
    std::fs::write(folder.join("spa.sh"), script).unwrap();
    terminal
}

/// Runs a command there.
fn run(terminal: &Terminal, house: &House, words: &str) {
    // What an earlier one has said must not be taken for this one's words.
    terminal.line("clear");
    terminal.until("clear", |screen| !screen.contains("ended with"));
    terminal.line(&format!("sh {}/spa.sh {words}", house.scene.server.folder().display()));
}

/// Seconds that the line says are left.
fn left(screen: &str) -> Option<u64> {
    let line = screen.lines().find(|line| line.contains(" left; Ctrl-C rolls back at once"))?;
    let time = seconds(line.split(" left;").next()?.trim())?;
    Some(time)
}

/// `1m58s` in seconds.
fn seconds(text: &str) -> Option<u64> {
    let mut seconds = 0;
    let mut number = String::new();
    for c in text.chars() {
        match c {
            '0'..='9' => number.push(c),
            unit => {
                let factor = [('h', 3600), ('m', 60), ('s', 1)]
                    .into_iter()
                    .find(|(name, _)| *name == unit)?
                    .1;
                seconds += number.parse::<u64>().ok()? * factor;
                number.clear();
            }
        }
    }
    number.is_empty().then_some(seconds)
}

#[test]
fn it_counts_down_until_somebody_confirms() {
    need_namespaces!();
    let house = House::new();
    house.scene.server.configure(&config(600));
    let terminal = terminal(&house);
    run(&terminal, &house, "try --for 1h");
    terminal.wait("on trial for 1h");
    terminal.wait("log in again, in a second session, and run there: spa-server confirm");
    terminal.until("a countdown", |screen| left(screen).is_some());
    let first = left(&terminal.screen()).unwrap();
    terminal.until("fewer seconds", |screen| left(screen).is_some_and(|now| now < first));
    let lines = |screen: &str| screen.matches(" left; Ctrl-C").count();
    assert_eq!(lines(&terminal.screen()), 1, "one line, written anew:\n{}", terminal.screen());
    let confirmed = house.run(&["confirm", "--same-session"]);
    assert!(confirmed.status.success(), "{confirmed:?}");
    terminal.wait("confirmed: what was on trial stays");
    terminal.wait("ended with 0.");
    assert_eq!(lines(&terminal.screen()), 0, "{}", terminal.screen());
    both(|family| assert!(house.scene.is_hidden(family, SSH), "{family}"));
    assert_eq!((house.status("trial"), house.status("rolled-back")), (Value::Null, Value::Null));
}

#[test]
fn control_c_rolls_back_at_once() {
    need_namespaces!();
    let house = House::new();
    house.write_lock_out();
    let terminal = terminal(&house);
    run(&terminal, &house, "try --for 1h");
    terminal.until("a countdown", |screen| left(screen).is_some());
    house.locked_out();
    terminal.press("C-c");
    terminal.wait("Ctrl-C: rolling back");
    terminal.wait("cancelled: rolled back, and verified in the kernel");
    terminal.wait("ended with 1.");
    house.scene.server.wait_log(&["event=trial-cancelled"]);
    house.scene.server.wait_log(&["event=rolled-back", "verified=yes"]);
    house.as_before();
}

#[test]
fn the_time_is_over_or_somebody_else_cancels() {
    need_namespaces!();
    let house = House::new();
    let terminal = terminal(&house);
    for by_time in [true, false] {
        house.write_lock_out();
        run(&terminal, &house, if by_time { "try --for 10s" } else { "try" });
        terminal.until("a countdown", |screen| left(screen).is_some());
        if !by_time {
            assert!(house.run(&["try", "--cancel"]).status.success());
        }
        terminal.wait("not confirmed, so it was rolled back, and verified in the kernel");
        terminal.wait("ended with 1.");
        house.as_before();
    }
}

/// Whatever becomes of the terminal, the time runs on, and the end is the same.
#[test]
fn the_terminal_is_lost() {
    need_namespaces!();
    let house = House::new();
    house.write_lock_out();
    let terminal = terminal(&house);
    run(&terminal, &house, "try --for 30s");
    terminal.until("a countdown", |screen| left(screen).is_some());
    drop(terminal);
    assert!(
        house.status("trial")["left-s"].as_f64().is_some(),
        "the trial ended with the terminal"
    );
    house.locked_out();
    let log = || house.scene.server.log().lines();
    let back = || log().iter().any(|line| line.contains("event=rolled-back verified=yes"));
    assert!(wait_until(PATIENCE * 4, back), "not rolled back: {:?}", log());
    let log = log();
    assert!(!log.iter().any(|line| line.contains("event=trial-cancelled")), "{log:?}");
    house.as_before();
}

#[test]
fn it_need_not_wait() {
    need_namespaces!();
    let house = House::new();
    house.scene.server.configure(&config(600));
    let terminal = terminal(&house);
    for words in ["try --for 1h --no-wait", "try --for 1h --json"] {
        run(&terminal, &house, words);
        terminal.wait("ended with 0.");
        assert!(left(&terminal.screen()).is_none(), "{}", terminal.screen());
        // Whoever is told that it has begun can end it in the same moment.
        assert!(house.run(&["try", "--cancel"]).status.success());
    }
    // What is refused is not waited for.
    house.scene.server.configure(&only_web().set("server.window-past", "\"half an hour\""));
    run(&terminal, &house, "try");
    terminal.wait("nothing was changed");
    terminal.wait("ended with 78.");
}

#[test]
fn the_server_ends_meanwhile() {
    need_namespaces!();
    let mut house = House::new();
    house.write_lock_out();
    let terminal = terminal(&house);
    run(&terminal, &house, "try --for 1h");
    terminal.until("a countdown", |screen| left(screen).is_some());
    house.scene.server.kill9();
    terminal.wait("a server that ends during a trial returns to the previous state");
    terminal.wait("ended with 3.");
}

/// Who has the answer of `try` may confirm or cancel without waiting, as a script does.
#[test]
fn a_script_confirms_at_once() {
    need_namespaces!();
    let house = House::new();
    for ttl in 600..620 {
        house.scene.server.configure(&config(ttl));
        house.try_for("1h");
        let confirmed = house.run(&["confirm", "--same-session"]);
        assert_eq!(confirmed.status.code(), Some(0), "{confirmed:?}");
        assert!(wait_until(PATIENCE, || house.status("trial") == Value::Null));
    }
    house.scene.server.signal(Signal::SIGHUP);
    house.scene.server.wait_log(&["event=reloaded"]);
}

/// A reload that a trial refuses is no fault of the files: `check` would find nothing.
#[test]
fn status_says_why_a_reload_was_refused() {
    need_namespaces!();
    let house = House::new();
    let text = || String::from_utf8(house.run(&["status"]).stdout).unwrap();
    house.try_for("1h");
    assert_eq!(house.run(&["reload"]).status.code(), Some(1));
    let said = text();
    let line = said.lines().find(|line| line.contains("the last reload")).unwrap();
    assert!(line.contains("was refused and changed nothing: a trial is running"), "{said}");
    assert!(!line.contains("spa-server check"), "{said}");
    assert!(house.run(&["try", "--cancel"]).status.success());
    house.scene.server.configure(&only_web().set("server.window-past", "\"half an hour\""));
    assert_eq!(house.run(&["reload"]).status.code(), Some(78));
    assert!(text().contains("was refused and changed nothing: spa-server check\n"), "{}", text());
}
