//! Names that a server chooses, in the name space of its client.

use spa_tests::daemon::{Client, Server};
use spa_tests::netns::lan;
use spa_tests::scene::config;

use super::*;

/// Enrols at a server that says these hosts of itself, under a name of the user's own.
fn enrol_as(client: &Client, server: &Server, name: &str) -> Output {
    if !client.key().exists() {
        let made = client.command("spa").args(["keygen", "-o"]).arg(client.key()).output().unwrap();
        assert!(made.status.success(), "{}", said(&made));
    }
    let public = client.command("spa").arg("pubkey").arg(client.key()).output().unwrap();
    let public = String::from_utf8(public.stdout).unwrap();
    let line = server.add_client("laptop", public.trim(), &["--service", "ssh"]);
    client.command("spa").args(["host", "add", &line, "--name", name]).output().unwrap()
}

#[test]
fn l1_a_servers_line_takes_no_name_of_another_host() {
    need_namespaces!();
    let net = lan();
    let client = Client::new(&net.client);
    let honest = config(60).set("server.hosts", "[\"prod.example\"]");
    let evil = "[\"evil.example\", \"github.com\", \"prod.example\"]";
    let servers = [honest, config(60).set("server.hosts", evil)]
        .map(|config| Server::prepare(&net.server, &config));
    for (server, name) in servers.iter().zip(["prod", "shop"]) {
        let added = enrol_as(&client, server, name);
        assert!(added.status.success(), "{}", said(&added));
    }
    let printed = client.command("spa-client").arg("ssh-config").output().unwrap();
    let printed = said(&printed);
    let patterns: Vec<&str> =
        printed.lines().filter_map(|line| line.strip_prefix("Host ")).collect();
    assert_eq!(patterns, ["prod", "shop"], "{printed}");
    // Both lines claim it: neither is chosen for the user.
    let mut open = client.command("spa-client");
    let opened = open.args(["open", "ssh@prod.example", "--timeout", "1s"]).output().unwrap();
    assert_eq!(opened.status.code(), Some(2), "{}", said(&opened));
    for words in ["prod", "shop", "say which one you mean"] {
        assert!(said(&opened).contains(words), "{}", said(&opened));
    }
}
