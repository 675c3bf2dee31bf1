//! Whom a ban covers, and for how long.

use super::*;

#[test]
fn a_banned_source_reaches_nothing_until_its_ban_ends() {
    need_namespaces!();
    let pit = pit(&config().bait("short", "ports = [\"tcp/2323\"]\nban = \"4s\""));
    let _udp = UdpEcho::start(&pit.net.server, 5353);
    both(|family| {
        let stranger = &pit.net.stranger;
        let seen = || {
            (
                pit.seen(stranger, family, PUBLIC),
                udp(stranger, pit.at(family, 5353), SILENCE),
                ping(stranger, pit.net.server.address(family), SILENCE),
            )
        };
        assert_eq!(seen(), (TcpProbe::Open, UdpProbe::Answered, true), "{family}");
        let mut held = hold(stranger, pit.at(family, PUBLIC), PATIENCE);
        assert_eq!(pit.seen(stranger, family, 2323), TcpProbe::Silent, "{family}: the first touch");
        pit.wait_ban(stranger.address(family), 4);
        assert_eq!(seen(), (TcpProbe::Silent, UdpProbe::Silent, false), "{family}");
        assert!(!held.is_alive(SILENCE), "{family}: an established connection survived the ban");
        // Others are served all the time.
        assert_eq!(pit.seen(&pit.net.client, family, PUBLIC), TcpProbe::Open, "{family}");

        assert!(wait_until(PATIENCE, || pit.ban(stranger.address(family)).is_none()), "{family}");
        let open = tcp(stranger, pit.at(family, PUBLIC), PATIENCE);
        assert_eq!(open, TcpProbe::Open, "{family}: the ban has ended");
    });
}

#[test]
fn a_ban_covers_an_ipv6_network_and_one_ipv4_address() {
    need_namespaces!();
    let pit = pit(&config());
    both(|family| {
        let stranger = &pit.net.stranger;
        let (neighbour, shares): (IpAddr, bool) = match family {
            Family::V4 => ("203.0.113.67".parse().unwrap(), false),
            Family::V6 => ("2001:db8:5::1:2:3:4".parse().unwrap(), true),
        };
        stranger.add_address(neighbour);
        let seen = |source: IpAddr| {
            tcp_from(stranger, (source, 0).into(), pit.at(family, PUBLIC), SILENCE)
        };
        assert_eq!(seen(neighbour), TcpProbe::Open, "{family}");
        pit.syn(&pit.forger(), stranger.address(family), TELNET);
        pit.wait_ban(stranger.address(family), 3600);
        assert_eq!(seen(stranger.address(family)), TcpProbe::Silent, "{family}");
        assert_eq!(
            seen(neighbour),
            if shares { TcpProbe::Silent } else { TcpProbe::Open },
            "{family}"
        );
        // The next network is another one.
        assert_eq!(pit.seen(&pit.net.client, family, PUBLIC), TcpProbe::Open, "{family}");
        let keys: Vec<_> =
            bans(&pit.net.server, family).into_iter().flat_map(|ban| ban.key).collect();
        assert_eq!(keys, [banned_as(stranger.address(family)).to_string()], "{family}");
    });
}

#[test]
fn the_never_list_is_never_banned() {
    need_namespaces!();
    let never = "[\"203.0.113.0/24\", \"2001:db8:5::/48\", \"198.18.0.1\", \"2001:db8:ba17:1::1\"]";
    let pit = pit(&config().set("ban.never", never));
    both(|family| {
        let forger = pit.forger();
        let spared = [pit.net.stranger.address(family), stranger(family, 1)];
        for source in spared {
            pit.syn(&forger, source, TELNET);
        }
        pit.syn(&forger, stranger(family, 2), TELNET);
        pit.settle(&forger, family);
        for source in spared {
            assert_eq!(pit.ban(source), None, "{source} is on the list");
        }
        assert_eq!(pit.ban(stranger(family, 2)), Some(3600), "{family}");
        assert_eq!(pit.seen(&pit.net.stranger, family, PUBLIC), TcpProbe::Open, "{family}");
    });
}

#[test]
fn a_full_table_stays_full_and_opens_nothing() {
    need_namespaces!();
    let mut pit = pit(&config().set("ban.limit", "5"));
    let _behind = EchoServer::start(&pit.net.server, TELNET);
    both(|family| {
        let forger = pit.forger();
        for number in 0..50 {
            pit.syn(&forger, stranger(family, number), TELNET);
        }
        // Its answer comes behind the forgeries.
        assert_eq!(pit.seen(&pit.net.stranger, family, TELNET), TcpProbe::Silent, "{family}");
        assert_eq!(bans(&pit.net.server, family).len(), 5, "{family}");
        assert_eq!(
            pit.ban(pit.net.stranger.address(family)),
            None,
            "{family}: there is no room for it"
        );
        assert_eq!(pit.seen(&pit.net.stranger, family, scene::SSH), TcpProbe::Silent, "{family}");
        // A real client is let in all the same.
        pit.scene.client.must_open("ssh", family, &[]);
        assert!(pit.scene.is_open(family, scene::SSH), "{family}");
    });
    assert!(pit.scene.server.daemon().is_running());
}

#[test]
fn bans_come_back_after_a_flush_and_stay_over_a_restart() {
    need_namespaces!();
    let mut pit = pit(&config());
    for family in Family::BOTH {
        pit.syn(&pit.forger(), stranger(family, 1), TELNET);
        pit.scene.server.wait_log(&["event=banned", &format!("source={} ", stranger(family, 1))]);
    }
    nft::load(&pit.net.server, "flush ruleset");
    let left = |pit: &Pit, family| {
        ban_of(&pit.net.server, stranger(family, 1)).and_then(|ban| ban.expires)
    };
    let table = || nft::table_exists(&pit.net.server, "inet", "spa");
    assert!(wait_until(PATIENCE, table), "the table is not put back");
    for family in Family::BOTH {
        let back = left(&pit, family);
        assert!(back.is_some_and(|left| left > 3500), "{family}: {back:?}");
    }
    pit.scene.server.restart();
    for family in Family::BOTH {
        assert!(left(&pit, family).is_some_and(|left| left > 3500), "{family}");
    }
}
