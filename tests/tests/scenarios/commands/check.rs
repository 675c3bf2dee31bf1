//! `spa-server check`.

use super::*;

#[test]
fn check_is_content_with_every_example() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pkg/examples");
    let mut checked = 0;
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        checked += 1;
        let folder = TempDir::new();
        let here = folder.path().display().to_string();
        let made = run(Command::new(binary("spa"))
            .args(["keygen", "--server", "-o"])
            .arg(folder.join("server.key")));
        assert_eq!(made.0, Some(0), "{made:?}");
        // Its own paths are those of an installed server.
        let paths = format!("key = \"{here}/server.key\"\nclients = \"{here}/clients.toml\"\n");
        let text = fs::read_to_string(&path).unwrap();
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with("key = ") && !line.starts_with("clients = "))
            .map(|line| format!("{line}\n"))
            .collect();
        let text = match text.contains("[server]\n") {
            true => text.replacen("[server]\n", &format!("[server]\n{paths}"), 1),
            false => format!("[server]\n{paths}{text}"),
        };
        let file = folder.write("server.toml", text);
        let (code, out, err) = run(Command::new(binary("spa-server")).arg("check").arg(&file));
        assert_eq!((code, err.as_str()), (Some(0), ""), "{}: {out}", path.display());
        let complaints =
            out.lines().filter(|line| line.contains(" error: ") || line.contains(" warning: "));
        let complaints: Vec<_> =
            complaints.filter(|line| !line.contains("there are no clients yet")).collect();
        assert!(complaints.is_empty(), "{}: {complaints:#?}", path.display());
        assert!(out.contains(": ok: "), "{out}");
    }
    assert!(checked >= 3, "{checked} examples");
}

#[test]
fn check_finds_hooks_that_would_not_run() {
    let folder = TempDir::new();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = |name: &str, mode| {
        let path = folder.write(name, "#!/bin/sh\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let (good, text) = (program("good", 0o755), program("text", 0o644));
    let (open, foreign) = (program("open", 0o757), program("foreign", 0o755));
    if chown(&foreign, Some(65_534), None).is_err() {
        // Only root can give files away.
        return;
    }
    let hook = |key: &str, run: &str, user: &str| {
        format!("{key} = {{ run = [\"{run}\"], user = \"{user}\" }}\n")
    };
    let service = |port, on_open: &str, on_close: &str| {
        format!(
            "ports = [\"tcp/{port}\"]\n{}{}",
            hook("on-open", on_open, "nobody"),
            hook("on-close", on_close, "no-such-user")
        )
    };
    let config = Config::default()
        .service("one", &service(22, &folder.join("gone").display().to_string(), &good))
        .service("two", &service(23, &text, &open))
        .service("three", &service(24, &foreign, &good));
    let path = folder.write("server.toml", config.text(folder.path()));
    let made = run(Command::new(binary("spa"))
        .args(["keygen", "--server", "-o"])
        .arg(folder.join("server.key")));
    assert_eq!(made.0, Some(0), "{made:?}");
    let (code, out, err) = run(Command::new(binary("spa-server")).arg("check").arg(&path));
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let lines: Vec<&str> = out.lines().collect();
    let found: Vec<(&str, &str)> = lines
        .windows(3)
        .filter_map(|at| {
            Some((
                at[0].split_once("would not run: ")?.1,
                &at[1][at[2].find('^')?..=at[2].rfind('^')?],
            ))
        })
        .collect();
    let (gone, ghost) = (folder.join("gone").display().to_string(), "\"no-such-user\"".to_owned());
    let quoted = |path: &str| format!("\"{path}\"");
    let expected = [
        ("does not exist", quoted(&gone)),
        ("there is no user no-such-user", ghost.clone()),
        ("is not executable (mode 0644); fix it with: chmod +x", quoted(&text)),
        ("others may change", quoted(&open)),
        ("there is no user no-such-user", ghost.clone()),
        ("belongs to user 65534, who could change it", quoted(&foreign)),
        ("there is no user no-such-user", ghost),
    ];
    assert_eq!(found.len(), expected.len(), "{out}");
    for ((said, marked), (words, place)) in found.iter().zip(&expected) {
        assert!(said.contains(words) && marked == place, "{words} at {place}: {said} at {marked}");
    }
    assert!(
        lines.iter().all(|line| !line.contains("would not run") || line.contains(": warning: ")),
        "{out}"
    );
}

/// The proxy of a container engine: what it takes over IPv6 was never forwarded.
#[test]
fn f10_a_program_at_a_port_that_is_hidden_behind_is_named() {
    need_namespaces!();
    let net = lan();
    let behind = "ports = [\"tcp/8080\"]\nttl = \"60s\"\nhook = \"forward\"";
    let config = scene::config(60).set("firewall.interfaces", "[\"eth0\"]").service("app", behind);
    let words = "tcp/8080 of hosts behind this one, but";
    let said = |server: &Server| {
        let output = server.control(&["check", "--live"]);
        String::from_utf8(output.stdout).unwrap()
    };
    let server = Server::prepare(&net.server, &config);
    assert!(!said(&server).contains(words));
    let _proxy = EchoServer::start(&net.server, 8080);
    let found = said(&server);
    let line = found.lines().find(|line| line.contains(words)).unwrap_or_else(|| panic!("{found}"));
    assert!(line.contains("warning"), "{line}");
    // The remedy that it names.
    let own = config.service("app-here", "ports = [\"tcp/8080\"]\nttl = \"60s\"");
    let server = Server::prepare(&net.server, &own);
    let found = said(&server);
    assert!(!found.contains(" error: "), "{found}");
    assert!(!found.contains(words), "{found}");
}

/// The ports are hidden, and nobody hears a knock.
#[test]
fn h7_a_table_without_a_server_is_named() {
    need_namespaces!();
    let net = lan();
    let mut server = Server::prepare(&net.server, &scene::config(60));
    let said = |server: &Server| {
        let output = server.control(&["check", "--live"]);
        String::from_utf8(output.stdout).unwrap().contains("no server runs here")
    };
    assert!(!said(&server), "nothing is hidden yet");
    let installed = server.control(&["firewall", "install"]);
    assert!(installed.status.success(), "{installed:?}");
    assert!(said(&server));
    server.launch();
    assert!(!said(&server));
    assert!(server.stop().success());
    assert!(said(&server));
}

/// As a key is that root has copied there.
#[test]
fn h5_a_key_that_the_server_cannot_read_is_an_error() {
    need_namespaces!();
    let net = lan();
    let server = Server::prepare(&net.server, &scene::config(60));
    let checked = || {
        let output = server.control(&["check", "--live"]);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let of = |path: &Path, uid: u32| chown(path, Some(uid), None).unwrap();
    let (folder, key) = (server.folder(), server.folder().join("server.key"));
    assert!(!checked().1.contains("cannot read it"));
    // As the unit has it: folder and files are its user's.
    let nobody = 65_534;
    for path in [folder, &key] {
        of(path, nobody);
    }
    assert!(!checked().1.contains("cannot read it"), "{:?}", checked());
    of(&key, 0);
    let (code, text) = checked();
    let chown = format!("cannot read it: chown nobody: {}", key.display());
    assert!(code == Some(78) && text.contains(&chown), "{code:?}: {text}");
    of(folder, 0);
}
