//! What `spa import` makes, judged by the programs that read it; and the documents that show it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use spa_tests::daemon::binary;
use spa_tests::temp::TempDir;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(name);
    fs::read_to_string(path).unwrap()
}

/// The blocks of a document: what stands behind the three ticks, and the text.
fn blocks(text: &str) -> Vec<(&str, &str)> {
    text.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap()).collect()
}

fn run(folder: &TempDir, program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary(program));
    command.args(arguments).current_dir(folder.path()).env_clear().env("HOME", folder.path());
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Writes the document's files, imports those of one side, and compares with what the document
/// shows.
fn shown(folder: &TempDir, name: &str, peer: &str, files: &[&str], result: &str) -> String {
    let text = document(name);
    let blocks = blocks(&text);
    let block = |head: &str| blocks.iter().find(|(found, _)| *found == head).map(|(_, text)| *text);
    for file in files {
        fs::write(folder.join(file), block(&format!("conf {file}")).unwrap()).unwrap();
    }
    let output = run(folder, "spa", &[&["import", peer], files].concat());
    let (out, err) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{err}");
    assert!(
        block(&format!("toml {result}")) == Some(out.as_str()),
        "{name} shows something else than\n{out}"
    );
    if let Some(remarks) = block("text remarks").filter(|_| result == "spa-server.toml") {
        assert!(remarks == err, "{name} shows something else than\n{err}");
    }
    assert!(!format!("{out}{err}").contains("aW5wdXQg"), "a key was shown: {out}{err}");
    out
}

/// Gives the configuration a key and a clients' file of this folder, and has the real program check
/// it.
fn checked(folder: &TempDir, made: &str) {
    let key = run(folder, "spa", &["keygen", "--server", "-o", "server.key"]);
    assert!(key.status.success(), "{}", said(&key));
    let at = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let own = format!(
        "[server]\nkey = \"{}\"\nclients = \"{}\"\nhosts = [\"gate.example.org\"]\n",
        at("server.key"),
        at("clients.toml")
    );
    fs::write(folder.join("spa-server.toml"), made.replacen("[server]\n", &own, 1)).unwrap();
    let check = run(folder, "spa-server", &["check", "--offline", "spa-server.toml"]);
    assert!(check.status.success(), "{}\n{made}", said(&check));

    let commands: Vec<&str> =
        made.lines().filter_map(|line| line.strip_prefix("#   spa-server ")).collect();
    for (number, command) in (0..).zip(&commands) {
        let file = format!("client-{number}");
        let public = run(folder, "spa", &["keygen", "-o", &file]);
        let public = String::from_utf8(public.stdout).unwrap();
        let command = command.replace("PUBLIC", public.trim());
        let arguments: Vec<&str> =
            command.split(' ').chain(["--config", "spa-server.toml"]).collect();
        let added = run(folder, "spa-server", &arguments);
        assert!(added.status.success(), "{command}: {}", said(&added));
    }
    let check = run(folder, "spa-server", &["check", "--offline", "spa-server.toml"]);
    assert!(check.status.success(), "{}", said(&check));
}

#[test]
fn fwknop_as_the_document_shows_it_and_as_the_server_takes_it() {
    let folder = TempDir::new();
    let files = ["fwknopd.conf", "access.conf"];
    let made = shown(&folder, "docs/from-fwknop.md", "fwknop", &files, "spa-server.toml");
    assert_eq!(made.matches("#   spa-server client add ").count(), 2, "{made}");
    checked(&folder, &made);
}

#[test]
fn knockd_as_the_document_shows_it_and_as_the_server_takes_it() {
    let folder = TempDir::new();
    let made = shown(&folder, "docs/from-knockd.md", "knockd", &["knockd.conf"], "spa-server.toml");
    checked(&folder, &made);
}

#[test]
fn fwknoprc_as_the_document_shows_it_and_as_the_client_takes_it() {
    let folder = TempDir::new();
    let made = shown(&folder, "docs/from-fwknop.md", "fwknop", &[".fwknoprc"], "config.toml");
    let own = folder.join(".config/spa");
    fs::create_dir_all(&own).unwrap();
    let open = |text: &str| {
        fs::write(own.join("config.toml"), text).unwrap();
        said(&run(&folder, "spa-client", &["open", "ssh@gate"]))
    };
    // Not enrolled is the first thing that is wrong with a good file; a bad one would be named
    // before.
    assert!(open(&made).contains("there is no host `gate`"), "{}", open(&made));
    assert!(open("[host.gate]\naddress = 1\n").contains("config.toml"));
}

#[test]
fn files_are_written_together_and_never_over_others() {
    let folder = TempDir::new();
    fs::write(folder.join("access.conf"), "SOURCE ANY\nOPEN_PORTS tcp/22\n").unwrap();
    fs::write(folder.join(".fwknoprc"), "[gate]\nSPA_SERVER gate.example.org\n").unwrap();
    let both = ["import", "fwknop", "access.conf", ".fwknoprc"];
    let one = run(&folder, "spa", &both);
    assert_eq!((one.status.code(), one.stdout.len()), (Some(2), 0), "{}", said(&one));
    let arguments = [&both[..], &["-o", "new"]].concat();
    let made = run(&folder, "spa", &arguments);
    assert_eq!(made.stdout, b"new/spa-server.toml\nnew/config.toml\n", "{}", said(&made));
    fs::remove_file(folder.join("new/spa-server.toml")).unwrap();
    let again = run(&folder, "spa", &arguments);
    assert_eq!(again.status.code(), Some(1), "{}", said(&again));
    assert!(!folder.join("new/spa-server.toml").exists(), "one of the two was written");

    fs::write(folder.join("access.conf"), b"SOURCE ANY\n# f\xfcr\n").unwrap();
    let latin = run(&folder, "spa", &["import", "fwknop", "access.conf"]);
    assert_eq!(latin.status.code(), Some(78));
    assert!(said(&latin).contains("access.conf:2: not UTF-8"), "{}", said(&latin));
}

#[test]
fn an_import_that_is_not_whole_says_so_and_fails() {
    let folder = TempDir::new();
    let import = |name: &str, text: &[u8]| {
        fs::write(folder.join(name), text).unwrap();
        let peer = if name == "knockd.conf" { "knockd" } else { "fwknop" };
        let output = run(&folder, "spa", &["import", peer, name]);
        (output.status.code(), said(&output))
    };
    let rule = "iptables -A INPUT -s %IP% -p tcp --dport 22 -j ACCEPT";
    let whole = format!("[a]\nsequence = 1,2\ncommand = {rule}\n");
    let (code, text) = import("knockd.conf", whole.as_bytes());
    assert_eq!(code, Some(0), "{text}");
    // With a byte order mark, as some editors write one.
    let marked = [b"\xef\xbb\xbf", whole.as_bytes()].concat();
    let (code, text) = import("knockd.conf", &marked);
    assert_eq!(code, Some(0), "{text}");
    for (name, text, told) in [
        ("knockd.conf", String::new(), "NOTHING WAS TAKEN OVER"),
        ("knockd.conf", "[options]\nUseSyslog\n".to_owned(), "NOTHING WAS TAKEN OVER"),
        ("knockd.conf", "[a]\nsequence = 1\ncommand = x\n".to_owned(), "NOTHING WAS TAKEN OVER"),
        (
            "knockd.conf",
            format!("{whole}[b]\nsequence = 1,2\ncommand = x %IP%\n"),
            "NOT TAKEN OVER: 1 lines",
        ),
        ("fwknopd.conf", "PCAP_INTF eth0;\n".to_owned(), "NOTHING WAS TAKEN OVER"),
        (".fwknoprc", "[default]\nFW_TIMEOUT 60\n".to_owned(), "NOTHING WAS TAKEN OVER"),
        (
            "access.conf",
            "SOURCE ANY\nOPEN_PORTS tcp/22\nENABLE_CMD_EXEC Y\n".to_owned(),
            "NOT TAKEN OVER: 1 lines",
        ),
    ] {
        let (code, said) = import(name, text.as_bytes());
        assert_eq!(code, Some(1), "{name}: {said}");
        assert!(said.contains(told), "{name}: {said}");
    }
}

#[test]
fn the_mikrotik_document_names_lines_of_the_recipe() {
    let recipe = document("pkg/examples/recipe.toml");
    let text = document("docs/from-mikrotik.md");
    let ours = text
        .lines()
        .filter(|line| line.starts_with("| "))
        .filter_map(|row| row.split(" | ").nth(1));
    let quoted: Vec<&str> = ours.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let settings: Vec<&&str> = quoted.iter().filter(|text| text.contains(" = ")).collect();
    assert!(settings.len() > 9, "{quoted:?}");
    for setting in settings {
        assert!(
            recipe.lines().any(|line| line.starts_with(*setting)),
            "{setting} is no line of the recipe"
        );
    }
}
