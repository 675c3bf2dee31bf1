//! Sessions that are older than the table, and than the kernel's tracking of connections.

use spa_tests::need_namespaces;
use spa_tests::netns::lan;
use spa_tests::probe::{EchoServer, hold};
use spa_tests::scene::{SILENCE, both, config};

use super::*;

/// The user types into a session that was idle while the server was started: nothing tells the
/// kernel that this is not a new connection, but what the server has told it.
#[test]
fn a_session_from_before_the_first_start_stays_when_the_client_speaks_first() {
    need_namespaces!();
    for mode in ["guard", "standalone"] {
        for loose in ["1", "0"] {
            let net = lan();
            let host = &net.server;
            let _door = EchoServer::start(host, SSH);
            // Out of this host as well: `standalone` drops everything that is not known.
            let _away = EchoServer::start(&net.client, 2000);
            let mut held =
                Family::BOTH.map(|family| hold(&net.client, host.at(family, SSH), PATIENCE));
            let mut out =
                Family::BOTH.map(|family| hold(host, net.client.at(family, 2000), PATIENCE));
            let config = config(60)
                .set("firewall.mode", &format!("\"{mode}\""))
                .set("log.level", "\"debug\"");
            let mut server = Server::prepare(host, &config);
            host.sysctl("net/netfilter/nf_conntrack_tcp_loose", loose);
            server.launch();
            server.wait_log(&["event=connections-kept", "count=4"]);
            for held in held.iter_mut().chain(&mut out) {
                assert!(held.is_alive(PATIENCE), "{mode}, loose {loose}: the session hangs");
            }
            both(|family| {
                let stranger = tcp(&net.stranger, host.at(family, SSH), SILENCE);
                assert_eq!(stranger, TcpProbe::Silent, "{mode} {family}");
            });
        }
    }
}

/// Whoever came in while somebody had flushed the table is none of ours.
#[test]
fn what_began_while_the_table_was_away_is_not_made_known() {
    need_namespaces!();
    let net = lan();
    let host = &net.server;
    let _door = EchoServer::start(host, SSH);
    let mut server = Server::prepare(host, &config(60).set("log.level", "\"debug\""));
    server.launch();
    // The broker stands still, so that there is time to come in.
    server.signal(nix::sys::signal::Signal::SIGSTOP);
    nft::load(host, "flush ruleset");
    let mut held = Family::BOTH.map(|family| hold(&net.stranger, host.at(family, SSH), PATIENCE));
    server.signal(nix::sys::signal::Signal::SIGCONT);
    server.wait_log(&["event=firewall-restored"]);
    for held in &mut held {
        assert!(!held.is_alive(SILENCE), "a stranger's connection goes on");
    }
}
