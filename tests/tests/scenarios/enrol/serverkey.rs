//! The server's key is replaced: nobody who knocks meanwhile is locked out, and whoever slept is
//! told what to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use spa_tests::config::Config;
use spa_tests::daemon::{Client, binary};
use spa_tests::scene::{PATIENCE, config};
use spa_tests::{Family, need_namespaces, trace, wait_until};

use super::{House, said};

impl House {
    fn must(&self, arguments: &[&str]) -> String {
        let output = self.server.control(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.server.control(arguments);
        assert!(!output.status.success(), "{arguments:?}: {output:?}");
        said(&output)
    }

    /// By which key of the server each client came last.
    fn came(&self) -> Vec<(String, Option<String>)> {
        let json: serde_json::Value =
            serde_json::from_str(&self.must(&["clients", "--json"])).unwrap();
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let clients = json["clients"].as_array().unwrap().iter();
        clients
            .map(|client| (text(&client["name"]).unwrap(), text(&client["server-key"])))
            .collect()
    }

    fn has_come(&self, client: &str, by: &str) -> bool {
        wait_until(PATIENCE, || self.came().contains(&(client.to_owned(), Some(by.to_owned()))))
    }

    /// What `[server]` says of keys.
    fn keys(&self) -> Vec<String> {
        let text = fs::read_to_string(self.server.folder().join("server.toml")).unwrap();
        text.lines().filter(|line| line.contains("key")).map(str::to_owned).collect()
    }
}

/// Lines in the client's file of the server.
fn lines(client: &Client) -> usize {
    let text = fs::read_to_string(client.folder().join("hosts/server.host")).unwrap();
    text.lines().filter(|line| line.starts_with("SPA-HOST-1")).count()
}

#[test]
fn clients_follow_by_themselves_and_the_old_key_goes() {
    need_namespaces!();
    follow(config(60));
}

#[test]
fn clients_follow_where_the_ports_hop_by_the_key() {
    need_namespaces!();
    follow(
        config(60)
            .unset("sequence.ports")
            .set("sequence.hop", "\"20000-29999\"")
            .set("sequence.stages", "3"),
    );
}

fn follow(config: Config) {
    let mut house = House::with(&config);
    let enrolled = |name| Client::enrolled(&house.net.client, &house.server, name, &["ssh"]);
    let (laptop, phone, sleeper) = (enrolled("laptop"), enrolled("phone"), enrolled("sleeper"));
    let invitation = house.invite("guest");
    laptop.must_open("ssh", Family::V4, &[]);

    let new = house.must(&["rotate-key"]);
    assert!(new.ends_with("/server-2.key"), "{new}");
    assert!(house.refused(&["rotate-key"]).contains("--finish"));
    assert!(house.refused(&["rotate-key", "--finish"]).contains("first spa-server reload"));
    house.must(&["reload"]);
    let grants = house.must(&["grants", "--json"]);
    assert!(grants.contains("laptop"), "the reload cost a grant: {grants}");
    assert!(house.must(&["status"]).contains("server key: being replaced"));

    // Both families: told at the first knock, followed at the second.
    for (client, name, family) in [(&laptop, "laptop", Family::V4), (&phone, "phone", Family::V6)] {
        client.must_open("ssh", family, &[]);
        assert_eq!(lines(client), 2);
        assert!(house.has_come(name, "previous"));
        let refusal = house.refused(&["rotate-key", "--finish"]);
        assert!(refusal.contains(name) && refusal.contains("sleeper"), "{refusal}");
        client.must_open("ssh", family, &[]);
        assert_eq!(lines(client), 1);
        assert!(house.has_come(name, "new"));
    }
    // An invitation that names the old key.
    let guest = Client::new(&house.net.client);
    house.must_join(&guest, &invitation);
    for _ in 0..2 {
        guest.must_open("ssh", Family::V6, &[]);
    }
    assert!(house.has_come("guest", "new"));

    // Who has followed is known after a restart as well.
    house.server.restart();
    house.server.wait_fence();
    let came = house.came();
    let new = came.iter().filter(|(_, by)| by.as_deref() == Some("new")).count();
    assert_eq!((came.len(), new), (4, 3), "{came:?}");
    let refusal = house.refused(&["rotate-key", "--finish"]);
    assert!(refusal.contains("1 client would be locked out"), "{refusal}");
    assert!(refusal.contains("sleeper"), "{refusal}");
    house.must(&["rotate-key", "--finish", "--force"]);
    house.must(&["reload"]);
    for (client, family) in [(&laptop, Family::V6), (&phone, Family::V4), (&guest, Family::V4)] {
        client.must_open("ssh", family, &[]);
    }

    // Whoever slept through it meets silence, and a line anew is the way back.
    // What the others have opened for this address would be told instead.
    house.must(&["close", "--all"]);
    let late = sleeper.open("ssh", Family::V4, &["--timeout", "2s"]);
    assert_eq!(late.status.code(), Some(3), "{late:?}");
    assert!(late.stderr.contains("server's key was replaced"), "{}", late.stderr);
    assert!(late.stderr.contains("spa-server client line sleeper"), "{}", late.stderr);
    let line = house.must(&["client", "line", "sleeper"]);
    let mut add = sleeper.command("spa");
    add.args(["host", "add", &line, "--name", "server", "--replace"]);
    for family in Family::BOTH {
        add.args(["--address", &house.net.server.address(family).to_string()]);
    }
    let added = add.output().unwrap();
    assert!(added.status.success(), "{added:?}");
    sleeper.must_open("ssh", Family::V6, &[]);
}

#[test]
fn back_and_forth_by_reloads() {
    need_namespaces!();
    let house = House::new();
    let client = Client::enrolled(&house.net.client, &house.server, "laptop", &["ssh"]);
    let path = house.server.folder().join("server.toml");
    let old = fs::read_to_string(&path).unwrap();
    house.must(&["rotate-key"]);
    let both = fs::read_to_string(&path).unwrap();
    let swapped = both
        .replace("previous-key", "KEY")
        .replace("key =", "previous-key =")
        .replace("KEY", "key");
    let steps: [(&str, &str, usize); 8] = [
        ("both", &both, 2),
        ("swapped before it had come by the new one", &swapped, 2),
        ("both again", &both, 2),
        ("the new one is gone before it had come by it: silence, then the old one", &old, 1),
        ("both", &both, 2),
        ("and once more", &both, 1),
        ("swapped after that: back again", &swapped, 2),
        ("the old one alone", &old, 1),
    ];
    for (step, text, expected) in steps {
        fs::write(&path, text).unwrap();
        house.must(&["reload"]);
        let grants = house.server.status()["grants"].as_array().unwrap().len();
        client.must_open("ssh", Family::V4, &["--timeout", "10s"]);
        assert_eq!(lines(&client), expected, "{step}");
        assert_eq!(
            house.server.status()["grants"].as_array().unwrap().len(),
            grants.max(1),
            "{step}"
        );
    }
}

#[test]
fn killed_at_any_step_a_good_configuration_is_left() {
    need_namespaces!();
    let house = House::new();
    let config = house.server.folder().join("server.toml");
    for (arguments, begun) in
        [(&["rotate-key"][..], false), (&["rotate-key", "--finish", "--force"], true)]
    {
        let mut whole = 0;
        // Until it has run to its end twice, each time killed a little later than before.
        let mut after_ms = 1.0;
        while whole < 2 && after_ms < 60_000.0 {
            let had = house.keys().iter().any(|line| line.starts_with("previous-key"));
            if had != begun {
                let undo: &[&str] =
                    if begun { &["rotate-key"] } else { &["rotate-key", "--finish", "--force"] };
                house.must(undo);
            }
            let after = format!("{:.4}", after_ms / 1000.0);
            after_ms *= 1.13;
            let mut killed = Command::new("timeout");
            killed
                .args(["-s", "KILL", &after])
                .arg(binary("spa-server"))
                .args(arguments)
                .arg("--config")
                .arg(&config);
            whole += usize::from(killed.output().unwrap().status.success());
            let checked = house.server.control(&["check", "--offline"]);
            assert!(checked.status.success(), "killed after {after} s: {checked:?}");
            for line in house.keys() {
                let file = line.split('"').nth(1).unwrap();
                assert!(fs::metadata(file).unwrap().len() > 0, "{line}");
            }
        }
        assert!(whole > 0, "{arguments:?} never ran to its end");
    }
    // And the server takes what is left.
    house.must(&["reload"]);
}

/// L7: killed before each of its steps; what it leaves is named by `check`, and nothing else is.
#[test]
fn l7_what_a_killed_rotate_key_leaves_is_named() {
    need_namespaces!();
    let house = House::new();
    let folder = house.server.folder();
    let is_usual = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy();
        let named = house.keys().iter().any(|line| line.contains(&*name));
        let stays = ["server.toml", "clients.toml", ".server.toml.lock"].contains(&&*name);
        named || stays || !path.is_file()
    };
    let list = || fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let before: Vec<PathBuf> = list().filter(|path| !is_usual(path)).collect();
    let left = || list().filter(|path| !is_usual(path) && !before.contains(path));
    let told = || {
        let output = house.server.control(&["check", "--live"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let named = |path: &PathBuf| text.contains(&format!("{} ", path.display()));
        (left().partition::<Vec<_>, _>(named), text.matches(": rm /").count())
    };
    let (mut at, mut orphans) = (1, 0);
    loop {
        let mut command = house.server.host().command("sh");
        command.args(["-c", "kill -STOP $$; exec \"$@\"", "sh"]).arg(binary("spa-server"));
        command.args(["rotate-key", "--config"]).arg(folder.join("server.toml"));
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let (steps, code) = trace::steps(command.spawn().unwrap().id(), Some(at));
        assert!(code.is_none() || (steps < at && code == Some(0)), "{at}: {code:?}, {steps} steps");
        let ((named, unnamed), count) = told();
        assert_eq!(unnamed, Vec::<PathBuf>::new(), "{at}");
        assert_eq!(count, named.len(), "{at}: {named:?}");
        orphans += named.len();
        // As the advice says; then nothing is named any more.
        named.iter().for_each(|path| fs::remove_file(path).unwrap());
        if house.keys().iter().any(|line| line.starts_with("previous-key")) {
            house.must(&["rotate-key", "--finish", "--force"]);
            let ((retired, _), _) = told();
            assert_eq!(retired.len(), 1, "{at}: the retired key: {retired:?}");
            fs::remove_file(&retired[0]).unwrap();
        }
        if code.is_some() {
            assert!(at > 8 && orphans > 2, "{at} steps, {orphans} files");
            return;
        }
        at += 1;
    }
}
