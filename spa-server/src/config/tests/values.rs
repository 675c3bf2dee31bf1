//! What a good text becomes.

use std::path::Path;
use std::time::Duration;

use spa_proto::service_id;

use super::{SMALL, findings, good};
use crate::config::{
    BAIT_NFLOG_GROUP, Backend, CaptureMode, KNOCK_NFLOG_GROUP, SecretFile, Stages, Surroundings,
    parse,
};
use crate::domain::grant::Scope;
use crate::domain::ports::PortRange;
use crate::firewall::{Authenticated, Hide, Mode};
use crate::log::{Format, Level};

#[test]
fn the_key_before() {
    let with = |lines: &str| format!("[server]\n{lines}\n{SMALL}");
    let c = good(&with(
        "previous-key = \"/etc/spa/server.key.old\"\nprevious-key-until = \"2027-01-31\"",
    ));
    let previous = c.server.previous.unwrap();
    assert_eq!(previous.file, SecretFile::File("/etc/spa/server.key.old".into()));
    assert_eq!(previous.until, Some(1_801_440_000_000));
    assert!(previous.is_over(1_801_440_000_000) && !previous.is_over(1_801_439_999_999));
    let c = good(&with("key = \"credential:new\"\nprevious-key = \"credential:old\""));
    let previous = c.server.previous.unwrap();
    assert!(previous.file == SecretFile::Credential("old".into()) && !previous.is_over(u64::MAX));
    for (lines, found) in [
        ("previous-key = \"/etc/spa/server.key\"", "the same file as `key`"),
        ("previous-key-until = \"2027-01-31\"", "without `previous-key`"),
        ("previous-key = \"old\"", "not an absolute path"),
        ("previous-key = \"/old\"\nprevious-key-until = \"soon\"", "is not a moment"),
    ] {
        let text = findings(&with(lines)).to_string();
        assert!(text.contains(found), "{lines}: {text}");
    }
}

#[test]
fn defaults() {
    let c = good(SMALL);
    assert_eq!(c.server.previous, None);
    assert_eq!(c.server.key, SecretFile::File("/etc/spa/server.key".into()));
    assert_eq!(c.server.clients, SecretFile::File("/etc/spa/clients.toml".into()));
    assert_eq!(c.server.state, Path::new("/var/lib/spa"));
    assert_eq!(c.server.control, Path::new("/run/spa/control.sock"));
    assert!(c.server.ack);
    assert_eq!((c.server.window_past.as_secs(), c.server.window_future.as_secs()), (30, 10));
    assert_eq!(c.server.authenticated, Authenticated::Pardon);
    assert_eq!((c.log.format, c.log.level), (Format::Logfmt, Level::Info));
    assert_eq!(c.capture.mode, CaptureMode::Ring);
    assert_eq!(c.sequence.stages, Stages::Fixed(vec![888, 555, 222]));
    assert_eq!(
        (c.sequence.timeout, c.sequence.reorder),
        (Duration::from_secs(30), Duration::from_millis(200))
    );
    assert_eq!(
        (c.firewall.backend, c.firewall.mode, c.firewall.hide),
        (Backend::Nftables, Mode::Guard, None)
    );
    let ssh = &c.services[0];
    assert_eq!(
        (ssh.id, ssh.ttl.as_secs(), ssh.max_ttl.as_secs()),
        (service_id("ssh"), 1800, 8 * 3600)
    );
    assert_eq!(c.service(ssh.id), Some(ssh));
    assert_eq!(c.ban.limit, 65536);
}

#[test]
fn everything_written() {
    let c = good(
        r#"
        [server]
        key = "credential:server.key"
        clients = "credential:clients.toml"
        state = "/srv/spa"
        control = "/tmp/c.sock"
        hosts = ["a.example", "2001:db8::1"]
        ack = "off"
        window-past = "5m"
        window-future = "0s"
        authenticated = "strict"
        [log]
        format = "journald"
        level = "debug"
        [capture]
        mode = "nflog"
        interfaces = ["wan0", "wan1"]
        [sequence]
        hop = "20000-29999"
        stages = 5
        hop-exclude = [25000, "26000-26010"]
        timeout = "5s"
        reorder = "0s"
        [firewall]
        backend = "observe"
        mode = "standalone"
        hide = "closed"
        interfaces = ["wan0"]
        [[service]]
        name = "web"
        ports = ["tcp/443", "tcp/80", "udp/443", "tcp/81-82"]
        ttl = "1h30m"
        max-ttl = "65535s"
        [[service]]
        name = "everything"
        ports = "all"
        ttl = "10h"
        [[bait]]
        name = "x"
        ports = ["tcp/23", "udp/1-100", "tcp/24"]
        ban = "1000m"
        unless = ["sequence", "secured"]
        [ban]
        never = ["192.0.2.1", "2001:db8::/32"]
        limit = 10
        "#,
    );
    assert_eq!(c.server.key, SecretFile::Credential("server.key".into()));
    assert_eq!(
        c.server.key.path(Some(Path::new("/run/credentials/x"))).unwrap(),
        Path::new("/run/credentials/x/server.key")
    );
    assert_eq!(c.server.key.path(None), None);
    assert_eq!(
        c.sequence.stages,
        Stages::Hop {
            range: PortRange { first: 20000, last: 29999 },
            count: 5,
            exclude: vec![PortRange::one(25000), PortRange { first: 26000, last: 26010 }]
        }
    );
    assert_eq!(
        (
            c.sequence.stages.count(),
            c.sequence.stages.may_use(25001),
            c.sequence.stages.may_use(26010)
        ),
        (5, true, false)
    );
    let Scope::Ports(ports) = &c.services[0].scope else { panic!() };
    let ports: Vec<String> = ports.iter().map(ToString::to_string).collect();
    assert_eq!(ports, ["tcp/80-82", "tcp/443", "udp/443"]);
    assert_eq!(c.services[1].scope, Scope::All);
    assert_eq!(c.services[1].max_ttl.as_secs(), 10 * 3600, "at least the ttl");

    let knock = [PortRange::one(20001)];
    let rules = c.rules(&knock);
    assert_eq!(
        (rules.mode, rules.hide, rules.authenticated),
        (Mode::Standalone, Hide::Closed, Authenticated::Strict)
    );
    assert_eq!(
        rules.protected.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["tcp/80-82", "tcp/443", "udp/443"]
    );
    assert_eq!(
        (rules.knock.as_slice(), rules.knock_accept, rules.knock_nflog),
        (&knock[..], false, Some(KNOCK_NFLOG_GROUP))
    );
    assert_eq!((rules.bait_nflog, rules.ban_limit), (BAIT_NFLOG_GROUP, 10));
    assert_eq!(rules.interfaces, ["wan0"]);
    assert_eq!(
        rules.never_ban.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["192.0.2.1/32", "2001:db8::/32"]
    );
    let bait = &rules.baits[0];
    assert_eq!(
        bait.ports.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["tcp/23-24", "udp/1-100"]
    );
    assert!(bait.unless_secured && bait.unless_in_sequence);
    assert_eq!(bait.ban.as_secs(), 60_000);
}

#[test]
fn capture_mode_in_the_rules() {
    let udp = good(&format!("{SMALL}[capture]\nmode = \"udp\"\n")).rules(&[]);
    assert_eq!((udp.knock_accept, udp.knock_nflog), (true, None));
    let ring = good(SMALL).rules(&[]);
    assert_eq!((ring.knock_accept, ring.knock_nflog), (false, None));
}

#[test]
fn folders_of_systemd() {
    let around = Surroundings {
        state: Some("/s/x".into()),
        runtime: Some("/r/x".into()),
        ..Surroundings::none()
    };
    let c = parse("spa.toml", SMALL, &around).0.unwrap();
    assert_eq!(
        (c.server.state.as_path(), c.server.control.as_path()),
        (Path::new("/s/x"), Path::new("/r/x/control.sock"))
    );
    let written = format!("{SMALL}[server]\nstate = \"/s/y\"\ncontrol = \"/r/y\"\n");
    let c = parse("spa.toml", &written, &around).0.unwrap();
    assert_eq!(
        (c.server.state.as_path(), c.server.control.as_path()),
        (Path::new("/s/y"), Path::new("/r/y"))
    );
}

/// One value at a time: a key of a section, and whether it is taken.
#[test]
fn bounds() {
    let table = [
        ("server", "window-past = \"5m\"", true),
        ("server", "window-past = \"301s\"", false),
        ("server", "window-past = \"0s\"", false),
        ("server", "window-future = \"0s\"", true),
        ("server", "window-future = \"60s\"", true),
        ("server", "window-future = \"61s\"", false),
        ("server", "window-past = 30", false),
        ("server", "state = \"var\"", false),
        ("server", "key = \"credential:\"", false),
        ("server", "key = \"credential:a/b\"", false),
        ("server", "key = \"credential:..\"", false),
        ("server", "key = \"\"", false),
        ("server", "ack = true", false),
        ("server", "hosts = \"gate\"", false),
        ("log", "level = \"warn\"", true),
        ("log", "level = \"trace\"", false),
        ("firewall", "hide = \"Drop\"", false),
        ("firewall", "hide = \"auto\"", true),
        ("ban", "limit = 1", true),
        ("ban", "limit = 0", false),
        ("ban", "limit = -1", false),
        ("ban", "limit = 1e3", false),
        ("ban", "limit = 0x100", true),
        ("ban", "limit = 99999999999999999999", false),
        ("[service]", "name = \"a\"\nports = [\"udp/60000-61000\", \"tcp/1-23\"]", true),
        ("[service]", "name = \"a\"\nports = [\"tcp/022\"]", false),
        ("[service]", "name = \"a\"\nports = [\"tcp/+22\"]", false),
        ("server", "hosts = [\"999.999.999.999\"]", false),
        ("server", "hosts = [\"a-\"]", false),
        ("capture", "interfaces = [\"wan0,wan1\"]", false),
        ("server", "hosts = [\"a.b..\"]", false),
        ("server", "hosts = [\"a.b.\"]", true),
        ("server", "hosts = [\"a\",\"b\",\"c\",\"d\",\"e\",\"f\",\"g\",\"h\",\"i\"]", false),
        ("server", "state = \"/a\\nb\"", false),
        ("server", "key = \"/a\\u001bb\"", false),
        ("ban", "never = [\"010.0.0.0/8\"]", false),
        ("ban", "never = [\"10.0.0.0/08\"]", false),
        ("ban", "never = [\"10.0.0.0/+8\"]", false),
        ("ban", "never = [\"::ffff:10.0.0.0/104\"]", false),
        ("ban", "never = [\"0.0.0.0/0\", \"::/0\"]", true),
        ("[service]", "name = \"a\"\nports = [\"tcp/ 22\"]", false),
        ("[service]", "name = \"a\"\nports = [\"tcp/22 \"]", false),
        ("[service]", "name = \"a\"\nports = [\"tcp/\\uff12\\uff12\"]", false),
        ("[service]", "name = \"a\"\nports = [\"tcp/1-1025\"]", false),
        ("[service]", "name = \"a\"\nports = [\"tcp/1-200\", \"tcp/101-256\"]", true),
        ("[service]", "name = \"a\"\nports = []", false),
        ("[service]", "name = \"a\"\nports = \"tcp/22\"", false),
        ("[service]", "name = \"a\"\nports = [22]", false),
        ("[service]", "name = \"a\"", false),
        ("[service]", "ports = \"all\"", false),
        ("[service]", "name = \"a\"\nports = \"all\"\nttl = \"65535s\"", true),
        ("[service]", "name = \"a\"\nports = \"all\"\nttl = \"65536s\"", false),
        ("[service]", "name = \"a\"\nports = \"all\"\nttl = \"1500ms\"", false),
        ("[service]", "name = \"a\"\nports = \"all\"\nttl = \"2m\"\nmax-ttl = \"1m\"", false),
        ("[bait]", "name = \"a\"\nports = [\"tcp/1-65535\"]\nban = \"366d\"", true),
        ("[bait]", "name = \"a\"\nports = [\"tcp/1\"]\nban = \"367d\"", false),
        ("[bait]", "name = \"a\"\nports = [\"tcp/1\"]", false),
        ("[bait]", "name = \"a\"\nports = [\"tcp/1\"]\nban = \"1m\"\nunless = \"secured\"", false),
        ("[bait]", "name = \"A\"\nports = [\"tcp/1\"]\nban = \"1m\"", false),
    ];
    for (section, keys, fine) in table {
        let found = findings(&format!("{SMALL}[{section}]\n{keys}\n"));
        assert_eq!(!found.has_errors(), fine, "[{section}] {keys}\n{found}");
    }
    let socket =
        |n: usize| findings(&format!("{SMALL}[server]\ncontrol = \"/{}\"\n", "x".repeat(n - 1)));
    assert!(!socket(107).has_errors() && socket(108).has_errors());
}

#[test]
fn other_ways_to_write_the_same() {
    let inline = "sequence = { ports = [888, 555, 222] }\nservice = [{ name = \"ssh\", ports = \
        [\"tcp/22\"] }]\n";
    let dotted =
        "sequence.ports = [888, 555, 222]\n[[service]]\nname = 'ssh'\nports = ['tcp/22']\n";
    let windows = SMALL.replace('\n', "\r\n");
    let marked = format!("\u{feff}{SMALL}");
    for text in [inline, dotted, &windows, &marked] {
        assert_eq!(good(text), good(SMALL), "{text}");
    }
    for wrong in [
        "[service]\nname = \"a\"",
        "service = 1",
        "service = [1]",
        "sequence = 1",
        "[[sequence]]\nports = [1]",
    ] {
        assert!(findings(wrong).has_errors());
    }
}
