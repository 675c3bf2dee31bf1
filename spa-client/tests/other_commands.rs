//! `close`, `run`, `connect`, `hosts`, `ssh-config` and `doctor`, each against a server that the
//! test plays.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod fake;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fake::{Ended, Fake, end, ended};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use spa_proto::{Op, Reason, Status};

fn done(server: &Fake, args: &[&str]) -> Ended {
    ended(server.command(args).output().unwrap())
}

#[test]
fn close_sends_a_signed_close_and_waits_for_the_answer() {
    for ip in ["127.0.0.1", "::1"] {
        let server = Fake::new(&[ip]);
        let client = server.start(&["close", "vpn@gate"]);
        let all = server.answer(Status::Granted, Reason::None, 0);
        let body = server.open(&all[0]).1.body;
        assert_eq!((body.op, body.ttl_s, body.flags.want_ack), (Op::Close, 0, true));
        let family = if ip == "::1" { "IPv6" } else { "IPv4" };
        let ended = end(client);
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        assert_eq!(ended.out, format!("vpn on gate is closed ({ip}, {family})\n"));

        let client = server.start(&["close", "vpn@gate", "--json"]);
        server.answer(Status::Granted, Reason::None, 0);
        let mut told: Value = serde_json::from_str(&end(client).out).unwrap();
        told["services"][0]["families"][0]["rtt-ms"].take();
        let family = json!({
            "address": ip, "observed": ip, "rtt-ms": null, "reachable": null, "reason": null
        });
        let service = json!({
            "service": "vpn", "granted": false, "ttl": null, "families": [family], "reason": null
        });
        assert_eq!(told, json!({"version": 1, "host": "gate", "services": [service]}));
    }
}

#[test]
fn a_close_that_is_not_answered_is_none() {
    let server = Fake::new(&["127.0.0.1", "::1"]);
    let ended = end(server.start(&["close", "vpn@gate", "--timeout", "1s"]));
    assert_eq!((ended.code, ended.out.as_str()), (Some(3), ""));
    let server = Fake::new(&["127.0.0.1", "::1"]);
    // One family only: whoever is told "closed" must not be left with an open door over the other.
    let client = server.start(&["close", "vpn@gate"]);
    let mut answered = 0;
    while answered == 0 {
        let got = server.next();
        if got.to_ip.is_ipv4() && got.stage == 2 {
            server.send(&got, &server.ack(&got, Status::Granted, Reason::None, 0, fake::now_ms()));
            answered += 1;
        }
    }
    let ended = end(client);
    assert_eq!(ended.code, Some(3));
    assert_eq!(ended.out, "vpn on gate is closed (127.0.0.1, IPv4)\n");
    assert!(ended.err.contains("vpn may still be open at ::1 (no-answer)"), "{}", ended.err);
}

#[test]
fn run_becomes_the_command() {
    let server = Fake::new(&["127.0.0.1"]);
    let run = |command: &[&str]| {
        let client = server.start(&[&["run", "vpn@gate", "--"], command].concat());
        server.grant(60);
        let ended = end(client);
        (ended.code, ended.out, ended.err)
    };
    let shell = run(&["sh", "-c", "echo $0 $1; exit 42", "a b", "--json"]);
    assert_eq!(shell, (Some(42), "a b --json\n".to_owned(), String::new()));
    let (code, out, err) = run(&["no-such-command-\u{1b}"]);
    assert_eq!((code, out.as_str()), (Some(127), ""));
    assert!(err.contains("no-such-command-\\u{1b}: No such file"), "{err}");
    assert_eq!(run(&["/"]).0, Some(126));
    // Not open: not run.
    let client = server.start(&["run", "vpn@gate", "--", "echo", "ran"]);
    server.answer(Status::Denied, Reason::Hours, 0);
    let ended = end(client);
    assert_eq!((ended.code, ended.out.as_str()), (Some(1), ""));
}

#[test]
fn connect_carries_bytes_and_half_closes() {
    for ip in ["127.0.0.1", "::1"] {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let server = Fake::new(&[ip]).with_ssh(&listener);
        // Answers only when it has everything: without the half-close nothing would ever come.
        let service = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            all.reverse();
            stream.write_all(&all).unwrap();
            stream.shutdown(Shutdown::Both).unwrap();
        });
        let mut client =
            server.command(&["connect", "ssh@gate"]).stdin(Stdio::piped()).spawn().unwrap();
        server.grant(60);
        let sent: Vec<u8> = (0..8_000_000_u32).map(|n| (n % 251) as u8).collect();
        let mut input = client.stdin.take().unwrap();
        let bytes = sent.clone();
        let writer = thread::spawn(move || input.write_all(&bytes).unwrap());
        let output = client.wait_with_output().unwrap();
        writer.join().unwrap();
        service.join().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.iter().rev().eq(&sent), "{} bytes came back", output.stdout.len());
    }
}

/// A service that sends each byte back at once, and a user who waits for it: with a buffer, Nagle's
/// algorithm or a timer in between, each would cost tens of milliseconds.
#[test]
fn the_relay_adds_no_latency() {
    const ROUNDS: u32 = 500;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Fake::new(&["127.0.0.1"]).with_ssh(&listener);
    let mut client =
        server.command(&["connect", "ssh@gate"]).stdin(Stdio::piped()).spawn().unwrap();
    server.grant(60);
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    thread::spawn(move || {
        let mut byte = [0];
        while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
    });
    let (mut input, mut output) = (client.stdin.take().unwrap(), client.stdout.take().unwrap());
    let begun = Instant::now();
    for round in 0..ROUNDS {
        let sent = [(round % 256) as u8];
        let mut back = [0];
        input.write_all(&sent).unwrap();
        output.read_exact(&mut back).unwrap();
        assert_eq!(sent, back);
    }
    let each = begun.elapsed() / ROUNDS;
    println!("{each:?} to and fro");
    assert!(each < Duration::from_millis(10), "{each:?} to and fro");
    drop(input);
    assert_eq!(end(client).code, Some(0));
}

#[test]
fn the_end_of_the_server_reaches_the_reader_while_we_may_still_write() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Fake::new(&["127.0.0.1"]).with_ssh(&listener);
    let mut client =
        server.command(&["connect", "ssh@gate"]).stdin(Stdio::piped()).spawn().unwrap();
    server.grant(60);
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"banner").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut out = String::new();
    client.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(out, "banner");
    let mut input = client.stdin.take().unwrap();
    input.write_all(b"late").unwrap();
    drop(input);
    let mut late = String::new();
    stream.read_to_string(&mut late).unwrap();
    assert_eq!(late, "late");
    assert_eq!(end(client).code, Some(0));
}

#[test]
fn settings_are_edited_and_comments_kept() {
    let server = Fake::new(&["127.0.0.1"]);
    let text = "# mine\n[host.gate] # the gate\nfamily = \"4\" # old modem\n";
    server.config(text);
    let read = || fs::read_to_string(server.folder().config()).unwrap();
    let set = |args: &[&str]| done(&server, &[&["hosts", "set", "gate"], args].concat());
    assert_eq!(set(&["family", "6"]).code, Some(0));
    assert_eq!(read(), text.replace("\"4\"", "\"6\""));
    assert_eq!(set(&["expect-address", "203.0.113.9", "2001:db8::/32"]).code, Some(0));
    assert!(read().contains("expect-address = [\"203.0.113.9\", \"2001:db8::/32\"]"), "{}", read());
    let before = read();
    for (wrong, code, says) in [
        (&["family", "5"][..], 2, "family of gate is unchanged"),
        (&["family", "4", "6"], 2, "family takes one value"),
        (&["colour", "red"], 2, "invalid value 'colour'"),
        (&["expect-address", "\u{1b}"], 2, "`\\u{1b}` is not an address"),
        (&["addresses", ""], 2, "`` is not a host"),
        (&["addresses", "https://gate.example.org/"], 2, "is not a host"),
        (&["addresses", "gate.example.org:22"], 2, "is not a host"),
        (&["addresses", "999.999.999.999"], 2, "is not a host"),
        (&["addresses", "224.0.0.1"], 2, "is not a host"),
        (&["addresses", &"a".repeat(100_000)], 2, "is not a host"),
        (&["addresses", "1.2.3.4", "1.2.3.4 "], 2, "is not a host"),
        (&["aliases", "../x"], 2, "`../x` is not a name"),
        (&["aliases", "a b"], 2, "`a b` is not a name"),
        (&["aliases", ""], 2, "`` is not a name"),
        (&["identity", ""], 2, "identity is not the path"),
        (&["identity", &"a".repeat(100_000)], 2, "identity is not the path"),
    ] {
        let ended = set(wrong);
        assert_eq!(ended.code, Some(code), "{wrong:?}: {}", ended.err);
        assert!(ended.err.contains(says), "{wrong:?}: {}", ended.err);
        assert_eq!(read(), before, "{wrong:?}");
    }
    assert_eq!(set(&["expect-address"]).code, Some(0));
    assert_eq!(read(), text.replace("\"4\"", "\"6\""));
    let other = done(&server, &["hosts", "set", "gaet", "family", "4"]);
    assert_eq!(other.code, Some(4), "{}", other.err);
    let removed = done(&server, &["hosts", "remove", "gate"]);
    assert_eq!(removed.code, Some(0), "{}", removed.err);
    assert!(!server.folder().host_file("gate").unwrap().exists());
}

#[test]
fn hosts_are_added_from_standard_input_only() {
    let server = Fake::new(&["127.0.0.1"]);
    let line = server.line.to_text().unwrap();
    let add = |args: &[&str], input: &str| {
        let mut command = server.command(&[&["hosts", "add"], args].concat());
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        end(child)
    };
    let added = add(&["--name", "two"], &format!("\n{}\n", line.expose()));
    assert_eq!(
        (added.code, added.out.as_str()),
        (Some(0), "spa-client open vpn@two\n"),
        "{}",
        added.err
    );
    assert_eq!(add(&["--name", "two"], line.expose()).code, Some(1));
    assert_eq!(add(&["--name", "three"], "").code, Some(1));
    let argument = add(&[line.expose()], "");
    assert_ne!(argument.code, Some(0), "a secret is no argument");
    let listed: Value =
        serde_json::from_str(&done(&server, &["hosts", "list", "--json"]).out).unwrap();
    let names: Vec<&str> = listed["hosts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|host| host["name"].as_str().unwrap())
        .collect();
    assert_eq!((&listed["version"], names), (&json!(1), vec!["gate", "two"]));
    assert_eq!(listed["hosts"][0]["services"], json!({"vpn": "udp/51820"}));
}

#[test]
fn ssh_gets_a_block_per_host() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = Fake::new(&["127.0.0.1"]).with_ssh(&listener);
    server.config("[host.gate]\naliases = [\"g\"]\nfamily = \"4\"\n");
    // It begins a line of its own behind whatever has no end, and needs no PATH.
    let block = format!(
        "\nHost gate g\n    HostName 127.0.0.1\n    Port {port}\n    \
         AddressFamily inet\n    ProxyCommand {} connect --fdpass ssh@gate %p\n    \
         ProxyUseFdpass yes\n",
        env!("CARGO_BIN_EXE_spa-client")
    );
    for args in [&["ssh-config"][..], &["ssh-config", "gate"], &["ssh-config", "g"]] {
        let ended = done(&server, args);
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (Some(0), block.as_str()),
            "{args:?}: {}",
            ended.err
        );
    }
    let relay = done(&server, &["ssh-config", "gate", "--relay"]).out;
    assert_eq!(relay, block.replace("--fdpass ", "").replace("    ProxyUseFdpass yes\n", ""));
    assert_eq!(done(&server, &["ssh-config", "gate", "--service", "vpn"]).code, Some(1));
    assert_eq!(done(&server, &["ssh-config", "nowhere"]).code, Some(4));
    server.config("[host.gate]\naliases = [\"g\", \"evil\\nProxyCommand x\"]\n");
    let evil = done(&server, &["ssh-config"]);
    assert_eq!((evil.code, evil.out.as_str()), (Some(78), ""), "{}", evil.err);
}

/// C6. What ssh makes of ~/.ssh/config for a name.
fn proxy_command(server: &Fake, name: &str) -> Option<String> {
    let config = server.home.join(".ssh/config");
    let mut ssh = Command::new("ssh");
    let output = ssh.arg("-F").arg(config).args(["-G", name]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("proxycommand ")).map(str::to_owned)
}

/// C6. Once or often, whatever stood there, and with a program that is found without PATH.
#[test]
fn c6_ssh_config_is_installed_above_all_else() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Fake::new(&["127.0.0.1"]).with_ssh(&listener);
    let ours = format!("{} connect --fdpass ssh@gate %p", env!("CARGO_BIN_EXE_spa-client"));
    let install = || {
        let ended = done(&server, &["ssh-config", "--install"]);
        assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""), "{}", ended.err);
        assert!(!ended.err.contains("warning"), "{}", ended.err);
    };
    let config = server.home.join(".ssh/config");
    // There is no ~/.ssh at all.
    install();
    let first = fs::read_to_string(&config).unwrap();
    assert_eq!(proxy_command(&server, "gate"), Some(ours.clone()));
    install();
    assert_eq!(fs::read_to_string(&config).unwrap(), first);
    // A file of the user's own: no last newline, another ProxyCommand for every host, and a line of
    // ours that has come to stand below it.
    for theirs in ["Host *\n    ProxyCommand nc %h %p", "Host other\n    User me"] {
        fs::write(&config, format!("{theirs}\n{first}Port 2200")).unwrap();
        for _twice in 0..2 {
            install();
            assert_eq!(proxy_command(&server, "gate"), Some(ours.clone()));
            let text = fs::read_to_string(&config).unwrap();
            assert_eq!(text.matches("Include").count(), 1, "{text}");
            assert!(text.contains(theirs) && text.ends_with("\nPort 2200"), "{text}");
        }
        let other = proxy_command(&server, "elsewhere");
        assert_eq!(other.is_some(), theirs.contains("ProxyCommand"), "{other:?}");
    }
    // A link stays one.
    let real = server.home.join("dotfiles");
    fs::rename(&config, &real).unwrap();
    std::os::unix::fs::symlink(&real, &config).unwrap();
    install();
    assert!(config.symlink_metadata().unwrap().is_symlink());
    // The doctor compares.
    let doctor = || {
        let ended = done(&server, &["doctor", "gate", "--json"]);
        let told: Value = serde_json::from_str(&ended.out).unwrap();
        let findings = told["findings"].as_array().unwrap().clone();
        findings.into_iter().find(|one| one["check"] == "ssh").unwrap()
    };
    assert_eq!(doctor()["level"], "ok");
    fs::write(&real, "Host *\n    ProxyCommand nc %h %p\n").unwrap();
    assert_eq!(doctor()["level"], "warning", "{}", doctor());
    assert!(doctor()["text"].as_str().unwrap().contains("ssh-config --install"));
    fs::write(&real, "Host gate\n    ProxyCommand /gone/spa-client connect ssh@gate\n").unwrap();
    assert!(doctor()["text"].as_str().unwrap().contains("which is not there"), "{}", doctor());
}

#[test]
fn the_doctor_tells_skew_and_source_from_an_answer_and_changes_nothing() {
    let server = Fake::new(&["127.0.0.1"]);
    let client = server.start(&["doctor", "gate", "--knock", "--json"]);
    let all = server.transmission();
    // A close of a service that no server has.
    assert_eq!(server.open(&all[0]).1.body.op, Op::Close);
    let theirs = fake::now_ms() + 90_000;
    server.send(&all[2], &server.ack(&all[2], Status::Granted, Reason::None, 0, theirs));
    let ended = end(client);
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    let told: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&told["version"], &told["host"]), (&json!(1), &json!("gate")));
    let finding = |check: &str| {
        told["findings"]
            .as_array()
            .unwrap()
            .iter()
            .find(|one| one["check"] == check)
            .unwrap()
            .clone()
    };
    assert_eq!(finding("skew")["level"], "warning");
    assert_eq!(finding("skew")["mend"], "timedatectl set-ntp true");
    assert!(
        finding("skew")["text"].as_str().unwrap().contains("behind that at 127.0.0.1"),
        "{told}"
    );
    for good in ["config", "key", "host", "names", "route", "udp", "source"] {
        assert_eq!(finding(good)["level"], "ok", "{good}: {told}");
    }
}

#[test]
fn the_doctor_names_what_is_wrong_first() {
    let server = Fake::new(&["127.0.0.1"]);
    let identity = server.folder().identity();
    let mode = |mode| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&identity, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o644);
    for args in [&["doctor"][..], &["doctor", "gate"]] {
        let ended = done(&server, args);
        assert_eq!(ended.code, Some(1));
        let first: Vec<&str> = ended.out.lines().take(2).collect();
        assert!(first[0].starts_with("error: key: others may use "), "{first:?}");
        assert_eq!(first[1], format!("    chmod 600 {}", identity.display()));
    }
    mode(0o600);
    let silent = done(&server, &["doctor", "gate", "--knock", "--timeout", "1s"]);
    assert_eq!(silent.code, Some(1));
    assert!(silent.out.starts_with("error: udp: no answer"), "{}", silent.out);
    let unknown = done(&server, &["doctor", "nowhere"]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.out.starts_with("error: host: there is no host `nowhere`"), "{}", unknown.out);
}

#[test]
fn completions_are_scripts_of_their_shells() {
    let server = Fake::new(&["127.0.0.1"]);
    for (shell, word) in [
        ("bash", "complete -F _spa__client"),
        ("zsh", "#compdef spa-client"),
        ("fish", "complete -c spa-client"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let ended = done(&server, &["completions", shell]);
        assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{shell}");
        assert!(ended.out.contains(word) && ended.out.contains("ssh-config"), "{shell}");
    }
    let bash = done(&server, &["completions", "bash"]).out;
    let mut check =
        std::process::Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    check.stdin.take().unwrap().write_all(bash.as_bytes()).unwrap();
    assert!(check.wait().unwrap().success());
}

/// The terminal is that of script(1).
#[test]
fn a_terminal_sees_a_sign_of_life_and_a_pipe_does_not() {
    let server = Fake::new(&["127.0.0.1"]);
    let line = format!("{} open vpn@gate --timeout 1s", env!("CARGO_BIN_EXE_spa-client"));
    let mut script = std::process::Command::new("script");
    script
        .args(["-qec", &line, "/dev/null"])
        .env("HOME", &server.home)
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::null());
    let shown = ended(script.output().unwrap());
    assert_eq!(shown.code, Some(3), "{}", shown.out);
    assert!(
        shown.out.starts_with("spa-client: knocking at gate (127.0.0.1), for another "),
        "{}",
        shown.out
    );
    let piped = done(&server, &["open", "vpn@gate", "--timeout", "1s"]);
    assert!(piped.err.starts_with("spa-client: no answer"), "{}", piped.err);
}

#[test]
fn an_interrupt_ends_every_command_as_it_ends_any_program() {
    let server = Fake::new(&["127.0.0.1"]);
    for args in [
        &["open", "vpn@gate"][..],
        &["open", "vpn@gate", "--hold"],
        &["close", "vpn@gate"],
        &["run", "vpn@gate", "--", "true"],
        &["connect", "vpn@gate", "1"],
        &["doctor", "gate", "--knock"],
    ] {
        let client = server.start(args);
        server.next();
        kill(Pid::from_raw(client.id().cast_signed()), Signal::SIGINT).unwrap();
        let output = client.wait_with_output().unwrap();
        // Which a shell shows as 130.
        assert_eq!(output.status.signal(), Some(2), "{args:?}");
        // What it had sent already is not taken for the next one's.
        while !server.nothing_more() {}
    }
}
