//! Our own address changes while `--hold` is at work: a new grant within 5 s, and the old one ends.

use std::net::IpAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spa_tests::netns::{Lan, lan};
use spa_tests::scene::{PATIENCE, Scene, config};
use spa_tests::{Family, need_namespaces, wait_until};

/// How soon the grants must be those of the new address.
const AT_MOST: Duration = Duration::from_secs(5);

/// A scene whose client holds `ssh` open over both families.
struct Held {
    scene: Scene,
    net: Lan,
    child: Child,
}

impl Held {
    fn start(prepare: impl Fn(&Lan)) -> Held {
        let net = lan();
        prepare(&net);
        let scene = Scene::ready(&net.server, &net.client, &config(600), &["ssh"]);
        let mut hold = scene.client.command("spa-client");
        hold.args(["open", "ssh@server", "--hold"]).stdin(Stdio::null()).stdout(Stdio::null());
        let child = hold.spawn().unwrap();
        let held = Held { net, scene, child };
        for family in Family::BOTH {
            held.is_granted_to(&[held.net.client.address(family)], PATIENCE);
        }
        held
    }

    /// Waits until the grants of this family are for these addresses and no others.
    fn is_granted_to(&self, wanted: &[IpAddr], patience: Duration) {
        let family = Family::of(wanted[0]);
        let begun = Instant::now();
        let sources = || -> Vec<IpAddr> {
            let status = self.scene.server.status();
            let grants = status["grants"].as_array().cloned().unwrap_or_default();
            let source = |grant: &serde_json::Value| -> Option<IpAddr> {
                grant["source"].as_str()?.split('/').next()?.parse().ok()
            };
            let mut all: Vec<IpAddr> = grants.iter().filter_map(source).collect();
            all.retain(|source| Family::of(*source) == family);
            all
        };
        assert!(
            wait_until(patience, || sources() == wanted),
            "{family}: {:?} instead of {wanted:?}",
            self.scene.server.status()["grants"]
        );
        eprintln!("{family}: granted to {wanted:?} after {:?}", begun.elapsed());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The default route moves from one uplink to another, whose address is another; both stay up.
#[test]
fn the_other_of_two_uplinks_takes_over() {
    need_namespaces!();
    let new: [IpAddr; 2] = ["203.0.113.40".parse().unwrap(), "2001:db8:5::40".parse().unwrap()];
    let mut held = Held::start(|net| {
        net.net.link(&net.client, "wlan0", &net.switch, "p-wlan");
        net.switch.ip(&["link set p-wlan master br0"]);
        net.client.ip(&[
            "address add 203.0.113.40/32 dev wlan0",
            "address add 2001:db8:5::40/128 dev wlan0 nodad",
        ]);
    });
    for (family, new) in Family::BOTH.into_iter().zip(new) {
        let switch = family.switch();
        held.net.client.ip(&[&format!("{switch} route replace default dev wlan0 src {new}")]);
        held.is_granted_to(&[new], AT_MOST);
    }
    // And back.
    for family in Family::BOTH {
        let old = held.net.client.address(family);
        let switch = family.switch();
        held.net.client.ip(&[&format!("{switch} route replace default dev eth0 src {old}")]);
        held.is_granted_to(&[old], AT_MOST);
    }
    kill(Pid::from_raw(held.child.id().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(held.child.wait().unwrap().success());
    assert_eq!(held.scene.server.status()["grants"], serde_json::json!([]));
}

/// A privacy address of IPv6 grows old and the next one takes its place (RFC 8981): the old one
/// stays for what uses it, and new connections come from the new one.
#[test]
fn the_next_privacy_address_takes_over() {
    need_namespaces!();
    let held = Held::start(|_| {});
    let mut before = held.net.client.address(Family::V6);
    let mut length = 64;
    for last in [0x31, 0x32] {
        let new: IpAddr = format!("2001:db8:c::{last:x}").parse().unwrap();
        held.net.client.ip(&[
            &format!("-6 address add {new}/128 dev eth0 nodad"),
            &format!("-6 address change {before}/{length} dev eth0 preferred_lft 0"),
        ]);
        held.is_granted_to(&[new], AT_MOST);
        (before, length) = (new, 128);
    }
    held.is_granted_to(&[held.net.client.address(Family::V4)], AT_MOST);
}
