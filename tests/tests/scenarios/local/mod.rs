//! Attacks from the server's own host: by whoever owns a folder that root works in, by damaged or
//! missing files, by members of the group, and by what an administrator pastes. The tests bear the
//! names of their rows in `docs/assurance.md`.

mod folders;
mod members;
mod names;
mod reloads;
mod stop;
mod udp_ports;
mod words;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use spa_tests::config::Config;
use spa_tests::daemon::binary;
use spa_tests::need_namespaces;
use spa_tests::temp::TempDir;

/// User and group of an account that is not root.
const NOBODY: u32 = 65_534;

/// Runs a program of ours to its end; what it said follows in the answer.
fn run(program: &str, words: &[&str]) -> Output {
    let mut command = Command::new(binary(program));
    command.args(words).stdin(Stdio::null()).output().expect("it runs")
}

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// A configured server that does not run.
struct Files {
    folder: TempDir,
    public: String,
}

impl Files {
    /// In a folder that `NOBODY` owns, as the daemon's user owns `/etc/spa`.
    fn of_nobody(config: &Config) -> Files {
        let files = Files::new(config);
        for path in [files.folder.path(), &files.at("server.key"), &files.at("server.toml")] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        files
    }

    fn new(config: &Config) -> Files {
        let folder = TempDir::new();
        folder.write("server.toml", config.text(folder.path()));
        let key = folder.join("server.key").display().to_string();
        let made = run("spa", &["keygen", "--server", "-o", &key]);
        assert!(made.status.success(), "{}", said(&made));
        let key = folder.join("client.key").display().to_string();
        let made = run("spa", &["keygen", "-o", &key]);
        let public = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        Files { folder, public }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// `spa-server WORDS --config server.toml`.
    fn server(&self, words: &[&str]) -> Output {
        let config = self.at("server.toml").display().to_string();
        run("spa-server", &[words, &["--config", &config]].concat())
    }

    fn add_client(&self, name: &str) -> Output {
        self.server(&["client", "add", name, &self.public, "--service", "ssh"])
    }
}

/// A file of root's that nobody else may read.
fn secret_of_root(folder: &TempDir) -> PathBuf {
    let path = folder.write("shadow", "root:x\n");
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

fn owner_of(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().uid()
}
