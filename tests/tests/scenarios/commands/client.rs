//! The client helps itself and its user.

use super::*;

#[test]
fn a_client_without_a_server_lists_the_likeliest_causes() {
    need_namespaces!();
    let mut house = house(&scene::config(600));
    let status = house.scene.server.stop();
    assert!(status.success(), "{status}");
    both(|family| {
        let opened = house.scene.client.open("ssh", family, &["--timeout", "1s"]);
        assert_eq!(opened.status.code(), Some(3), "{family}: {opened:?}");
        // The clock comes last: one that is far off has been named, and NTP keeps most.
        for words in [
            "no answer: ssh on server (",
            ". this key (SHA256:",
            "is not enrolled, or not for ssh",
            "on the server: spa-server client list",
            "let UDP ports 40001, 40002, 40003 through",
            "on the server, while you try again: tcpdump",
            ". the clock: here it is",
            "More: spa-client doctor server --knock",
        ] {
            assert!(opened.stderr.contains(words), "{family}: {words} is not in {}", opened.stderr);
        }
        let causes = opened.stderr.lines().filter(|line| line.starts_with("  "));
        assert_eq!(causes.count(), 3, "{family}: {}", opened.stderr);
        let other = house.net.client.address(family).to_string();
        assert!(
            opened.stderr.contains(&other),
            "{family}: its own address helps: {}",
            opened.stderr
        );
    });
    let control = house.scene.server.control(&["status"]);
    assert_eq!(control.status.code(), Some(3));
    assert!(
        String::from_utf8_lossy(&control.stderr).contains("no server answers at"),
        "{control:?}"
    );
}

#[test]
fn a_client_without_keys_or_hosts_is_told_the_next_command() {
    need_namespaces!();
    let net = lan();
    let server = Server::prepare(&net.server, &scene::config(60));
    let client = Client::new(&net.client);
    let opened = client.open("ssh", Family::V4, &[]);
    assert_eq!(opened.status.code(), Some(4), "{opened:?}");
    assert!(
        opened
            .stderr
            .contains("there is no host `server`; take its enrolment line with: spa host add")
    );
    client.enrol(&server, "laptop", &["ssh"]);
    let opened = client.open("ssh", Family::V4, &["--config", "/nonexistent"]);
    assert_eq!(opened.status.code(), Some(4), "{opened:?}");
    fs::remove_file(client.key()).unwrap();
    let opened = client.open("ssh", Family::V4, &[]);
    assert_eq!(opened.status.code(), Some(78), "{opened:?}");
    assert!(opened.stderr.contains("make a key with: spa keygen"), "{}", opened.stderr);
}
