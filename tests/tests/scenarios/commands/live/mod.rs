//! `spa-server check --live`: what it says of a host before its firewall is changed.

mod doors;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};

use spa_tests::netns::Host;
use spa_tests::nft;

use super::privileges::{NOBODY, Unprivileged};
use super::*;

/// Another port for ssh than the usual one, so that nothing but the session can tell it.
const SSH: u16 = 2222;

/// A server's host with an ssh session from the client, and everything that stands in the way of
/// the configuration.
struct Site {
    server: Server,
    /// Client's and server's end of the session of each family, and what listens.
    sessions: Vec<TcpStream>,
    _listener: TcpListener,
    net: Lan,
}

impl Site {
    fn new(config: &Config) -> Site {
        let net = lan();
        let server = Server::prepare(&net.server, config);
        let listener = net.server.run(|| TcpListener::bind(("::", SSH)).unwrap());
        let sessions = Family::BOTH.map(|family| {
            let to = net.server.at(family, SSH);
            let there = net.client.run(|| TcpStream::connect(to).unwrap());
            [listener.accept().unwrap().0, there]
        });
        Site {
            server,
            sessions: sessions.into_iter().flatten().collect(),
            _listener: listener,
            net,
        }
    }

    /// `SSH_CONNECTION` as sshd would set it.
    fn connection(&self, family: Family) -> String {
        let there = &self.sessions[if family == Family::V4 { 1 } else { 3 }];
        let (from, to) = (there.local_addr().unwrap(), there.peer_addr().unwrap());
        format!("{} {} {} {}", from.ip(), from.port(), to.ip(), to.port())
    }

    /// Runs it by way of a shell, in a session when there is one. The parent has the variable, the
    /// command has not, as under sudo.
    fn check(&self, family: Option<Family>, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = self.net.server.command("sh");
        // `true` behind it keeps the shell from becoming the command itself.
        command.args(["-c", "env -u SSH_CONNECTION \"$@\"; code=$?; true; exit $code", "sh"]);
        command.arg(binary("spa-server")).arg("check").args(arguments);
        command.arg(self.server.folder().join("server.toml")).env_remove("SSH_CONNECTION");
        if let Some(family) = family {
            command.env("SSH_CONNECTION", self.connection(family));
        }
        let (code, out, err) = run(&mut command);
        (code, self.settled(&out), self.settled(&err))
    }

    /// Without what is different in every run.
    fn settled(&self, text: &str) -> String {
        let text = text.replace(&self.server.folder().display().to_string(), "HOME");
        let us = format!("({})", std::process::id());
        // One line of JSON is kept whole.
        let kept = text.lines().filter(|line| {
            line.starts_with('{') || !line.contains("clock") && !line.contains("tracked: ")
        });
        kept.map(|line| line.replace(&us, "(PID)") + "\n").collect()
    }

    fn enrol(&self, name: &str, arguments: &[&str]) {
        let words: Vec<&str> =
            ["--service", "ssh"].into_iter().chain(arguments.iter().copied()).collect();
        drop(Client::enrolled_with(&self.net.client, &self.server, name, &words));
    }
}

fn ssh_config() -> Config {
    Config::default().service("ssh", "ports = [\"tcp/2222\"]")
}

fn lines<'a>(text: &'a str, words: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.contains(words)).collect()
}

#[test]
fn check_says_what_becomes_of_ssh_sessions() {
    need_namespaces!();
    let site = Site::new(&ssh_config());
    for family in Family::BOTH {
        let client = site.net.client.address(family);
        let (code, out, err) = site.check(Some(family), &["--live"]);
        assert_eq!(
            (code, err.as_str()),
            (
                Some(78),
                "spa-server: 1 error; starting the server would lock you out, or hide nothing\n"
            )
        );
        assert_eq!(
            lines(&out, "ssh session"),
            [
                format!(
                    "this host: ok: this ssh session from {client} to port 2222 stays when \
                    the table is installed: established connections are kept"
                ),
                "this host: error: new ssh sessions to tcp/2222: hidden by service `ssh`, which \
                no client may open, so nobody could log in any longer; enrol one first: \
                spa-server client add NAME spa1… --service ssh"
                    .to_owned(),
            ]
        );
    }

    // Enrolled, but not for here, not for now, not any more.
    site.enrol("elsewhere", &["--from", "10.0.0.0/8"]);
    site.enrol("gone", &["--expires", "2020-01-01"]);
    let (code, out, err) = site.check(Some(Family::V4), &["--live"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let v4 = site.net.client.address(Family::V4);
    assert_eq!(
        lines(&out, "new ssh"),
        [format!(
            "this host: warning: new ssh sessions to tcp/2222: hidden by service `ssh`, and nobody \
             may open it from {v4} now: elsewhere (not from this address), gone (its access has \
             expired). Keep this session open until you have logged in by a knock, or widen their \
             stanzas"
        )]
    );

    site.enrol("laptop", &[]);
    for family in Family::BOTH {
        let client = site.net.client.address(family);
        let (code, out, _) = site.check(Some(family), &["--live"]);
        assert_eq!(code, Some(0));
        let line = format!(
            "this host: ok: new ssh sessions to tcp/2222: hidden by service `ssh`; laptop may \
             open it from {client} now. Before you close this session, try: spa-client open \
             ssh@HOST"
        );
        assert_eq!(lines(&out, "new ssh"), [line]);
    }

    // A session that is promised to stay does stay, in both families, and new ones end.
    assert!(site.server.control(&["firewall", "install"]).status.success());
    for pair in site.sessions.chunks(2) {
        // The client speaks first: the kernel did not track these connections before the table
        // came.
        for (from, to) in [(&pair[1], &pair[0]), (&pair[0], &pair[1])] {
            to.set_read_timeout(Some(PATIENCE)).unwrap();
            (&mut &*from).write_all(b"still there").unwrap();
            (&mut &*to).read_exact(&mut [0; 11]).unwrap();
        }
    }
    both(|family| {
        let seen = spa_tests::probe::tcp(
            &site.net.client,
            site.net.server.at(family, SSH),
            scene::SILENCE,
        );
        assert_eq!(seen, spa_tests::probe::TcpProbe::Silent, "{family}");
    });

    // Without a session nothing is promised for it.
    let (code, out, _) = site.check(None, &["--live"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("this host: note: this is no ssh session"), "{out}");
}

#[test]
fn check_names_other_firewalls_and_ports_in_use() {
    need_namespaces!();
    let config = ssh_config()
        .service("web", "ports = [\"tcp/80\"]")
        .bait("telnet", "ports = [\"tcp/23\", \"udp/5353\"]\nban = \"1h\"");
    let site = Site::new(&config);
    let host = &site.net.server;
    site.enrol("laptop", &[]);
    host.sysctl("net/ipv4/ip_local_reserved_ports", "40001-40003");
    let _used = host.run(|| {
        let bound = |port| UdpSocket::bind(("::", port)).unwrap();
        (
            TcpListener::bind(("::", 23)).unwrap(),
            bound(5353),
            bound(40_002),
            TcpListener::bind("127.0.0.1:80").unwrap(),
        )
    });
    nft::load(
        host,
        "table inet office { chain guests { tcp dport 2222 drop; }; chain input { type filter hook \
         input priority 10; jump guests; }; }",
    );
    let iptables = |words: &str| {
        let done = host
            .command("iptables-nft")
            .args(words.split(' '))
            .output()
            .expect("iptables is installed");
        assert!(done.status.success(), "{words}: {done:?}");
    };
    iptables("-P INPUT DROP");
    iptables("-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT");
    iptables("-A INPUT -p tcp --dport 80 -j ACCEPT");
    let rules = nft::ruleset(host);
    let handle = handle_of_drop(host);

    let (code, out, err) = site.check(Some(Family::V6), &["--live"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(nft::ruleset(host), rules, "check changes nothing");
    let v6 = site.net.client.address(Family::V6);
    let comm = fs::read_to_string("/proc/self/comm").unwrap();
    let us = format!("{} (PID)", comm.trim());
    let expected = format!(
        "this host: ok: this ssh session from {v6} to port 2222 stays when the table is \
         installed: established connections are kept\n\
         this host: ok: new ssh sessions to tcp/2222: hidden by service `ssh`; laptop may open it from {v6} now. Before you close this session, try: spa-client open ssh@HOST\n\
         this host: ok: service `ssh` over IPv4 and IPv6: hidden from strangers\n\
         this host: warning: service `ssh` over IPv4: a grant does not open it: the policy of ip filter INPUT drops it; iptables -I INPUT -p tcp --dport 2222 -j ACCEPT\n\
         this host: warning: service `ssh` over IPv6: a grant does not open it: the rule with handle {handle} in inet office guests drops it; nft insert rule inet office input tcp dport 2222 accept\n\
         this host: ok: service `web` over IPv4 and IPv6: hidden from strangers\n\
         this host: note: service `web` over IPv4 and IPv6: nobody listens on tcp/80 here\n\
         this host: warning: this host refuses its closed ports, and hidden ports do not look like them: a scan finds them; write hide = \"auto\"\n\
         this host: note: 2 of 2 connections to hidden ports began before the kernel tracked connections: installing the table makes them known to it, so they stay\n\
         this host: warning: bait `telnet` covers tcp/23, where {us} listens: whoever connects there is banned; take the port out of the bait\n\
         this host: warning: bait `telnet` covers udp/5353, where {us} listens: whoever connects there is banned; take the port out of the bait\n\
         this host: warning: knock port udp/40002 is in use: {us} listens there, and would get no packet any more; choose another stage, or move that program\n"
    );
    let here: String =
        lines(&out, "this host: ").into_iter().map(|line| format!("{line}\n")).collect();
    assert_eq!(here, expected);

    // What it advises helps.
    nft::load(
        host,
        "insert rule inet office input tcp dport 2222 accept\ninsert rule ip filter INPUT tcp \
         dport 2222 accept",
    );
    let (_, out, _) = site.check(Some(Family::V6), &["--live"]);
    let opens = "this host: ok: service `ssh` over IPv4 and IPv6: a grant opens it";
    assert!(out.contains(opens), "{out}");
}

/// The number that nft shows for the rule in chain `guests`.
fn handle_of_drop(host: &Host) -> String {
    let listed = host
        .command("nft")
        .args(["-a", "list", "chain", "inet", "office", "guests"])
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let rule = listed.lines().find(|line| line.contains("drop")).expect("the rule");
    rule.rsplit_once("# handle ").expect("a handle").1.to_owned()
}

#[test]
fn check_of_a_file_for_another_host_is_silent_about_this_one() {
    need_namespaces!();
    let site = Site::new(&ssh_config());
    for arguments in [&[][..], &["--offline"]] {
        let (code, out, err) = site.check(Some(Family::V4), arguments);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        assert!(!out.contains("this host: "), "{out}");
    }
    let (code, out, err) = site.check(Some(Family::V4), &["--live", "--offline"]);
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
}

#[test]
fn check_answers_in_json() {
    need_namespaces!();
    let site = Site::new(&ssh_config());
    let json = |arguments: &[&str]| -> (Option<i32>, Value) {
        let (code, out, _) = site.check(Some(Family::V4), arguments);
        assert_eq!(out.lines().count(), 1, "{out}");
        (code, serde_json::from_str(&out).unwrap())
    };
    let (code, answer) = json(&["--json"]);
    assert_eq!(code, Some(0), "{answer}");
    for (field, value) in [
        ("version", Value::from(1)),
        ("file", "HOME/server.toml".into()),
        ("good", true.into()),
        ("services", 1.into()),
        ("baits", 0.into()),
        ("clients", 0.into()),
        ("live", Value::Null),
    ] {
        assert_eq!(answer[field], value, "{field} in {answer}");
    }
    let findings = answer["findings"].as_array().unwrap();
    assert!(
        findings
            .iter()
            .any(|finding| finding["severity"] == "warning" && finding["line"].is_null()),
        "{answer}"
    );
    // This host's findings in their order; what the clock of the test's machine is like is not ours
    // to say.
    let (code, answer) = json(&["--json", "--live"]);
    assert_eq!((code, &answer["good"]), (Some(78), &false.into()), "{answer}");
    let live: Vec<(&str, &str)> = answer["live"]
        .as_array()
        .unwrap()
        .iter()
        .map(|found| {
            assert!(found["text"].as_str().is_some_and(|text| text.len() > 10), "{found}");
            (found["about"].as_str().unwrap(), found["weight"].as_str().unwrap())
        })
        .filter(|(about, _)| *about != "clock")
        .collect();
    let expected = [
        ("this-session", "good"),
        ("new-sessions", "error"),
        ("service", "good"),
        ("service", "good"),
        // The knock ports of this configuration are the kernel's to give away.
        ("firewall", "warning"),
        ("firewall", "warning"),
        ("conntrack", "good"),
        ("conntrack", "note"),
    ];
    assert_eq!(live, expected, "{answer}");
    site.server.configure(&ssh_config().set("firewall.mode", "\"open\""));
    let (code, answer) = json(&["--json"]);
    assert_eq!(
        (code, &answer["good"], &answer["services"]),
        (Some(78), &false.into(), &Value::Null),
        "{answer}"
    );
    let error = &answer["findings"][0];
    assert!(
        error["severity"] == "error" && error["line"].is_u64() && error["column"].is_u64(),
        "{answer}"
    );
}

#[test]
fn check_says_what_an_unprivileged_user_could_not_see() {
    need_namespaces!();
    let user = Unprivileged::new("ring", "nftables");
    let config = user.folder.join("server.toml").display().to_string();
    // The shell above is root's, so its environment is closed to the user.
    let mut command = user.net.server.command("sh");
    let nobody = NOBODY.to_string();
    command.args([
        "-c",
        "\"$@\"; code=$?; true; exit $code",
        "sh",
        "setpriv",
        "--reuid",
        &nobody,
        "--regid",
        &nobody,
    ]);
    command.args(["--clear-groups", "--inh-caps=-all"]).arg(user.folder.join("spa-server"));
    command.args(["check", "--live", &config]).env_remove("SSH_CONNECTION");
    let (code, out, err) = run(&mut command);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    for words in [
        "this host: unknown: what becomes of this session: the environment of process ",
        "this host: unknown: what reaches the services here: to read the rules of other \
         firewalls takes CAP_NET_ADMIN; run this as root",
    ] {
        assert!(out.contains(words), "{words} is not in {out}");
    }
}
