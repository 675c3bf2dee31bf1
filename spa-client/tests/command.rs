//! What stops `spa-client` before anything is sent.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod fake;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use fake::{Fake, end, ended};
use spa_keys::{HostLine, TextForm, file};
use spa_proto::ClientSecret;

fn refused(server: &Fake, args: &[&str], code: i32, says: &str) {
    let ended = end(server.start(args));
    assert_eq!(ended.code, Some(code), "{args:?}: {}", ended.err);
    let shown = ended.err.replace(server.home.to_str().unwrap(), "HOME");
    assert!(shown.contains(says), "{args:?}: {shown}");
    assert_eq!(ended.out, "");
    assert!(server.nothing_more(), "{args:?}");
}

/// C9. By hand as by command; and nobody else may choose where this client knocks.
#[test]
fn c9_settings_are_checked_as_the_servers_are() {
    let server = Fake::new(&["127.0.0.1"]);
    for (setting, says) in [
        ("addresses = [\"\"]", "`` is not a host"),
        ("addresses = [\"ssh://gate\"]", "is not a host"),
        ("addresses = [\"999.999.999.999\"]", "is not a host"),
        ("aliases = [\"../x\"]", "`../x` is not a name"),
        ("identity = \"\"", "identity is not the path"),
    ] {
        server.config(&format!("[host.gate]\n{setting}\n"));
        refused(&server, &["open", "vpn@gate"], 78, says);
    }
    server.config("[host.gate]\n");
    for mode in [0o666, 0o620] {
        let path = server.folder().config();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        refused(&server, &["open", "vpn@gate"], 77, "chmod go-w HOME/.config/spa/config.toml");
    }
}

/// C16. Whatever has no end is refused, and hangs nobody.
#[test]
fn c16_what_has_no_end_is_refused() {
    let server = Fake::new(&["127.0.0.1"]);
    for descriptor in ["1", "2"] {
        let open = &["open", "vpn@gate", "--passphrase-fd", descriptor];
        refused(&server, open, 1, "is not open for reading alone");
    }
    // Both ends of one pipe are ours.
    let mut open = std::process::Command::new("bash");
    open.env("HOME", &server.home).args([
        "-c",
        "mkfifo $HOME/p; exec 3<>$HOME/p; exec \"$0\" \
        open vpn@gate --passphrase-fd 3",
        env!("CARGO_BIN_EXE_spa-client"),
    ]);
    let ended = ended(open.output().unwrap());
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("is not open for reading alone"), "{}", ended.err);
    for long in [5000, 66_000, 120_000] {
        let line = format!("SPA-INVITATION-1{}", "q".repeat(long));
        let ended = end(server.start(&["join", &line]));
        assert_eq!(ended.code, Some(1), "{long}");
        assert!(ended.err.len() < 1000, "{long}: {}", ended.err);
    }
    let mut silent = std::process::Command::new(env!("CARGO_BIN_EXE_spa-client"))
        .env("HOME", &server.home)
        .args(["open", "vpn@gate", "--passphrase-fd", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _held = silent.stdin.take();
    let said = silent.wait_with_output().unwrap().stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("nothing came from file descriptor 0 for 15 s"), "{said}");
}

#[test]
fn command_lines() {
    let server = Fake::new(&["127.0.0.1"]);
    for (args, says) in [
        (vec!["open"], "required"),
        (vec!["open", "ssh"], "write SERVICE@HOST"),
        (vec!["open", "@gate"], "name of a service is missing"),
        (vec!["open", "ssh@"], "host is missing"),
        (vec!["open", "ssh@gate", "--ttl", "30"], "`30` has no unit: write `30s`"),
        (vec!["open", "ssh@gate", "--ttl", "0s"], "`0s` is outside 1s to 18h12m15s"),
        (vec!["open", "ssh@gate", "--ttl", "65536s"], "`65536s` is outside 1s to 18h12m15s"),
        (vec!["open", "ssh@gate", "--timeout", "x"], "`x` is not a time"),
        (vec!["open", "ssh@gate", "-4", "-6"], "cannot be used with"),
        (vec!["shut", "ssh@gate"], "unrecognized subcommand"),
        (vec!["close", "ssh"], "write SERVICE@HOST"),
        (vec!["run", "ssh@gate"], "required"),
        (vec!["run", "ssh@gate", "true"], "unexpected argument"),
        (vec!["connect", "ssh@gate", "0"], "0 is not in"),
        (vec!["connect", "ssh,vpn@gate", "22"], "a connection is to one service"),
        (
            vec!["connect", "vpn@gate"],
            "names no TCP port for vpn; name it: spa-client connect vpn@gate PORT",
        ),
        (
            vec!["connect", "ssh@gate", "22", "--fdpass"],
            "set ProxyUseFdpass yes in ssh_config, or leave out --fdpass",
        ),
        (vec!["doctor", "--knock"], "required"),
        (vec!["doctor", "@gate"], "name of a service is missing"),
        (
            vec!["open", "ssh@gate", "--expect-address", "here"],
            "`here` is not an address or network",
        ),
        (vec!["open", "ssh@../../etc/passwd"], "is not a name for a host"),
        (vec!["open", "ssh@\u{1b}[2J"], "`\\u{1b}[2J` is not a name for a host"),
    ] {
        refused(&server, &args, 2, says);
    }
}

#[test]
fn hosts_and_addresses() {
    let mut server = Fake::new(&["::1"]);
    refused(
        &server,
        &["open", "ssh@other"],
        4,
        "there is no host `other`; take its enrolment line with: spa host add",
    );
    refused(&server, &["open", "ssh@gate", "-4"], 4, "the host has no IPv4 address; try -6");
    server.config("[host.gate]\nfamily = \"4\"\n");
    refused(&server, &["open", "ssh@gate"], 4, "the host has no IPv4 address");
    fs::remove_file(server.folder().config()).unwrap();
    server.line.hosts.clear();
    server.enrol();
    refused(&server, &["open", "ssh@gate"], 4, "no address is known for the host");
    // Link-local without an interface leads nowhere.
    server.line.hosts = vec!["fe80::1".into()];
    server.enrol();
    refused(&server, &["open", "vpn@gate"], 4, "nothing was sent to fe80::1: ");
}

#[test]
fn files() {
    let server = Fake::new(&["127.0.0.1"]);
    let (folder, args) = (server.folder(), ["open", "vpn@gate"]);

    server.config("[host.gate]\nadresses = []\n");
    refused(&server, &args, 78, "unknown field `adresses`");
    server.config("[host.gate]\n\"\u{1b}]0;evil\" = 1\n");
    let ended = end(server.start(&args));
    assert_eq!(ended.code, Some(78));
    assert!(!ended.err.contains('\u{1b}'), "{:?}", ended.err);
    fs::remove_file(folder.config()).unwrap();

    let host = folder.host_file("gate").unwrap();
    fs::set_permissions(&host, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&server, &args, 77, "fix it with: chmod 600 HOME/.config/spa/hosts/gate.host");
    file::replace(&host, "# nothing\n").unwrap();
    refused(&server, &args, 78, "gate.host holds 0 lines, but must hold exactly one");
    let line = fs::read_to_string(&host).unwrap() + "SPA-HOST-1QQQQQQQQ\n";
    file::replace(&host, &line).unwrap();
    refused(&server, &args, 78, "gate.host:2: the checksum does not match");
    server.enrol();

    fs::set_permissions(folder.identity(), fs::Permissions::from_mode(0o640)).unwrap();
    refused(&server, &args, 77, "fix it with: chmod 600 HOME/.config/spa/identity");
    let other = ClientSecret::from_bytes([3; 32]);
    file::replace(&folder.identity(), other.to_text().expose()).unwrap();
    refused(&server, &args, 78, "gate was enrolled for another key than HOME/.config/spa/identity");
    fs::remove_file(folder.identity()).unwrap();
    refused(
        &server,
        &args,
        78,
        "HOME/.config/spa/identity does not exist; make a key with: spa keygen",
    );
}

#[test]
fn settings_name_addresses_and_keys_of_their_own() {
    let mut server = Fake::new(&["127.0.0.1"]);
    let other = ClientSecret::from_bytes([3; 32]);
    server.line.hosts = vec!["192.0.2.1".into()];
    server.line.client_check = HostLine::check_of(&other.public());
    server.enrol();
    file::write_new(&server.home.join("work.key"), other.to_text().expose()).unwrap();
    server.config("[host.gate]\naddresses = [\"127.0.0.1\"]\nidentity = \"~/work.key\"\n");
    // By address too: it stands in the settings.
    let client = server.start(&["open", "vpn@127.0.0.1", "--timeout", "1s"]);
    assert_eq!(server.next().to_ip.to_string(), "127.0.0.1");
    assert_eq!(end(client).code, Some(3));
}

#[test]
fn another_folder() {
    let server = Fake::new(&["127.0.0.1"]);
    let folder = server.folder();
    let mut command =
        server.command(&["open", "vpn@gate", "--config", folder.path().to_str().unwrap()]);
    let client = command.env_remove("HOME").spawn().unwrap();
    server.grant(60);
    assert_eq!(end(client).code, Some(0));
    let homeless = server.command(&["open", "vpn@gate"]).env_remove("HOME").output().unwrap();
    let homeless = ended(homeless);
    assert_eq!(homeless.code, Some(78));
    assert!(homeless.err.contains("neither XDG_CONFIG_HOME nor HOME is set"));
}

#[test]
fn a_service_that_the_line_does_not_name_is_asked_for_all_the_same() {
    let server = Fake::new(&["127.0.0.1"]);
    let client = server.start(&["open", "new@gate"]);
    server.grant(60);
    let ended = end(client);
    assert_eq!(ended.code, Some(0));
    assert_eq!(
        ended.err,
        "spa-client: new is not in the enrolment of gate (there: vpn); asking for it anyway\n"
    );
}

#[test]
fn closed_pipes_are_no_panic() {
    let server = Fake::new(&["127.0.0.1"]);
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    let client = server
        .command(&["open", "vpn@gate", "-v"])
        .stdout(closed())
        .stderr(closed())
        .spawn()
        .unwrap();
    server.grant(60);
    assert_eq!(end(client).code, Some(0));
}
