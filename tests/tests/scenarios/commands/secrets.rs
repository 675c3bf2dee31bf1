//! Keys and lines stay where they belong.

use nix::sys::signal::{Signal, kill};

use super::*;

#[test]
fn secrets_stay_in_their_files() {
    need_namespaces!();
    let mut house = house(&scene::config(600).set("log.level", "\"debug\""));
    let (pid, listener) =
        (house.scene.server.daemon().pid(), house.scene.server.daemon().listener());
    let Scene { server, client, .. } = &house.scene;
    let secrets = secrets(server, client);
    let hidden = |place: &str, bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "a secret is in {place}: {text}");
        }
    };

    for family in Family::BOTH {
        let opened = client.open("ssh", family, &["-v"]);
        assert!(opened.status.success(), "{opened:?}");
        hidden("what the client says", opened.stderr.as_bytes());
        hidden("the client's JSON", opened.json.to_string().as_bytes());
    }
    let denied = client.open("nothing", Family::V4, &["-v"]);
    hidden("what the client says", denied.stderr.as_bytes());
    for arguments in [
        &["status", "--json"][..],
        &["client", "list", "--json"],
        &["check"],
        &["firewall", "print"],
        &["grants", "--json"],
        &["clients", "--json"],
        &["explain", "laptop", "ssh", "--json"],
        &["metrics"],
        &["audit", "--json"],
    ] {
        let output = server.control(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        hidden(&arguments.join(" "), &[output.stdout, output.stderr].concat());
    }
    for file in fs::read_dir(server.folder().join("state")).unwrap().flatten() {
        hidden("the server's store", &fs::read(file.path()).unwrap());
    }
    for (pid, name) in [(pid, "spa-server"), (listener, "spa-listener")] {
        assert_eq!(name_of(pid), name);
        assert_process_tells_nothing(pid, &hidden);
    }
    hidden("the server's log", server.log().lines().join("\n").as_bytes());
    assert!(server.log().lines().len() > 3, "there is a log");

    // A client that waits for an answer, for long enough to be looked at.
    let listener = nix::unistd::Pid::from_raw(listener.cast_signed());
    kill(listener, Signal::SIGSTOP).unwrap();
    let mut waiting =
        Waiting::start(client.command("spa-client").args(["open", "web@server", "-4", "-v"]));
    assert!(
        wait_until(PATIENCE, || name_of(waiting.0.id()) == "spa-client"),
        "the client does not start"
    );
    assert_process_tells_nothing(waiting.0.id(), &hidden);
    assert!(waiting.0.try_wait().unwrap().is_none(), "it was looked at while it ran");
    kill(listener, Signal::SIGCONT).unwrap();
}

fn assert_process_tells_nothing(pid: u32, hidden: &dyn Fn(&str, &[u8])) {
    let process = PathBuf::from(format!("/proc/{pid}"));
    for file in ["cmdline", "environ"] {
        let content = fs::read(process.join(file)).unwrap();
        assert!(!content.is_empty(), "{pid} {file}");
        hidden(file, &content);
    }
}

/// Every secret text of a server and its client: keys, pre-shared keys, the enrolment line.
fn secrets(server: &Server, client: &Client) -> Vec<String> {
    let mut found = Vec::new();
    for path in [
        server.folder().join("server.key"),
        server.folder().join("clients.toml"),
        client.key(),
        client.folder().join("hosts/server.host"),
    ] {
        let text = fs::read_to_string(&path).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        let before = found.len();
        found.extend(
            words.filter(|word| word.starts_with("SPA-") && word.len() > 40).map(str::to_owned),
        );
        assert!(found.len() > before, "no secret in {}", path.display());
    }
    found
}

#[test]
fn files_and_sockets_are_for_their_owner() {
    need_namespaces!();
    let house = house(&scene::config(600));
    let Scene { server, client, .. } = &house.scene;
    client.must_open("ssh", Family::V4, &[]);
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    for (path, expected) in [
        (server.folder().join("server.key"), 0o600),
        (server.folder().join("clients.toml"), 0o600),
        (server.folder().join("control.sock"), 0o660),
        (server.folder().join("state"), 0o700),
        (client.folder(), 0o700),
        (client.key(), 0o600),
        (client.folder().join("hosts"), 0o700),
        (client.folder().join("hosts/server.host"), 0o600),
    ] {
        assert_eq!(mode(&path), expected, "{} has {:04o}", path.display(), mode(&path));
    }
    let store: Vec<_> = fs::read_dir(server.folder().join("state")).unwrap().flatten().collect();
    assert!(!store.is_empty(), "there is a store");
    for file in store {
        assert_eq!(mode(&file.path()) & 0o077, 0, "{}", file.path().display());
    }
}

#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_mends_it() {
    need_namespaces!();
    let house = house(&scene::config(600));
    let client = &house.scene.client;
    for (path, mode) in [
        (client.key(), 0o644),
        (client.folder().join("hosts/server.host"), 0o640),
        (client.key(), 0o606),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let opened = client.open("ssh", Family::V4, &["--timeout", "1s"]);
        assert_eq!(opened.status.code(), Some(77), "{opened:?}");
        let mend = format!("chmod 600 {}", path.display());
        assert!(opened.stderr.contains(&mend), "{}", opened.stderr);
        let mut words = mend.split(' ');
        let mended = run(Command::new(words.next().unwrap()).args(words));
        assert_eq!(mended.0, Some(0), "{mended:?}");
    }
    both(|family| drop(client.must_open("ssh", family, &[])));
    // The server is as careful with its own.
    let server = &house.scene.server;
    let key = server.folder().join("server.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let check = server.control(&["check"]);
    assert_eq!(check.status.code(), Some(78));
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(said.contains(&format!("chmod 600 {}", key.display())), "{said}");
}
