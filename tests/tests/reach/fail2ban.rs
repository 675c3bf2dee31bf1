//! Beside fail2ban, which bans whom we let in.

use std::fs;
use std::process::Command;
use std::time::Duration;

use spa_tests::daemon::Client;
use spa_tests::netns::{Host, lan};
use spa_tests::probe::{TcpProbe, tcp};
use spa_tests::temp::TempDir;
use spa_tests::{Family, need_namespaces, process};

use crate::bench::{Bench, config};

/// How long a port that must stay silent is listened to.
const SILENCE: Duration = Duration::from_millis(300);

/// A fail2ban of its own in a host.
struct Fail2ban<'h> {
    host: &'h Host,
    folder: TempDir,
}

impl<'h> Fail2ban<'h> {
    fn start(host: &'h Host, action: &str) -> Self {
        let folder = TempDir::new();
        process::succeed(Command::new("cp").args(["-a", "/etc/fail2ban"]).arg(folder.path()));
        let at = folder.path().display().to_string();
        fs::remove_dir_all(folder.join("fail2ban/jail.d")).unwrap();
        folder.write("log", "");
        let jail = format!(
            "[sshd]\nenabled = true\nbackend = polling\nlogpath = {at}/log\nport = 22\n\
             banaction = {action}\n"
        );
        folder.write("fail2ban/jail.local", jail);
        folder.write(
            "fail2ban/fail2ban.local",
            format!("[Definition]\nlogtarget = {at}/f2b.log\ndbfile = :memory:\n"),
        );
        let this = Fail2ban { host, folder };
        this.tell(&["start"]);
        this
    }

    fn tell(&self, words: &[&str]) -> String {
        let at = self.folder.path();
        let mut command = self.host.command("fail2ban-client");
        command.arg("-c").arg(at.join("fail2ban")).arg("-s").arg(at.join("sock"));
        command.arg("-p").arg(at.join("pid")).args(words);
        process::succeed(&mut command)
    }
}

impl Drop for Fail2ban<'_> {
    fn drop(&mut self) {
        let at = self.folder.path();
        let mut command = self.host.command("fail2ban-client");
        command.arg("-s").arg(at.join("sock")).arg("stop");
        let _ended = command.output();
    }
}

#[test]
fn a_client_with_a_grant_is_banned_by_fail2ban() {
    need_namespaces!();
    let bench = Bench::start(lan(), &config("[]"));
    let (server, client) = (&bench.server, &bench.net.client);
    let _laptop = Client::enrolled_with(client, server, "laptop", &["--service", "ssh"]);
    server.wait_fence();
    for action in ["nftables-multiport", "iptables-multiport", "iptables-ipset-proto6"] {
        let fail2ban = Fail2ban::start(&bench.net.server, action);
        for family in Family::BOTH {
            let address = client.address(family).to_string();
            let opened = server.control(&["open", "ssh", "--for", &address]);
            assert!(opened.status.success(), "{opened:?}");
            let reaches = || tcp(client, server.host().at(family, 22), SILENCE) == TcpProbe::Open;
            let explain = || {
                let output = server.control(&["explain", "laptop", "ssh", "--from", &address]);
                (output.status.success(), String::from_utf8(output.stdout).unwrap())
            };
            assert!(reaches(), "{action} {family}");
            let (good, text) = explain();
            assert!(good && text.contains("no other rule stops it"), "{action}: {text}");
            fail2ban.tell(&["set", "sshd", "banip", &address]);
            assert!(!reaches(), "{action} {family}");
            let (good, text) = explain();
            if action.contains("ipset") {
                // Their sets are not read.
                assert!(text.contains("what comes then may be stopped: way-"), "{text}");
            } else {
                let command = format!("drops it: fail2ban-client unban {address}");
                let last = ", and rules of others would stop what comes then";
                assert!(text.contains(&command) && text.contains(last), "{action}: {text}");
                assert!(!good, "{action}: {text}");
            }
            // It is no fault of the service's.
            let status = String::from_utf8(server.control(&["status"]).stdout).unwrap();
            assert!(!status.contains("NOT hidden") && !status.contains("blocked"), "{status}");
            fail2ban.tell(&["set", "sshd", "unbanip", &address]);
            assert!(reaches(), "{action} {family}");
        }
        drop(fail2ban);
        bench.clear();
    }
}
