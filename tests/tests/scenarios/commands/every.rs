//! Every command of `spa-server` against a real server, in the words that it prints, and what each
//! says when there is no server or when it may not ask. What the other commands of the control
//! socket say stands in `control.rs`, `explain.rs` and `trial/`.

use clap::CommandFactory;
use spa_server::command::Cli;
use spa_tests::session::Session;
use spa_tests::transcript::SNAPSHOTS;

use super::*;

/// What asks the server, each in a form that would work.
const ASKING: [&str; 20] = [
    "status",
    "status --json",
    "grants",
    "open web --for 203.0.113.66",
    "open web --for 2001:db8:5::66 --json",
    "close g1",
    "close --client laptop",
    "close --all --json",
    "bans",
    "ban 203.0.113.66",
    "unban --all",
    "clients",
    "clients --json",
    "explain laptop ssh",
    "reload",
    "reload --json",
    "try",
    "try --cancel",
    "confirm",
    "metrics",
];

#[test]
fn how_the_server_is() {
    need_namespaces!();
    let config = scene::config(600).bait("telnet", "ports = [\"tcp/23\"]\nban = \"1h\"");
    let House { net, scene } = house(&config);
    let server = &scene.server;
    let mut session = Session::new();
    session.run(server, "audit");
    session.run(server, "audit --json");
    for family in Family::BOTH {
        scene.client.must_open("ssh", family, &[]);
    }
    let stranger = net.stranger.address(Family::V6);
    assert!(
        server
            .control(&["open", "web", "--for", &stranger.to_string(), "--ttl", "5m"])
            .status
            .success()
    );
    assert!(server.control(&["close", "g1"]).status.success());
    session.run(server, "status");
    session.run(server, "status --json");
    // What was closed is on the disk before it is asked for.
    let kept = || String::from_utf8(server.control(&["audit"]).stdout).unwrap().contains("uid");
    assert!(wait_until(PATIENCE, kept), "{:?}", server.control(&["audit"]));
    for words in [
        "audit",
        "audit --json",
        "audit --client laptop --service ssh --limit 1",
        "audit --client nobody",
        "audit --client laptpo",
        "audit --service wbe --json",
        "audit --since 1h",
        "audit --since yesterday",
        "audit --limit none",
        "metrics",
        "metrics --json",
        "top",
        "accept-clock",
        "accept-clock --json",
        "check --offline",
        "check --offline --json",
        "check --live --offline",
    ] {
        session.run(server, words);
    }
    session.end("server-state");
}

#[test]
fn clients_come_and_go() {
    need_namespaces!();
    let House { net, scene } = house(&scene::config(600));
    let server = &scene.server;
    let mut session = Session::new();
    let key = Client::new(&net.client);
    let made = key.command("spa").args(["keygen", "-o"]).arg(key.key()).output().unwrap();
    let public = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    session.run(
        server,
        &format!("client add tablet {public} --service web --ttl 5m --from 192.0.2.0/24"),
    );
    session.run(server, &format!("client add tablet {public} --service web"));
    session.run(server, "client list");
    session.run(server, "client list --json");
    session.run(server, "client set tablet --service +ssh --expires 2100-01-01");
    session.run(server, "client set nobody --service ssh");
    for family in Family::BOTH {
        scene.client.must_open("ssh", family, &[]);
    }
    session.run(server, "client revoke laptop");
    session.run(server, "client revoke laptop");
    session.run(server, "client remove tablet");
    session.run(server, "grants");
    session.run(server, "invite phone --service ssh");
    session.run(server, "invitations");
    session.run(server, "invite --revoke phone");
    session.run(server, "invite --revoke phone --json");
    session.run(server, "invitations --json");
    session.run(server, "client list");
    let desk = Client::enrolled(&net.client, server, "desk", &["ssh"]);
    let rotated = desk.command("spa").args(["rotate", "server"]).output().unwrap();
    assert!(rotated.status.success(), "{rotated:?}");
    session.run(server, "client undo desk");
    session.run(server, "client undo desk");
    session.end("server-clients");
}

#[test]
fn the_servers_key_changes() {
    need_namespaces!();
    let House { net: _net, scene } = house(&scene::config(600));
    let server = &scene.server;
    let mut session = Session::new();
    for words in [
        "client line laptop",
        "client line nobody",
        "rotate-key --finish",
        "rotate-key --until 2100-01-01T00:00:00Z",
        "rotate-key --json",
        "reload",
        "client list",
        "rotate-key --finish",
    ] {
        session.run(server, words);
    }
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    both(|family| drop(scene.client.must_open("ssh", family, &[])));
    let followed = || {
        let clients = String::from_utf8(server.control(&["clients", "--json"]).stdout).unwrap();
        clients.contains("\"server-key\":\"new\"")
    };
    assert!(wait_until(PATIENCE, followed), "{:?}", server.control(&["clients"]));
    session.run(server, "rotate-key --finish --json");
    session.run(server, "reload");
    session.end("server-key");
}

#[test]
fn the_firewall_by_hand() {
    need_namespaces!();
    let net = lan();
    let mut server = Server::prepare(&net.server, &scene::config(600));
    let mut session = Session::new();
    for words in ["firewall remove", "firewall print", "firewall install", "firewall install"] {
        session.run(&server, words);
    }
    let bad = scene::config(600).set("firewall.mode", "\"gard\"");
    server.configure(&bad);
    session.run(&server, "firewall print");
    session.run(&server, "firewall install");
    session.run(&server, "firewall render routeros --server 192.0.2.1");
    server.configure(&scene::config(600));
    let both = "--server 192.0.2.1 --server 2001:db8:1::1";
    session.run(&server, &format!("firewall render routeros {both}"));
    session.run(&server, "firewall render routeros --undo");
    server.launch();
    session.run(&server, "firewall install");
    session.run(&server, "firewall remove");
    // Beside a running server nothing is done.
    assert!(spa_tests::nft::table_exists(&net.server, "inet", "spa"));
    assert!(server.stop().success());
    session.run(&server, "firewall remove");
    assert!(!spa_tests::nft::table_exists(&net.server, "inet", "spa"));
    session.end("server-firewall");
}

#[test]
fn the_first_configuration() {
    need_namespaces!();
    let net = lan();
    let server = Server::prepare(&net.server, &scene::config(600));
    let mut session = Session::new();
    for (place, more) in
        [("one", &[][..]), ("two", &["--json"]), ("one", &[]), ("three", &["--host", "a/b"])]
    {
        let mut command = net.server.command(binary("spa-server"));
        let file = server.folder().join(place).join("spa-server.toml");
        command.arg("init").args(more).arg("--config").arg(&file);
        let line = format!("spa-server init {} --config {}", more.join(" "), file.display())
            .replace("  ", " ");
        session.record(&server, &line, &command.stdin(Stdio::null()).output().unwrap());
    }
    session.end("server-init");
}

#[test]
fn a_server_is_backed_up_and_restored() {
    need_namespaces!();
    let House { net: _net, mut scene } = house(&scene::config(600));
    let mut session = Session::new();
    let archive = scene.server.folder().join("spa.backup").display().to_string();
    for words in ["backup ARCHIVE", "backup ARCHIVE", "backup ARCHIVE --force --json", "status"] {
        session.run(&scene.server, &words.replace("ARCHIVE", &archive));
    }
    assert!(scene.server.control(&["invite", "phone", "--service", "ssh"]).status.success());
    for words in ["status", "status --json", "restore ARCHIVE"] {
        session.run(&scene.server, &words.replace("ARCHIVE", &archive));
    }
    scene.server.stop();
    for words in [
        "restore ARCHIVE",
        "restore ARCHIVE --force",
        "restore ARCHIVE --json",
        "restore server.toml",
    ] {
        session.run(&scene.server, &words.replace("ARCHIVE", &archive));
    }
    session.end("server-backup");
}

#[test]
fn no_server_runs() {
    need_namespaces!();
    let net = lan();
    let server = Server::prepare(&net.server, &scene::config(600));
    let mut session = Session::new();
    for words in ASKING.iter().chain(&["audit", "audit --json", "top"]) {
        session.run(&server, words);
        assert!(!spa_tests::nft::table_exists(&net.server, "inet", "spa"), "{words}");
    }
    session.end("server-stopped");
}

/// Neither the socket nor the files are for everybody.
#[test]
fn somebody_who_may_not_ask() {
    need_namespaces!();
    let House { net, scene } = house(&scene::config(600));
    let server = &scene.server;
    let folder = server.folder();
    let program = folder.join("spa-server");
    assert!(Command::new("cp").arg(binary("spa-server")).arg(&program).status().unwrap().success());
    for (path, mode) in
        [(folder.to_owned(), 0o711), (folder.join("server.toml"), 0o644), (program.clone(), 0o755)]
    {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut session = Session::new();
    let more = [
        "client list",
        "invitations",
        "invite phone --service ssh",
        "audit",
        "firewall install",
        "firewall remove",
    ];
    for words in ASKING.iter().chain(&more) {
        let mut command = net.server.command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"]);
        command
            .arg(&program)
            .args(words.split(' '))
            .arg("--config")
            .arg(folder.join("server.toml"));
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert_ne!(output.status.code(), Some(0), "{words}: {output:?}");
        session.record(server, &format!("spa-server {words}"), &output);
    }
    assert_eq!(server.status()["trial"], Value::Null);
    session.end("server-not-permitted");
}

/// Paths of all commands that are no group: `client add`, and whether each takes `--json`.
fn leaves(command: &clap::Command, path: &str, found: &mut Vec<(String, bool)>) {
    let below: Vec<&clap::Command> =
        command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help").collect();
    if below.is_empty() {
        let json = command.get_arguments().any(|argument| argument.get_long() == Some("json"));
        found.push((path.to_owned(), json));
    }
    for command in below {
        leaves(command, &format!("{path} {}", command.get_name()), found);
    }
}

#[test]
fn no_command_is_without_a_snapshot() {
    let mut all = "\n".to_owned();
    for entry in fs::read_dir(SNAPSHOTS).unwrap() {
        all += &(fs::read_to_string(entry.unwrap().path()).unwrap() + "\n");
    }
    // A command's line, and what stands below it until the next one.
    let runs: Vec<(&str, &str)> = all
        .split("\n$ ")
        .filter_map(|run| run.split_once('\n'))
        .filter(|(line, _)| !line.contains("--help"))
        .collect();
    let mut found = Vec::new();
    leaves(&Cli::command(), "spa-server", &mut found);
    assert!(found.len() > 20, "{found:?}");
    // It says what is on this machine: see `uninstall.rs`.
    found.retain(|(path, _)| path != "spa-server uninstall-check");
    for (path, json) in found {
        let of_it = |line: &str| line == path || line.starts_with(&format!("{path} "));
        let its: Vec<_> = runs.iter().filter(|(line, _)| of_it(line)).collect();
        let failed = |text: &str| text.contains("[exit code ");
        assert!(its.iter().any(|(_, text)| failed(text)), "`{path}`: no snapshot of an error");
        // What runs until it is told to stop, needs a terminal, another clock or a program, or
        // prints a long script has a test of its own.
        let apart = [
            "spa-server run",
            "spa-server top",
            "spa-server completions",
            "spa-server accept-clock",
            "spa-server firewall conformance",
        ];
        if !apart.contains(&path.as_str()) {
            assert!(
                its.iter().any(|(_, text)| !failed(text)),
                "`{path}`: no snapshot of a success"
            );
        }
        if json {
            let told = |line: &str| line.split(' ').any(|word| word == "--json");
            assert!(its.iter().any(|(line, _)| told(line)), "`{path}`: no snapshot with --json");
        }
    }
}
