//! What `check` says of services behind this host, of those that are not hidden yet, and of flows
//! that need a grant.

use super::*;

#[test]
fn check_knows_whether_the_kernel_forwards_packets() {
    need_namespaces!();
    let config = Config::default()
        .set("firewall.interfaces", "[\"eth0\"]")
        .service("inner", "hook = \"forward\"\nports = [\"tcp/8443\"]")
        .service("four", "to = \"10.0.0.5:22\"\nhook = \"forward\"\nports = [\"tcp/8022\"]")
        .service("six", "to = \"[fd00::5]:22\"\nhook = \"forward\"\nports = [\"tcp/8023\"]");
    let site = Site::new(&config);
    let host = &site.net.server;
    let switches = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];
    switches.into_iter().for_each(|switch| host.sysctl(switch, "0"));
    let found = || {
        let (_, out, _) = site.check(None, &["--live"]);
        assert!(!out.contains("nobody listens on tcp/80"), "{out}");
        lines(&out, "this kernel forwards").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let off = found();
    let says = |family: &str, key: &str, names: &str, beside: &str| {
        format!(
            "this host: warning: {key} is 0: this kernel forwards no {family} packets, and a \
            grant for service {names} reaches nothing over {family}; fix it with: sysctl -w \
            {key}=1, and for the next start: echo {key}=1 \
            >/etc/sysctl.d/90-spa-forward.conf{beside}"
        )
    };
    let router = "; where this host has its own IPv6 address from router advertisements, set \
        net.ipv6.conf.INTERFACE.accept_ra=2 before";
    assert_eq!(
        off,
        [
            says("IPv4", "net.ipv4.ip_forward", "`inner`, `four`", ""),
            says("IPv6", "net.ipv6.conf.all.forwarding", "`inner`, `six`", router),
        ]
    );
    // What it advises helps.
    for line in off {
        let advice =
            line.split_once("fix it with: ").unwrap().1.split_once(',').unwrap().0.to_owned();
        let (code, _, err) = run(site.net.server.command("sh").args(["-c", &advice]));
        assert_eq!(code, Some(0), "{advice}: {err}");
    }
    assert_eq!(
        found(),
        [
            "this host: ok: this kernel forwards IPv4 packets, as service `inner`, `four` needs",
            "this host: ok: this kernel forwards IPv6 packets, as service `inner`, `six` needs",
        ]
    );
}

#[test]
fn check_says_from_when_on_a_service_is_hidden() {
    need_namespaces!();
    let mut site = Site::new(&ssh_config().set("firewall.protect", "\"after-first-grant\""));
    let v4 = site.net.client.address(Family::V4);
    let not_yet = |who: &str| {
        format!(
            "this host: note: new ssh sessions to tcp/2222: not hidden yet, everybody reaches it \
             as before; hidden from the moment on that a client opens service `ssh` for the first \
             time (protect = \"after-first-grant\"); {who}"
        )
    };
    // No client: nothing is lost by starting, and nobody can hide it.
    let (code, out, err) = site.check(Some(Family::V4), &["--live"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(
        lines(&out, "new ssh"),
        [not_yet(&format!("nobody may open it from {v4} now, so it stays as it is"))]
    );
    let client =
        Client::enrolled_with(&site.net.client, &site.server, "laptop", &["--service", "ssh"]);
    let (_, out, _) = site.check(Some(Family::V4), &["--live"]);
    assert_eq!(lines(&out, "new ssh"), [not_yet(&format!("laptop may open it from {v4} now"))]);

    // As it says.
    site.server.launch();
    site.server.wait_fence();
    let seen = |family| {
        spa_tests::probe::tcp(&site.net.stranger, site.net.server.at(family, SSH), scene::SILENCE)
    };
    both(|family| assert_eq!(seen(family), spa_tests::probe::TcpProbe::Open, "{family}"));
    client.must_open("ssh", Family::V4, &[]);
    both(|family| assert_eq!(seen(family), spa_tests::probe::TcpProbe::Silent, "{family}"));
    let (code, out, _) = site.check(Some(Family::V4), &["--live"]);
    assert_eq!(code, Some(0));
    let hidden = "this host: ok: new ssh sessions to tcp/2222: hidden by service `ssh`; laptop \
        may open it from ";
    assert!(lines(&out, "new ssh")[0].starts_with(hidden), "{out}");
}

/// Whether what one end of a session says is heard at the other.
fn goes_on(pair: &[TcpStream], patience: std::time::Duration) -> bool {
    let [here, there] = pair else { panic!("two ends") };
    here.set_read_timeout(Some(patience)).unwrap();
    (&mut &*there).write_all(b"x").unwrap();
    (&mut &*here).read_exact(&mut [0; 1]).is_ok()
}

#[test]
fn check_says_when_this_session_would_be_cut() {
    need_namespaces!();
    let config = Config::default().service("ssh", "ports = [\"tcp/2222\"]\nestablished = \"drop\"");
    let mut site = Site::new(&config);
    let needs = "established = \"drop\" needs a live grant for each packet";
    let session = |site: &Site, family| {
        format!("this ssh session from {} to port 2222", site.net.client.address(family))
    };
    for family in Family::BOTH {
        let (code, out, err) = site.check(Some(family), &["--live"]);
        assert_eq!(
            (code, err.as_str()),
            (
                Some(78),
                "spa-server: 2 errors; starting the server would lock you out, or hide nothing\n"
            )
        );
        let client = site.net.client.address(family);
        let line = format!(
            "this host: error: {} would be cut when the table is installed: {needs}, and none \
             covers it, nor may any client open it from {client} now; enrol one first, or write \
             established = \"keep\" for the first time",
            session(&site, family)
        );
        assert_eq!(lines(&out, "this ssh session"), [line]);
    }
    site.enrol("laptop", &[]);
    let (code, out, _) = site.check(Some(Family::V4), &["--live"]);
    let v4 = site.net.client.address(Family::V4);
    let line = format!(
        "this host: warning: {} would be cut when the table is installed: {needs}, and none covers \
         it. laptop can reconnect from {v4} with a knock: spa-client open ssh@HOST; or write \
         established = \"keep\" for the first time",
        session(&site, Family::V4)
    );
    assert_eq!((code, lines(&out, "this ssh session")), (Some(0), vec![line.as_str()]));

    // A grant covers one of the two sessions; that one goes on, the other is cut, and it too when
    // the grant is closed.
    site.server.launch();
    assert!(site.server.control(&["open", "ssh", "--for", &v4.to_string()]).status.success());
    let (code, out, _) = site.check(Some(Family::V4), &["--live"]);
    let stays =
        format!("this host: ok: {} stays as long as grant g1 lasts, ", session(&site, Family::V4));
    assert!(code == Some(0) && lines(&out, "this ssh session")[0].starts_with(&stays), "{out}");
    let (_, out, _) = site.check(Some(Family::V6), &["--live"]);
    assert!(lines(&out, "this ssh session")[0].contains("would be cut"), "{out}");
    assert!(goes_on(&site.sessions[..2], PATIENCE));
    assert!(!goes_on(&site.sessions[2..], scene::SILENCE));
    assert!(site.server.control(&["close", "--all"]).status.success());
    assert!(!goes_on(&site.sessions[..2], scene::SILENCE));
}
