//! Enforcers beside this host's nftables: a real one, with real packets, and one that fails in
//! every way that there is.

mod conformance;
mod faults;
mod ipset;
mod life;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use spa_tests::config::Config;
use spa_tests::scene::{PATIENCE, Scene};
use spa_tests::wait_until;

/// A folder that only root can change, with an enforcer in it.
struct Place(PathBuf);

/// Keeps what is open in a file, which outlives it, and fails as the file `fault` says.
const DESK: &str = r#"#!/usr/bin/python3 -IS
import json, os, sys, time
place = os.path.dirname(os.path.abspath(__file__))
book = os.path.join(place, "book")
def read():
    try:
        return json.load(open(book))
    except FileNotFoundError:
        return {}
def key(e):
    return "%s %s %s" % (e["service"], e["network"], ",".join(e["ports"]))
for line in sys.stdin:
    request = json.loads(line)
    with open(os.path.join(place, "asked"), "a") as asked:
        asked.write(line)
    try:
        fault = open(os.path.join(place, "fault")).read().strip()
    except FileNotFoundError:
        fault = ""
    if fault == "exit":
        sys.exit(3)
    if fault == "half":
        sys.stdout.write('{"ok": tr'); sys.stdout.flush(); sys.exit(0)
    if fault == "garbage":
        print("hello", flush=True); continue
    if fault == "twice":
        print('{"ok": true}\n{"ok": true}', flush=True); continue
    if fault == "hang" and request["do"] == "apply":
        time.sleep(600)
    if fault == "slow" and request["do"] == "apply":
        while os.path.exists(os.path.join(place, "fault")):
            time.sleep(0.01)
    entries = read()
    if request["do"] == "list":
        rows = [{"service": s, "network": n, "ports": p.split(",")}
                for s, n, p in (k.split(" ") for k in entries)]
        print(json.dumps({"ok": True, "entries": rows}), flush=True)
        continue
    for e in request["close"]:
        entries.pop(key(e), None)
    for e in request["open"]:
        entries[key(e)] = e["until"]
    with open(book + ".new", "w") as new:
        json.dump(entries, new)
    os.rename(book + ".new", book)
    if fault == "refuse" and request["open"]:
        print('{"ok": false, "error": "the table is full"}', flush=True); continue
    print('{"ok": true}', flush=True)
"#;

impl Place {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(format!("/tmp/spa-enforcer-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    /// With a program in it.
    fn with_program(name: &str, text: &str) -> Self {
        let this = Self::new(name);
        let path = this.program();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        this
    }

    fn program(&self) -> PathBuf {
        self.0.join("enforcer")
    }

    /// From now on it fails like this; empty: no more.
    fn fail(&self, how: &str) {
        let path = self.0.join("fault");
        if how.is_empty() {
            fs::remove_file(path).unwrap();
        } else {
            fs::write(path, how).unwrap();
        }
    }

    /// What is open there, as the program has written it down.
    fn book(&self) -> Vec<String> {
        let text = fs::read_to_string(self.0.join("book")).unwrap_or_else(|_| "{}".to_owned());
        let book: Value = serde_json::from_str(&text).unwrap();
        book.as_object().unwrap().keys().cloned().collect()
    }

    fn holds(&self, words: &str) -> bool {
        self.book().iter().any(|entry| entry.starts_with(words))
    }

    fn await_empty(&self) {
        assert!(wait_until(PATIENCE, || self.book().is_empty()), "still open: {:?}", self.book());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// `ssh`, which this enforcer opens as well, and `web`, which it does not.
fn enforced(program: &Path, ttl: u32, keys: &str) -> Config {
    let program = program.display();
    Config::default()
        .service("ssh", &format!("ports = [\"tcp/22\"]\nttl = \"{ttl}s\"\nenforcers = [\"desk\"]"))
        .service("web", &format!("ports = [\"tcp/80\"]\nttl = \"{ttl}s\""))
        .append(&format!(
            "[[enforcer]]\nname = \"desk\"\nkind = \"exec\"\ncommand = [\"{program}\"]\n{keys}\n"
        ))
}

/// State of the enforcer as `status` tells it; `None`: it is ready.
fn problem(scene: &Scene) -> Option<String> {
    let status = scene.server.status();
    status["enforcers"][0]["problem"].as_str().map(str::to_owned)
}

fn await_ready(scene: &Scene) {
    assert!(wait_until(PATIENCE, || problem(scene).is_none()), "{:?}", problem(scene));
}
