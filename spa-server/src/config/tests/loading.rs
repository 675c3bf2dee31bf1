//! Both files together.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::SMALL;
use crate::config::{Findings, Loaded, Surroundings, load};

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("spa-load-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config(clients: &str, more: &str) -> String {
    format!("[server]\nclients = \"{clients}\"\n{SMALL}{more}")
}

fn load_it(path: &Path) -> Result<Loaded, Findings> {
    load(path, &Surroundings::none())
}

const ALICE: &str = "[[client]]\nname = \"alice\"\npublic = \"spa1a\"\npsk = \
    \"SPA-PSK-1A\"\nservices = [\"ssh\"]\n";

#[test]
fn both_files() {
    let scratch = Scratch::new();
    let clients = scratch.file("clients.toml", ALICE);
    let path = scratch.file("spa.toml", config(clients.to_str().unwrap(), ""));
    let loaded = load_it(&path).unwrap();
    assert_eq!(loaded.clients.len(), 1);
    assert_eq!(&*loaded.clients[0].services, [loaded.config.services[0].id]);
}

#[test]
fn errors_of_both_files_at_once() {
    let scratch = Scratch::new();
    let clients = scratch.file("clients.toml", ALICE.replace("[\"ssh\"]", "[\"shs\"]"));
    let path = scratch.file("spa.toml", config(clients.to_str().unwrap(), "[log]\nlevel = 1\n"));
    let found = load_it(&path).unwrap_err().to_string();
    assert!(found.contains("`level` is a bare number"), "{found}");
    assert!(
        found.contains(
            "clients.toml:5:13: error: there is no service `shs` in the configuration; did you \
             mean `ssh`?"
        ),
        "{found}"
    );
    // A service whose name cannot be read must not make every stanza wrong.
    let broken = config(clients.to_str().unwrap(), "[[service]]\nname = 1\nports = \"all\"\n");
    let found = load_it(&scratch.file("spa.toml", broken)).unwrap_err().to_string();
    assert!(!found.contains("there is no service"), "{found}");
}

#[test]
fn files_that_are_not_there() {
    let scratch = Scratch::new();
    let gone = scratch.0.join("gone.toml");
    let found = load_it(&gone).unwrap_err().to_string();
    assert!(found.contains("gone.toml: error: cannot be read: No such file"), "{found}");
    let path = scratch.file("spa.toml", config(gone.to_str().unwrap(), ""));
    let loaded = load_it(&path).unwrap();
    assert!(loaded.clients.is_empty());
    assert!(loaded.findings.to_string().contains("gone.toml: warning: there are no clients yet"));
    let folder = config(scratch.0.to_str().unwrap(), "");
    assert!(load_it(&scratch.file("spa.toml", folder)).is_err());
    let path = scratch.file("spa.toml", b"[server]\nkey = \"\xff\"\n");
    assert!(load_it(&path).unwrap_err().to_string().contains("error: line 2 is not UTF-8"));
}

/// Whoever has come by invitation is a client like any other.
#[test]
fn h10_clients_that_came_by_invitation_are_clients() {
    let scratch = Scratch::new();
    let gone = scratch.0.join("gone.toml");
    fs::create_dir(scratch.0.join("state-broker")).unwrap();
    scratch.file("state-broker/enrolled.toml", ALICE);
    let text = config(gone.to_str().unwrap(), "").replacen(
        "[server]\n",
        &format!("[server]\nstate = \"{}/state\"\n", scratch.0.display()),
        1,
    );
    let loaded = load_it(&scratch.file("spa.toml", text)).unwrap();
    assert_eq!(loaded.clients.len(), 1);
    assert!(!loaded.findings.to_string().contains("no clients"), "{}", loaded.findings);
}

#[test]
fn credentials() {
    let scratch = Scratch::new();
    scratch.file("clients", ALICE);
    let path = scratch.file("spa.toml", config("credential:clients", ""));
    let found = load_it(&path).unwrap_err().to_string();
    assert!(
        found.contains(
            "credential:clients: error: a credential, and $CREDENTIALS_DIRECTORY is not set"
        ),
        "{found}"
    );
    let checking = Surroundings { check_only: true, ..Surroundings::none() };
    assert!(
        load(&path, &checking).unwrap().findings.to_string().contains("credential:clients: note:")
    );
    let unit = Surroundings { credentials: Some(scratch.0.clone()), ..Surroundings::none() };
    assert_eq!(load(&path, &unit).unwrap().clients.len(), 1);
}

#[test]
fn secrets_are_read_by_the_caller() {
    let scratch = Scratch::new();
    let clients = scratch.file("clients.toml", ALICE);
    let path = scratch.file("spa.toml", config(clients.to_str().unwrap(), ""));
    let refuse = Surroundings {
        read_secret: &|_| Err(std::io::Error::other("mode 0644")),
        ..Surroundings::none()
    };
    let found = load(&path, &refuse).unwrap_err().to_string();
    assert!(found.contains("clients.toml: error: cannot be read: mode 0644"), "{found}");
}
