//! `spa keygen --agent` with OpenSSH's own ssh-agent, and with listeners that are none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod folder;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use folder::TempFolder;

struct Agent {
    child: Child,
    home: TempFolder,
}

impl Agent {
    fn start() -> Self {
        let home = TempFolder::new();
        let mut child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(home.path("agent"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("ssh-agent: apt-get install openssh-client");
        // It prints where it listens once it does.
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("SSH_AUTH_SOCK"), "{line}");
        Self { child, home }
    }

    fn tool(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.home.root())
            .env("SSH_AUTH_SOCK", self.home.path("agent"));
        let output = command.env("HOME", self.home.root()).stdin(Stdio::null()).output().unwrap();
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    fn key(&self, kind: &str, name: &str, comment: &str) {
        self.tool("ssh-keygen", &["-q", "-t", kind, "-N", "", "-C", comment, "-f", name]);
        self.tool("ssh-add", &["-q", name]);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Exit code, stdout and stderr of `spa`, the folder shown as HOME.
fn spa(home: &TempFolder, socket: Option<&str>, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spa"));
    command.args(arguments).env_clear().env("HOME", home.root()).current_dir(home.root());
    if let Some(socket) = socket {
        command.env("SSH_AUTH_SOCK", home.path(socket));
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text =
        |bytes| String::from_utf8(bytes).unwrap().replace(home.root().to_str().unwrap(), "HOME");
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_key_is_found_by_file_comment_and_fingerprint() {
    let agent = Agent::start();
    agent.key("ed25519", "id", "me@laptop");
    agent.key("ed25519", "second", "two\u{1b}[2J");
    agent.key("ed25519", "third", "two\u{1b}[2J");
    agent.key("rsa", "old", "old");
    let listed = String::from_utf8(agent.tool("ssh-keygen", &["-lf", "id"]).stdout).unwrap();
    let fingerprint = listed.split(' ').nth(1).unwrap();
    let mut half = None;
    for (number, name) in ["id", "id.pub", "me@laptop", fingerprint].into_iter().enumerate() {
        let file = format!("key-{number}");
        let (code, out, err) =
            spa(&agent.home, Some("agent"), &["keygen", "--agent", name, "-o", &file]);
        assert_eq!(code, 0, "{name}: {err}");
        assert!(err.contains(fingerprint), "{err}");
        // `spa1` and 32 bytes of the signing half: the same each time; the other half is fresh.
        let sign = out.get(..4 + 51).unwrap().to_owned();
        assert_eq!(*half.get_or_insert(sign.clone()), sign);
        let text = fs::read_to_string(agent.home.path(&file)).unwrap();
        assert!(text.contains("\nSPA-AGENT-KEY-1") && !text.contains("SPA-SECRET"), "{text}");
        assert_eq!(fs::metadata(agent.home.path(&file)).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(
            spa(&agent.home, None, &["pubkey", &file]).1,
            out,
            "the public key needs no agent"
        );
        let shown = spa(&agent.home, None, &["inspect", &file]).1;
        assert!(shown.contains(out.trim()) && shown.contains(fingerprint), "{shown}");
    }
    let (code, _, err) = spa(&agent.home, None, &["passwd", "key-0"]);
    assert!(code == 1 && err.contains("takes no passphrase"), "{err}");
    let refused = |name: &str| {
        let (code, out, err) =
            spa(&agent.home, Some("agent"), &["keygen", "--agent", name, "-o", "none"]);
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        assert!(!agent.home.path("none").exists() && !err.contains('\u{1b}'), "{err}");
        err
    };
    assert!(refused("old").contains("old (ssh-rsa: only Ed25519 can sign knocks)"));
    assert!(
        refused("two\u{1b}[2J")
            .contains("several keys in the ssh-agent are called `two\\u{1b}[2J`")
    );
    let nobody = refused("nobody");
    assert!(nobody.contains("has no key `nobody`") && nobody.lines().count() == 5, "{nobody}");
    let (code, _, err) =
        spa(&agent.home, Some("agent"), &["keygen", "--agent", "id", "-o", "key-0"]);
    assert!(code == 1 && err.contains("never overwritten"), "{err}");
}

#[test]
fn without_an_agent_the_message_says_what_to_do() {
    let home = TempFolder::new();
    let keygen = ["keygen", "--agent", "me", "-o", "key"];
    let (code, out, err) = spa(&home, None, &keygen);
    let expected = "spa: no ssh-agent: SSH_AUTH_SOCK is not set; start one: eval \"$(ssh-agent)\", \
        then: ssh-add\n";
    assert_eq!((code, out.as_str(), err.as_str()), (1, "", expected));
    let (_, _, err) = spa(&home, Some("nobody"), &keygen);
    assert!(err.contains("HOME/nobody cannot be used") && err.contains("ssh-add -l"), "{err}");
    let agent = Agent::start();
    let (_, _, err) = spa(&agent.home, Some("agent"), &keygen);
    assert!(err.contains("has no keys, or is locked") && err.contains("ssh-add -X"), "{err}");
}

/// Neither one that says nothing nor one that says a byte now and then holds us up for long.
#[test]
fn a_slow_agent_is_not_waited_for() {
    let home = TempFolder::new();
    let listener = UnixListener::bind(home.path("agent")).unwrap();
    let drip = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        // The length of a large answer, and then a byte for each read timeout of a second.
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        stream.write_all(&[0, 3, 0, 0, 12]).unwrap();
        let mut question = [0; 64];
        while stream.write_all(&[0]).is_ok() {
            let _ = stream.read(&mut question);
        }
    });
    let begin = Instant::now();
    let (code, out, err) = spa(&home, Some("agent"), &["keygen", "--agent", "me", "-o", "key"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.contains("gave no answer within 5 seconds"), "{err}");
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    drip.join().unwrap();
}

#[test]
fn what_is_no_agent_is_not_believed() {
    let answers: [&[u8]; 5] = [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        &[0, 0, 0, 0, 0],
        &[0, 0, 0, 5, 12, 0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 9, 12, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff],
        &[0, 0, 0, 1, 14],
    ];
    for answer in answers {
        let home = TempFolder::new();
        let listener = UnixListener::bind(home.path("agent")).unwrap();
        let talk = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut question = [0; 5];
            stream.read_exact(&mut question).unwrap();
            assert_eq!(question, [0, 0, 0, 1, 11]);
            let _ = stream.write_all(answer);
        });
        let (code, out, err) = spa(&home, Some("agent"), &["keygen", "--agent", "me", "-o", "key"]);
        talk.join().unwrap();
        assert_eq!((code, out.as_str()), (1, ""), "{answer:?}: {err}");
        assert!(err.contains("is not an ssh-agent: "), "{answer:?}: {err}");
        assert!(!home.path("key").exists());
    }
}

/// A file that opens nothing alone needs no passphrase, and `spa check` asks for none.
#[test]
fn spa_check_is_content_with_it() {
    let agent = Agent::start();
    agent.key("ed25519", "id", "me");
    let made = spa(&agent.home, Some("agent"), &["keygen", "--agent", "me"]);
    assert_eq!(made.0, 0, "{}", made.2);
    let (_, out, err) = spa(&agent.home, None, &["check"]);
    assert!(!format!("{out}{err}").contains("passphrase"), "{out}{err}");
    let whole = TempFolder::new();
    assert_eq!(spa(&whole, None, &["keygen"]).0, 0);
    let (_, out, err) = spa(&whole, None, &["check"]);
    assert!(format!("{out}{err}").contains("passphrase"), "{out}{err}");
}
