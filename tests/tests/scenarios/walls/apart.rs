//! What the broker believes must not lie where the listener may write: refused at the start, at a
//! reload, on trial and by `check`, however the place is written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use spa_tests::config::Config;
use spa_tests::daemon::{Server, binary};
use spa_tests::need_namespaces;
use spa_tests::netns::lan;
use spa_tests::scene::config;

const WORDS: &str = "where the process that reads packets may write";

fn run(server: &Server, command: &str, file: &Path) -> (Option<i32>, String) {
    let mut program = server.host().command("timeout");
    program.arg("30").arg(binary("spa-server")).arg(command).arg("--config").arg(file);
    if command == "check" {
        program.arg("--offline");
    }
    let Output { status, stdout, stderr } = program.output().unwrap();
    (
        status.code(),
        String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr),
    )
}

/// Configurations that give the listener what it must not have, with a word of the reason each.
fn wrong() -> Vec<(&'static str, Config)> {
    let textfile = |at: &str| config(60).set("metrics.textfile", &format!("\"{at}/spa.prom\""));
    let state = |at: &str| config(60).set("server.state", &format!("\"{at}\""));
    vec![
        ("the configuration", textfile("{dir}")),
        ("the configuration", textfile("{dir}/state/..")),
        ("the configuration", textfile("{dir}/figures/../../{base}")),
        ("the configuration", textfile("{dir}/to-here")),
        ("the configuration", textfile("{dir}/to-here/figures/..")),
        ("the configuration", state("{dir}")),
        ("the configuration", state("{dir}/to-here")),
        ("the server's key", textfile("{dir}/keys").set("server.key", "\"{dir}/keys/server.key\"")),
        (
            "the server's key",
            textfile("{dir}/keys").set("server.key", "\"{dir}/to-keys/server.key\""),
        ),
        (
            "the clients' file",
            state("{dir}/state").set("server.clients", "\"{dir}/state/clients.toml\""),
        ),
        ("the broker's folder", textfile("{dir}/state-broker")),
        (
            "the hook",
            textfile("{dir}/figures").append(
                "[[service]]\nname = \"vpn\"\nports = [\"udp/51820\"]\n[service.on-open]\nrun = \
             [\"{dir}/figures/told\"]\n",
            ),
        ),
    ]
}

fn prepared(server: &Server) -> String {
    let folder = server.folder();
    for name in ["figures", "keys", "state"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    fs::copy(folder.join("server.key"), folder.join("keys/server.key")).unwrap();
    symlink(folder, folder.join("to-here")).unwrap();
    symlink(folder.join("keys"), folder.join("to-keys")).unwrap();
    folder.file_name().unwrap().to_str().unwrap().to_owned()
}

fn write(server: &Server, config: &Config, base: &str) {
    let text = config.text(server.folder()).replace("{base}", base);
    fs::write(server.folder().join("server.toml"), text).unwrap();
}

#[test]
fn a_start_and_check_refuse_it() {
    need_namespaces!();
    let net = lan();
    let server = Server::prepare(&net.server, &config(60));
    let base = prepared(&server);
    let file = server.folder().join("server.toml");
    for (what, config) in wrong() {
        write(&server, &config, &base);
        let text = config.text(server.folder());
        for command in ["check", "run"] {
            let (code, said) = run(&server, command, &file);
            assert_eq!(code, Some(78), "{command}: {said}\n{text}");
            assert!(
                said.contains(what) && said.contains(WORDS),
                "{command}, {what}: {said}\n{text}"
            );
        }
    }
    // As a relative path, from there.
    write(&server, &config(60).set("metrics.textfile", "\"{dir}/spa.prom\""), &base);
    let mut program = server.host().command("sh");
    program.args(["-c", "cd \"$1\" && exec \"$0\" run --config ./server.toml"]);
    let output = program.arg(binary("spa-server")).arg(server.folder()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(78) && said.contains(WORDS), "{said}");
    // Through a link to its folder.
    write(
        &server,
        &config(60)
            .set("metrics.textfile", "\"{dir}/keys/spa.prom\"")
            .set("server.key", "\"{dir}/server.key\""),
        &base,
    );
    fs::copy(&file, server.folder().join("keys/server.toml")).unwrap();
    for command in ["check", "run"] {
        let (code, said) = run(&server, command, &server.folder().join("to-keys/server.toml"));
        assert!(
            code == Some(78) && said.contains("the configuration") && said.contains(WORDS),
            "{said}"
        );
    }
}

#[test]
fn a_reload_and_a_trial_refuse_it() {
    need_namespaces!();
    let net = lan();
    let server = Server::start(&net.server, &config(60));
    let base = prepared(&server);
    for (what, config) in wrong() {
        // What takes effect at a restart only is said as such, before any look at the rest.
        write(&server, &config, &base);
        for words in [&["reload"][..], &["try", "--for", "1h", "--no-wait"]] {
            let output = server.control(words);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(78), "{words:?} {what}: {said}");
            assert!(said.contains(what) && said.contains(WORDS), "{words:?} {what}: {said}");
        }
        assert!(server.status()["trial"].is_null());
    }
    // What only looks alike is taken.
    let good = config(60)
        .set("metrics.textfile", "\"{dir}/figures/spa.prom\"")
        .set("server.key", "\"{dir}/to-keys/../server.key\"");
    write(&server, &good, &base);
    assert!(server.control(&["reload"]).status.success());
}
