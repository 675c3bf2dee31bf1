//! `LiveGrant::used`, from the counters beside the elements.

use spa_server::domain::grant::GrantId;
use spa_server::domain::ports::Protocol::{Tcp, Udp};
use spa_server::firewall::{Firewall, Rules};

use crate::namespace::{grant, rules, sh};
use crate::net::{FAMILIES, Net};

fn used(net: &Net) -> Vec<(u64, u64)> {
    let live = net.with(|f| f.grants().unwrap());
    live.iter().map(|g| (g.grant.id.0, g.used.unwrap())).collect()
}

#[test]
fn first_packets_of_flows_are_counted() {
    let net = Net::new(&rules());
    for (server, source, other) in FAMILIES {
        let given = grant(1, source, "tcp/22,udp/5000-5001", 600);
        net.with(move |f| f.open(&given).unwrap());
        assert_eq!(used(&net), [(1, 0)]);
        assert!(net.flow(Tcp, other, server, 22).is_err());
        assert_eq!(used(&net), [(1, 0)], "a stranger counts for nobody");
        let mut flows: Vec<_> = (0..3).map(|_| net.reach(Tcp, source, server, 22)).collect();
        assert!(flows.iter_mut().all(|flow| flow.alive() && flow.alive()));
        assert_eq!(used(&net), [(1, 3)], "and not every packet counts");
        let _udp = [5000, 5001].map(|port| net.reach(Udp, source, server, port));
        assert_eq!(used(&net), [(1, 5)]);

        // Renewed, for more ports and for fewer.
        let longer = grant(1, source, "tcp/22,udp/5000-5001,tcp/80", 900);
        net.with(move |f| f.open(&longer).unwrap());
        assert_eq!(used(&net), [(1, 5)], "renewed");
        flows.push(net.reach(Tcp, source, server, 22));
        assert_eq!(used(&net), [(1, 6)]);
        let fewer = grant(1, source, "tcp/22", 900);
        net.with(move |f| f.open(&fewer).unwrap());
        assert_eq!(used(&net), [(1, 4)], "only of the ports that are left");

        // Another grant for the same port holds the element longer: both show its counter.
        let second = grant(2, source, "tcp/22", 7200);
        net.with(move |f| f.open(&second).unwrap());
        flows.push(net.reach(Tcp, source, server, 22));
        assert_eq!(used(&net), [(1, 5), (2, 5)]);
        net.with(|f| f.close(GrantId(2)).unwrap());
        assert_eq!(used(&net), [(1, 5)], "the heir has it");
        net.with(|f| f.close(GrantId(1)).unwrap());
        let again = grant(3, source, "tcp/22", 60);
        net.with(move |f| f.open(&again).unwrap());
        assert_eq!(used(&net), [(3, 0)], "a new grant begins anew");
        net.with(|f| f.close(GrantId(3)).unwrap());
    }
}

#[test]
fn a_grant_for_everything_counts() {
    let net = Net::new(&rules());
    for (server, source, _) in FAMILIES {
        let given = grant(1, source, "all", 600);
        net.with(move |f| f.open(&given).unwrap());
        let _flows = [22, 80].map(|port| net.reach(Tcp, source, server, port));
        assert_eq!(used(&net), [(1, 2)]);
        let given = grant(1, source, "all", 700);
        net.with(move |f| f.open(&given).unwrap());
        assert_eq!(used(&net), [(1, 2)]);
        net.with(|f| f.close(GrantId(1)).unwrap());
    }
}

#[test]
fn the_count_outlives_a_restart_a_new_layout_and_a_flush() {
    let net = Net::new(&rules());
    for (server, source, _) in FAMILIES {
        let given = grant(1, source, "tcp/22", 600);
        net.with(move |f| f.open(&given).unwrap());
        let _flows = [(); 2].map(|()| net.reach(Tcp, source, server, 22));
        net.crash();
        net.install(&rules());
        assert_eq!(used(&net), [(1, 2)], "restarted");
        let set = if server.contains(':') { "grant6" } else { "grant4" };
        let text = net.server.run(move || sh(&format!("nft list set inet spa {set}")));
        assert!(text.contains("counter packets 2 bytes"), "nft lists it: {text}");

        net.crash();
        net.install(&Rules { ban_limit: 77, ..rules() });
        assert_eq!(used(&net), [(1, 2)], "the table was made anew");
        let _third = net.reach(Tcp, source, server, 22);
        assert_eq!(used(&net), [(1, 3)]);
        let _unread = net.reach(Tcp, source, server, 22);
        net.server.run(|| sh("nft flush ruleset"));
        net.with(|f| f.restore().unwrap());
        assert_eq!(used(&net), [(1, 3)], "from the last reading");
        let _fifth = net.reach(Tcp, source, server, 22);
        assert_eq!(used(&net), [(1, 4)]);
        // A rule is gone, the elements are not.
        net.server.run(|| sh("nft flush chain inet spa input"));
        net.with(|f| f.restore().unwrap());
        assert_eq!(used(&net), [(1, 4)]);
        net.with(|f| f.close(GrantId(1)).unwrap());
        net.install(&rules());
    }
}
