//! A reader that goes away (`| head -0`, `2>&- `) changes nothing of what a command does.

use super::*;

/// Standard output, or standard error, of which nobody reads.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    Stdio::from(writer)
}

#[test]
fn a_closed_pipe_is_no_error() {
    let home = TempDir::new();
    let here = home.path().display().to_string();
    home.write(
        "server.toml",
        format!(
            "[server]\nkey = \"{here}/server.key\"\nclients = \"{here}/clients.toml\"\nstate = \
             \"{here}/state\"\n\
             control = \"{here}/control.sock\"\nhosts = \
                 [\"gate.example.org\"]\n\n[sequence]\nports = [7013, 41]\n\n\
             [[service]]\nname = \"ssh\"\nports = [\"tcp/22\"]\n"
        ),
    );
    let command = |line: &str| {
        let mut words = line.split_whitespace();
        let mut command = Command::new(binary(words.next().unwrap()));
        command.args(words).env("HOME", home.path()).env_remove("XDG_CONFIG_HOME");
        command.current_dir(home.path()).stdin(Stdio::null());
        command
    };
    assert!(command("spa keygen --server -o server.key").output().unwrap().status.success());
    let public = command("spa keygen").output().unwrap().stdout;
    let public = String::from_utf8(public).unwrap().trim().to_owned();
    let lines = [
        "spa --help",
        "spa pubkey",
        "spa inspect",
        "spa check",
        "spa host list",
        "spa completions zsh",
        "spa import knockd nowhere",
        "spa-client --help",
        "spa-client host list",
        "spa-client host list --json",
        "spa-client ssh-config",
        "spa-client completions bash",
        "spa-client open ssh@gate",
        "spa-server --help",
        "spa-server check server.toml",
        "spa-server check server.toml --json",
        "spa-server client list --json",
        "spa-server invitations",
        "spa-server status",
        "spa-server firewall print",
    ];
    let config = |line: &str| {
        let none =
            line.contains("check") || !line.starts_with("spa-server") || line.contains("--help");
        if none { line.to_owned() } else { format!("{line} --config server.toml") }
    };
    for line in lines.map(config) {
        let whole = command(&line).output().unwrap();
        let out = command(&line).stdout(unread()).output().unwrap();
        assert_eq!((out.status, &out.stderr), (whole.status, &whole.stderr), "{line} | head -0");
        let err = command(&line).stderr(unread()).output().unwrap();
        assert_eq!(
            (err.status, &err.stdout),
            (whole.status, &whole.stdout),
            "{line}, nobody listens"
        );
    }
    // What changes something is done all the same, and whole.
    for out in [true, false] {
        for line in [
            &format!("spa-server client add laptop {public} --service ssh"),
            "spa-server client remove laptop",
            "spa-server invite phone --service ssh",
            "spa-server invite --revoke phone",
        ] {
            let mut command = command(&format!("{line} --config server.toml"));
            let ended = if out { command.stdout(unread()) } else { command.stderr(unread()) }
                .output()
                .unwrap();
            assert!(ended.status.success(), "{line}: {ended:?}");
        }
    }
}
