//! The command line of `spa`, as a user meets it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod folder;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

use folder::TempFolder;
use spa_keys::{HostLine, Sequence, Service, ServiceProto, TextForm, file};
use spa_proto::{ClientPublic, ClientSecret, HopKey, HopPlan, Psk, ServerSecret};

struct Run {
    code: i32,
    out: String,
    err: String,
}

/// Runs `spa` with this folder as HOME; the folder's name is shown as HOME in what it says.
fn spa(home: &TempFolder, args: &[&str], input: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_spa"))
        .args(args)
        .env_clear()
        .env("HOME", home.root())
        .current_dir(home.root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input has closed it: that is its right.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let shown =
        |bytes| String::from_utf8(bytes).unwrap().replace(home.root().to_str().unwrap(), "HOME");
    Run {
        code: output.status.code().unwrap(),
        out: shown(output.stdout),
        err: shown(output.stderr),
    }
}

fn install_key(home: &TempFolder, seed: u8) -> ClientPublic {
    let key = ClientSecret::from_bytes([seed; 32]);
    file::private_folder(&home.path(".config/spa")).unwrap();
    let text = format!("{}\n", key.to_text().expose());
    file::replace(&home.path(".config/spa/identity"), &text).unwrap();
    key.public()
}

fn line_for(client: &ClientPublic) -> HostLine {
    HostLine {
        server: ServerSecret::from_bytes([1; 32]).public(),
        client_check: HostLine::check_of(client),
        psk: Psk::from_bytes([2; 32]),
        name: "alice".into(),
        hosts: vec!["gate.example.org".into(), "192.0.2.1".into()],
        sequence: Sequence::Ports(vec![4001, 4002, 4003]),
        ack: true,
        kem: false,
        services: vec![
            Service { name: "ssh".into(), proto: ServiceProto::Tcp, port: 22 },
            Service { name: "vpn".into(), proto: ServiceProto::Udp, port: 51820 },
        ],
    }
}

#[test]
fn keygen_writes_once() {
    let home = TempFolder::new();
    let first = spa(&home, &["keygen"], "");
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(first.out.starts_with("spa1") && first.out.lines().count() == 1);
    assert!(
        first.err.contains("HOME/.config/spa/identity")
            && first.err.contains("fingerprint: SHA256:")
    );
    let path = home.path(".config/spa/identity");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o7777, 0o700);
    assert_eq!(spa(&home, &["pubkey"], "").out, first.out);

    let before = fs::read(&path).unwrap();
    let second = spa(&home, &["keygen"], "");
    assert_eq!((second.code, second.out.as_str()), (1, ""));
    assert_eq!(
        second.err,
        "spa: HOME/.config/spa/identity exists already and is never overwritten; to make a new \
         one, first: \
         mv HOME/.config/spa/identity HOME/.config/spa/identity.old\n"
    );
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn keygen_for_a_server() {
    let home = TempFolder::new();
    let made = spa(&home, &["keygen", "--server", "-o", "server.key"], "");
    assert_eq!(made.code, 0, "{}", made.err);
    assert!(made.out.starts_with("spaserver1"));
    assert_eq!(spa(&home, &["pubkey", "server.key"], "").out, made.out);
    assert_eq!(spa(&home, &["keygen", "--server"], "").code, 2);
    let secret = fs::read_to_string(home.path("server.key")).unwrap();
    let shown = spa(&home, &["inspect", "server.key"], "");
    assert!(
        shown.out.contains(made.out.trim()) && !shown.out.contains(secret.lines().last().unwrap())
    );
}

#[test]
fn xdg_folder_wins_over_home() {
    let home = TempFolder::new();
    let status = Command::new(env!("CARGO_BIN_EXE_spa"))
        .arg("keygen")
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("XDG_CONFIG_HOME", home.path("xdg"))
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(home.path("xdg/spa/identity").exists());
}

#[test]
fn closed_output_is_no_panic() {
    let home = TempFolder::new();
    install_key(&home, 7);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_spa"))
        .arg("inspect")
        .env_clear()
        .env("HOME", home.root())
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn inspect_tells_without_secrets() {
    let home = TempFolder::new();
    let client = install_key(&home, 7);
    let shown = spa(&home, &["inspect"], "");
    assert_eq!(
        shown.out,
        format!(
            "a client's secret key\n  public:      {}\n  fingerprint: \
             SHA256:04cc-3b8c-ac31-1e02-271e-74b1\n",
            client.to_text()
        )
    );

    let mut line = line_for(&client);
    let text = line.to_text().unwrap();
    let expected = "an enrolment line
  client:      alice
  for the key: SHA256:04cc-3b8c-ac31-1e02-…
  server:      spaserver15nsf9y4k28p83wth93tf7hafhvfajp45d2mge80ems45gz0c5gysj7cuju
  fingerprint: SHA256:1a92-f238-52dc-908d-9731-6a3b
  hosts:       gate.example.org, 192.0.2.1
  sequence:    ports 4001, 4002, 4003
  ack:         on
  services:    ssh (tcp/22), vpn (udp/51820)
";
    let piped = spa(&home, &["inspect", "-"], text.expose());
    assert_eq!((piped.code, piped.out.as_str(), piped.err.as_str()), (0, expected, ""));
    let argument = spa(&home, &["inspect", text.expose()], "");
    assert_eq!(argument.out, expected);
    assert!(argument.err.starts_with("spa: hint: a secret on the command line shows in `ps`"));

    let plan = HopPlan::new(20_000, 60_000, 4, vec![]).unwrap();
    line.sequence = Sequence::Hop { key: HopKey::from_bytes([3; 32]), plan };
    let hop = spa(&home, &["inspect", "-"], line.to_text().unwrap().expose());
    assert!(hop.out.contains("4 ports that change every ten minutes, within 20000-60000"));
}

#[test]
fn inspect_refuses() {
    let home = TempFolder::new();
    let client = install_key(&home, 7).to_text();
    let spoiled = client.replacen("spa1", "spa1q", 1);
    let cut = &client[..40];
    let cases = [
        (vec!["inspect", "missing"], "", 1, "missing does not exist"),
        (vec!["inspect", "-"], "", 1, "there is nothing to inspect"),
        (vec!["inspect", "-"], "hello", 1, "this is not an SPA text"),
        (
            vec!["inspect", &spoiled],
            "",
            1,
            "a client's public key has 113 characters, this has 114",
        ),
        (vec!["inspect", cut], "", 1, "a client's public key has 113 characters, this has 40"),
        (vec!["inspect", "/dev/zero"], "", 78, "/dev/zero is not a regular file"),
        (vec!["pubkey", "missing"], "", 1, "missing does not exist"),
        (vec!["host", "add", "-"], "SPA-HOST-1QQQQQQQQQQQQ", 1, "the checksum does not match"),
        (
            vec!["host", "add", &client],
            "",
            1,
            "this is a client's public key, not an enrolment line",
        ),
        (vec!["host", "remove", "../identity"], "", 2, "`../identity` is not a name for a host"),
        (vec!["host", "remove", "none"], "", 1, "there is no host `none`"),
        (vec!["frobnicate"], "", 2, "unrecognized subcommand"),
    ];
    for (args, input, code, says) in cases {
        let run = spa(&home, &args, input);
        assert_eq!(run.code, code, "{args:?}: {}", run.err);
        assert!(run.err.contains(says), "{args:?}: {}", run.err);
        assert_eq!(run.out, "", "{args:?}");
    }
}

#[test]
fn a_loose_key_file_is_refused_with_the_command_that_mends_it() {
    let home = TempFolder::new();
    install_key(&home, 7);
    fs::set_permissions(home.path(".config/spa/identity"), fs::Permissions::from_mode(0o644))
        .unwrap();
    let run = spa(&home, &["pubkey"], "");
    assert_eq!(run.code, 77);
    assert_eq!(
        run.err,
        "spa: others may use HOME/.config/spa/identity (mode 0644); fix it with: chmod 600 \
         HOME/.config/spa/identity\n"
    );
    let inspected = spa(&home, &["inspect"], "");
    assert_eq!(inspected.code, 0);
    assert!(inspected.err.contains("warning: others may use"));
}

#[test]
fn host_add_list_remove() {
    let home = TempFolder::new();
    let client = install_key(&home, 7);
    let text = line_for(&client).to_text().unwrap();
    let text = text.expose();

    let added = spa(&home, &["host", "add", "-"], text);
    assert_eq!(
        (added.code, added.out.as_str()),
        (0, "spa-client open ssh@gate.example.org\nspa-client open vpn@gate.example.org\n")
    );
    assert!(added.err.starts_with(
        "enrolled as alice at gate.example.org: HOME/.config/spa/hosts/gate.example.org.host\n"
    ));
    let path = home.path(".config/spa/hosts/gate.example.org.host");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    assert!(fs::read_to_string(&path).unwrap().ends_with(&format!("\n{text}\n")));
    assert!(!home.path(".config/spa/config.toml").exists());

    let again = spa(&home, &["host", "add", "-"], text);
    assert_eq!(again.code, 1);
    assert_eq!(
        again.err,
        "spa: gate.example.org is enrolled already; to take this line instead, add --replace\n"
    );
    assert_eq!(spa(&home, &["host", "add", "-", "--replace"], text).code, 0);
    let named = spa(&home, &["host", "add", text, "--name", "gate"], "");
    assert_eq!(named.code, 0);
    assert!(named.err.contains("better: spa host add -"));

    let list = spa(&home, &["host", "list"], "");
    assert_eq!(
        list.out,
        "gate\talice\tssh (tcp/22), vpn (udp/51820)\n\
         gate.example.org\talice\tssh (tcp/22), vpn (udp/51820)\n"
    );
    fs::write(&path, "SPA-HOST-1QQ").unwrap();
    let list = spa(&home, &["host", "list"], "");
    assert_eq!((list.code, list.out.lines().count()), (78, 1));
    assert!(list.err.contains("gate.example.org.host:1: "), "{}", list.err);

    assert_eq!(spa(&home, &["host", "remove", "gate.example.org"], "").code, 0);
    assert!(!path.exists());
}

#[test]
fn host_add_keeps_the_users_settings() {
    let home = TempFolder::new();
    let client = install_key(&home, 7);
    fs::rename(home.path(".config/spa/identity"), home.path("work.key")).unwrap();
    let config = home.path(".config/spa/config.toml");
    fs::write(&config, "# mine\n[host.gate]\nfamily = \"6\" # why not\n").unwrap();
    let text = line_for(&client).to_text().unwrap();
    let args = [
        "host",
        "add",
        "-",
        "--name",
        "gate",
        "--address",
        "192.0.2.7",
        "--address",
        "2001:db8::7",
        "--identity",
        "work.key",
    ];
    let run = spa(&home, &args, text.expose());
    assert_eq!(run.code, 0, "{}", run.err);
    let expected = "# mine\n[host.gate]\nfamily = \"6\" # why not\naddresses = [\"192.0.2.7\", \
        \"2001:db8::7\"]\n\
                    identity = \"HOME/work.key\"\n";
    let shown =
        |path| fs::read_to_string(path).unwrap().replace(home.root().to_str().unwrap(), "HOME");
    assert_eq!(shown(&config), expected);
    let dotted = ["host", "add", "-", "--address", "192.0.2.8", "--identity", "work.key"];
    assert_eq!(spa(&home, &dotted, text.expose()).code, 0);
    assert!(shown(&config).contains("[host.\"gate.example.org\"]\naddresses = [\"192.0.2.8\"]\n"));
    assert_eq!(spa(&home, &["host", "remove", "gate"], "").code, 0);
    assert!(!shown(&config).contains("192.0.2.7"));

    fs::write(&config, "[host.gate\n").unwrap();
    let broken = spa(
        &home,
        &["host", "add", "-", "--name", "new", "--address", "::1", "--identity", "work.key"],
        text.expose(),
    );
    assert_eq!(broken.code, 78);
    assert!(!home.path(".config/spa/hosts/new.host").exists());
}

#[test]
fn a_line_for_another_key_is_found_at_once() {
    let home = TempFolder::new();
    let other = ClientSecret::from_bytes([9; 32]).public();
    let text = line_for(&other).to_text().unwrap();
    let none = spa(&home, &["host", "add", "-"], text.expose());
    assert_eq!(none.code, 1);
    assert!(none.err.contains("there is no key at HOME/.config/spa/identity"));
    install_key(&home, 7);
    let wrong = spa(&home, &["host", "add", "-"], text.expose());
    assert_eq!(wrong.code, 1);
    assert!(
        wrong
            .err
            .contains("the line was made for another key than HOME/.config/spa/identity (SHA256:")
    );
    assert!(!home.path(".config/spa/hosts").exists());
}

#[test]
fn systemds_credentials_may_be_readable_by_their_group() {
    let home = TempFolder::new();
    install_key(&home, 7);
    fs::create_dir(home.path("credentials")).unwrap();
    let path = home.path("credentials/key");
    fs::rename(home.path(".config/spa/identity"), &path).unwrap();
    let run = |bits| {
        fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
        let command = Command::new(env!("CARGO_BIN_EXE_spa"))
            .arg("pubkey")
            .arg(&path)
            .env_clear()
            .env("CREDENTIALS_DIRECTORY", home.path("credentials"))
            .output();
        command.unwrap().status.code()
    };
    assert_eq!(run(0o400), Some(0));
    assert_eq!(run(0o440), Some(0));
    for bits in [0o460, 0o444, 0o640] {
        assert_eq!(run(bits), Some(77), "{bits:o}");
    }
}

/// C16. More than a pipe holds was handed on before anybody read.
#[test]
fn c16_a_line_that_is_none_by_its_length_is_refused() {
    let home = TempFolder::new();
    for long in [5000, 66_000, 120_000] {
        let run = spa(&home, &["join", &format!("SPA-INVITATION-1{}", "q".repeat(long))], "");
        assert_eq!(run.code, 1, "{long}: {}", run.err);
        assert!(run.err.contains("a line has 4096 at most"), "{long}: {}", run.err);
    }
    for descriptor in ["1", "2"] {
        let run = spa(&home, &["keygen", "--passphrase-fd", descriptor], "");
        assert_eq!(run.code, 1, "{}", run.err);
        assert!(run.err.contains("is not open for reading alone"), "{}", run.err);
    }
}
