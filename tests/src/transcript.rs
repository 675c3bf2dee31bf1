//! What the programs say to a user, as text that is kept in files and compared.
//!
//! `cargo run -p spa-tests --example update_snapshots` writes the files anew; read the difference
//! before you commit it.

mod client;
mod help;
mod invitation;
mod keys;

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::daemon::binary;
use crate::temp::TempDir;

/// Where the files are.
pub const SNAPSHOTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/snapshots");

/// A snapshot's name and what makes its text now.
pub type Snapshot = (&'static str, fn() -> String);

/// Every transcript: the name of its file without `.txt`, and how it is made.
pub const ALL: &[Snapshot] = &[
    ("help-spa", help::spa),
    ("help-spa-client", help::spa_client),
    ("help-spa-server", help::spa_server),
    ("help-invitations", invitation::help),
    ("enrolment", enrolment),
    ("invitations", invitation::invitations),
    ("keys-spa", keys::keys),
    ("errors-spa", errors_spa),
    ("errors-spa-client", client::errors),
    ("hosts-spa-client", client::hosts),
    ("doctor-spa-client", client::doctor),
    ("errors-spa-server", errors_spa_server),
    ("check-broken", check_broken),
];

/// A terminal session in a folder of its own.
#[derive(Debug)]
struct Transcript {
    home: TempDir,
    names: HashMap<&'static str, String>,
    text: String,
}

impl Transcript {
    fn new() -> Transcript {
        Transcript { home: TempDir::new(), names: HashMap::new(), text: String::new() }
    }

    /// Runs a line as a shell would, with `$NAME` for a text that an earlier command has printed
    /// and `< $NAME` for its input. Notes down the line, what it prints (on standard error
    /// behind `! `) and its exit code unless that is 0.
    fn run(&mut self, line: &str) -> String {
        self.text.push_str(&format!("$ {line}\n"));
        let mut words = line.split_whitespace();
        // Without a terminal, also when the tests run at one: nobody is there to be asked.
        let mut command = Command::new("/usr/bin/setsid");
        command.arg("--wait").arg(binary(words.next().expect("a program")));
        let mut input = String::new();
        while let Some(word) = words.next() {
            match word {
                "<" => input = self.named(words.next().expect("a name")),
                _ => drop(command.arg(self.named(word))),
            }
        }
        let home = self.home.path();
        let mut child = command
            .env_clear()
            .env("HOME", home)
            .env("TZ", "UTC")
            .current_dir(home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {line}: {error}"));
        // A command that does not read its input has closed it: that is its right.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("wait");
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        self.text.push_str(&out);
        err.lines().for_each(|line| self.text.push_str(&format!("! {line}\n")));
        match output.status.code() {
            Some(0) => {}
            Some(code) => self.text.push_str(&format!("[exit code {code}]\n")),
            None => panic!("{line} ended with {}", output.status),
        }
        self.text.push('\n');
        out
    }

    fn runs(&mut self, lines: &[&str]) {
        lines.iter().for_each(|line| drop(self.run(line)));
    }

    /// Gives a text a name for later lines.
    fn name(&mut self, name: &'static str, value: &str) {
        self.names.insert(name, value.trim().to_owned());
    }

    fn named(&self, word: &str) -> String {
        match word.strip_prefix('$') {
            Some(name) => {
                self.names.get(name).unwrap_or_else(|| panic!("there is no ${name}")).clone()
            }
            None => word.to_owned(),
        }
    }

    /// A file for the commands, noted down as if it were shown.
    fn file(&mut self, name: &str, content: &str) {
        self.home.write(name, content);
        self.text.push_str(&format!("$ cat {name}\n{content}\n"));
    }

    /// Shows a file that the commands have written.
    fn show(&mut self, name: &str, path: &str) {
        let content =
            fs::read_to_string(self.home.join(path)).expect("the commands have written it");
        self.text.push_str(&format!("$ cat {name}\n{content}\n"));
    }

    /// Changes the mode of a file.
    fn chmod(&mut self, path: &str, mode: u32) {
        fs::set_permissions(self.home.join(path), fs::Permissions::from_mode(mode))
            .expect("the file is there");
        self.text.push_str(&format!("$ chmod {mode:o} {path}\n\n"));
    }

    /// The text without what is different in every run.
    fn end(self) -> String {
        let text = self.text.replace(&self.home.path().display().to_string(), "HOME");
        let ours = binary("spa-client").parent().expect("a folder").display().to_string();
        shorten(&mask_version(&text.replace(&ours, "BIN")))
    }
}

/// Names the version without its number. The number within an address is none: 192.0.2.0 has it.
pub(crate) fn mask_version(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(env!("CARGO_PKG_VERSION")) {
        out.push_str(before);
        let in_number = |c: char| c.is_ascii_digit() || c == '.';
        let alone = !out.ends_with(in_number) && !after.starts_with(in_number);
        out.push_str(if alone { "VERSION" } else { env!("CARGO_PKG_VERSION") });
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Cuts keys and fingerprints after what tells their kind.
pub(crate) fn shorten(text: &str) -> String {
    const KINDS: [&str; 8] = [
        "spaserver1",
        "spa1",
        "SHA256:",
        "SPA-SECRET-KEY-1",
        "SPA-SERVER-KEY-1",
        "SPA-PSK-1",
        "SPA-HOST-1",
        "SPA-INVITATION-1",
    ];
    let mut short = String::new();
    let mut rest = text;
    while let Some(at) = rest.char_indices().map(|(at, _)| at).find(|at| {
        KINDS.iter().any(|kind| {
            rest[*at..].strip_prefix(kind).is_some_and(|behind| key_length(behind) >= 20)
        })
    }) {
        let kind = KINDS.iter().find(|kind| rest[at..].starts_with(**kind)).expect("found");
        short.push_str(&rest[..at + kind.len()]);
        short.push('…');
        rest = &rest[at + kind.len()..];
        rest = &rest[key_length(rest)..];
    }
    short + rest
}

/// How far letters, digits and the dashes of a fingerprint reach.
fn key_length(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(text.len())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("our programs print UTF-8")
}

/// The text of a snapshot file; empty when there is none yet.
pub fn stored(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_default()
}

/// Writes a snapshot file.
///
/// # Errors
/// What the disk says.
pub fn store(name: &str, text: &str) -> std::io::Result<()> {
    fs::create_dir_all(SNAPSHOTS)?;
    fs::write(path(name), text)
}

fn path(name: &str) -> PathBuf {
    Path::new(SNAPSHOTS).join(format!("{name}.txt"))
}

/// A configuration in the session's folder.
fn configured(session: &mut Transcript) {
    let here = session.home.path().display().to_string();
    session.file(
        "server.toml",
        &format!(
            "[server]\nkey = \"{here}/server.key\"\nclients = \"{here}/clients.toml\"\nstate = \
             \"{here}/state\"\n\
             control = \"{here}/control.sock\"\nhosts = [\"gate.example.org\"]\n\n[sequence]\n\
             ports = [7013, 41, 28117]\n\n[[service]]\nname = \"ssh\"\nports = \
                 [\"tcp/22\"]\n\n[[service]]\n\
             name = \"vpn\"\nports = [\"udp/51820\"]\n"
        ),
    );
}

/// Two pastes: the client's public key to the server, the server's line to the client.
fn enrolment() -> String {
    let mut session = Transcript::new();
    configured(&mut session);
    session.run("spa-server init --config server.toml");
    session.run("spa-server check server.toml");
    let public = session.run("spa keygen");
    session.name("PUBLIC", &public);
    let line =
        session.run("spa-server client add laptop $PUBLIC --service ssh --config server.toml");
    assert_eq!(line.lines().count(), 1, "the second paste is one line: {line}");
    session.name("LINE", &line);
    session.runs(&[
        "spa host add - < $LINE",
        "spa host list",
        "spa inspect",
        "spa inspect server.key",
        "spa inspect $PUBLIC",
        "spa inspect - < $LINE",
        "spa-server check server.toml",
        "spa-server client list --config server.toml",
        "spa-server client list --json --config server.toml",
        "spa-server client remove laptop --config server.toml",
        "spa-server client list --config server.toml",
        "spa host remove gate.example.org",
        "spa host list",
    ]);
    session.end()
}

fn errors_spa() -> String {
    let mut session = Transcript::new();
    session.runs(&[
        "spa",
        "spa keygn",
        "spa keygen --server",
        "spa pubkey",
        "spa pubkey nowhere",
        "spa inspect spa1abc",
        "spa host add SPA-HOST-1QQQQ",
        "spa host add -",
        "spa host remove gate",
        "spa host list",
        "spa host list gate",
        "spa passwd",
        "spa unlock",
        "spa lock",
        "spa unlock --for 2d",
        "spa check",
        "spa join",
        "spa join -",
        "spa join spa1abc",
        "spa rotate",
        "spa open",
        "spa open ssh@gate",
        "spa connect ssh@gate",
        "spa import",
        "spa import knockd nowhere.conf",
        "spa import ipchains nowhere.conf",
        "spa completions",
        "spa completions tcsh",
        "spa keygen",
        "spa keygen",
        "spa unlock --passphrase-fd 77",
        "spa passwd --passphrase-fd 77",
    ]);
    session.end()
}

fn errors_spa_server() -> String {
    let mut session = Transcript::new();
    configured(&mut session);
    session.runs(&[
        "spa-server",
        "spa-server start",
        "spa-server completions tcsh",
        "spa-server run --config nowhere.toml",
        "spa-server init --json --host a/b",
        "spa-server check nowhere.toml",
        "spa-server check server.toml",
        "spa-server run --config server.toml",
        "spa-server client add laptop --config server.toml",
        "spa-server init --config server.toml",
        "spa-server init --config server.toml",
    ]);
    let public = session.run("spa keygen");
    session.name("PUBLIC", &public);
    session.runs(&[
        "spa-server status --config server.toml",
        "spa-server status --json --config server.toml",
        "spa-server grants --config server.toml",
        "spa-server close --all --json --config server.toml",
        "spa-server explain laptop ssh --config server.toml",
        "spa-server top --config server.toml",
        "spa-server client add laptop $PUBLIC --service sssh --config server.toml",
        "spa-server client add laptop spa1abc --service ssh --config server.toml",
        "spa-server client add laptop $PUBLIC --service ssh --from here --ttl 1x --config \
         server.toml",
        "spa-server client add laptop $PUBLIC --service ssh --config server.toml",
        "spa-server client add laptop $PUBLIC --service ssh --config server.toml",
        "spa-server client remove desktop --config server.toml",
    ]);
    session.end()
}

/// Everything that is wrong is told at once.
fn check_broken() -> String {
    let mut session = Transcript::new();
    let here = session.home.path().display().to_string();
    session.file(
        "broken.toml",
        &format!(
            "[server]\nkey = \"{here}/server.key\"\nclients = \"{here}/clients.toml\"\nstate = \
             \"spa\"\nack = \"yes\"\n\n\
             [sequence]\nports = [888, 555, 888]\ntimeout = \"30\"\n\n[firewal]\nmode = \
                 \"guard\"\n\n[[service]]\n\
             name = \"ssh\"\nports = [\"tcp/22\", \"tcp/70000\"]\nttl = \"2h\"\nmax-ttl = \
                 \"1h\"\n\n[[service]]\n\
             name = \"ssh\"\nport = [\"tcp/22\"]\n\n[[bait]]\nname = \"hard\"\nports = \
                 [\"tcp/22\"]\n"
        ),
    );
    session.run("spa-server check broken.toml");
    session.run("spa-server run --config broken.toml");
    session.end()
}

#[cfg(test)]
mod tests {
    #[test]
    fn keys_are_cut_and_words_are_not() {
        let text = "line `spa1…`, spa1h5wqtu0g6q9ls58a3lqamxj, \
            SHA256:478d-72ff-79b8-e428-7180-3396) spa-server";
        assert_eq!(super::shorten(text), "line `spa1…`, spa1…, SHA256:…) spa-server");
    }
}
