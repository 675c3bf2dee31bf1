//! What a client's commands answer when there is a server, and when there is none; as text, as
//! JSON, and as exit code.

use nix::sys::signal::Signal;
use spa_tests::session::Session;

use super::*;

/// A server that `laptop` may use for `ssh` alone, under a clock that can be set.
fn aged() -> House {
    let net = lan();
    let scene = Scene::aged(&net.server, &net.client, &scene::config(600), &["ssh"]);
    House { scene, net }
}

fn runs(session: &mut Session, client: &Client, lines: &[&str]) {
    for line in lines {
        session.client(client, line, "");
    }
}

#[test]
fn open_close_run_connect() {
    need_namespaces!();
    let house = aged();
    let client = &house.scene.client;
    let mut session = Session::new();
    runs(
        &mut session,
        client,
        &[
            "spa-client open ssh@server",
            "spa-client open ssh@server --json",
            "spa-client open ssh@server -6 --ttl 5m",
            "spa-client open ssh,web@server",
            "spa-client open web@server --json",
            "spa-client open nothing@server",
            "spa open ssh@server -4",
            "spa connect ssh@server -4",
            "spa-client open ssh@server -4 --expect-address 203.0.113.9",
            "spa-client close ssh@server",
            "spa-client close ssh@server --json",
            "spa-client close web@server",
            "spa-client run ssh@server -- true",
            "spa-client run ssh@server -- sh -c exit${IFS}9",
            "spa-client run ssh@server -- no-such-program",
            "spa-client run web@server -- true",
            "spa-client connect ssh@server -4",
            "spa-client connect ssh@server 23 -4 --timeout 1s",
            "spa-client connect web@server",
            "spa-client host add --name other",
        ],
    );
    session.client_until(
        client,
        "spa-client open ssh@server -4 --hold",
        "",
        Some(("is open", Signal::SIGINT)),
    );
    session.client_until(
        client,
        "spa-client open ssh@server -6 --hold --json",
        "",
        Some(("granted", Signal::SIGTERM)),
    );
    session.end("answers-spa-client");
}

#[test]
fn refused_and_unheard() {
    need_namespaces!();
    let mut house = aged();
    let mut session = Session::new();
    // Its clock is ahead, by more than a knock may be old and less than it knows tags of.
    house.scene.server.set_clock_offset(120);
    house.scene.server.wait_log(&["event=clock-step", "ahead"]);
    house.scene.server.wait_fence();
    runs(
        &mut session,
        &house.scene.client,
        &["spa-client open web@server -4", "spa-client open web@server -4 --json"],
    );
    house.scene.server.set_clock_offset(0);
    assert!(house.scene.server.stop().success());
    runs(
        &mut session,
        &house.scene.client,
        &[
            "spa-client open ssh@server -4 --timeout 1s",
            "spa-client open ssh@server --timeout 1s --json",
            "spa-client close ssh@server -6 --timeout 1s",
            "spa-client close ssh@server -6 --timeout 1s --json",
            "spa-client run ssh@server -4 --timeout 1s -- true",
            "spa-client connect ssh@server -4 --timeout 1s",
            "spa rotate server -4 --timeout 1s",
            "spa-client open ssh@server -4 --timeout 1s --config nowhere",
        ],
    );
    session.end("silence-spa-client");
}

#[test]
fn join_and_rotate() {
    need_namespaces!();
    let house = house(&scene::config(600));
    let mut session = Session::new();
    let server = &house.scene.server;
    let invited = |name: &str| {
        let output = server.control(&["invite", name, "--service", "ssh", "--host", "192.0.2.1"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let line = invited("phone");
    let phone = Client::new(&house.net.client);
    session.client(&phone, "spa join -", &line);
    session.client(&phone, "spa join -", &line);
    session.client(&phone, "spa-client join --json", &line);
    session.client(&phone, "spa-client join --json --replace", &invited("tablet"));
    let late = Client::new(&house.net.client);
    session.client(&late, "spa-client join --name gate --timeout 1s", &line);
    let line = invited("pad");
    session.client(&late, "spa-client join --name gate --address 192.0.2.1 --json", &line);
    runs(
        &mut session,
        &late,
        &[
            "spa rotate gate",
            "spa rotate gate --json",
            "spa-client rotate",
            "spa-client rotate --json",
            "spa-client host list",
            "spa-client ssh-config",
            "spa check",
        ],
    );
    session.end("join-rotate");
}
