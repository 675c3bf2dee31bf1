//! Our own address changes while `--hold` or `connect` is at work: a new grant within 5 s, and the
//! old one ends.

use std::io::{Read, Write};
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
        let held = Held::with(&["open", "ssh@server", "--hold"], prepare);
        for family in Family::BOTH {
            held.is_granted_to(&[held.net.client.address(family)], PATIENCE);
        }
        held
    }

    /// Starts this command; standard input and output are pipes, as ssh gives them.
    fn with(words: &[&str], prepare: impl Fn(&Lan)) -> Held {
        let net = lan();
        prepare(&net);
        let scene = Scene::ready(&net.server, &net.client, &config(600), &["ssh"]);
        let mut command = scene.client.command("spa-client");
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().unwrap();
        Held { net, scene, child }
    }

    /// Whether what goes in comes back.
    fn echoes(&mut self) {
        let word = b"a line of a session\n";
        self.child.stdin.as_mut().unwrap().write_all(word).unwrap();
        let mut back = vec![0; word.len()];
        self.child.stdout.as_mut().unwrap().read_exact(&mut back).unwrap();
        assert_eq!(back, word);
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

fn second_uplink(net: &Lan) {
    net.net.link(&net.client, "wlan0", &net.switch, "p-wlan");
    net.switch.ip(&["link set p-wlan master br0"]);
    net.client.ip(&[
        "address add 203.0.113.40/32 dev wlan0",
        "address add 2001:db8:5::40/128 dev wlan0 nodad",
    ]);
}

/// A session goes on by the uplink that it began on, and the next one is let in by the other.
#[test]
fn a_connection_is_followed_to_the_other_uplink() {
    need_namespaces!();
    let new: [IpAddr; 2] = ["203.0.113.40".parse().unwrap(), "2001:db8:5::40".parse().unwrap()];
    for (family, new) in Family::BOTH.into_iter().zip(new) {
        let switch = family.switch();
        let mut held = Held::with(&["connect", switch, "ssh@server"], second_uplink);
        let old = held.net.client.address(family);
        held.is_granted_to(&[old], PATIENCE);
        held.echoes();
        for source in [(new, "wlan0"), (old, "eth0")] {
            let (source, device) = source;
            let line = format!("{switch} route replace default dev {device} src {source}");
            held.net.client.ip(&[&line]);
            held.is_granted_to(&[source], AT_MOST);
            held.echoes();
        }
        // The end of the session is the end of the command.
        drop(held.child.stdin.take());
        assert!(held.child.wait().unwrap().success());
    }
}

/// The next privacy address, while a session goes on from the one before.
#[test]
fn a_connection_is_followed_to_the_next_privacy_address() {
    need_namespaces!();
    let mut held = Held::with(&["connect", "-6", "ssh@server"], |_| {});
    let mut before = held.net.client.address(Family::V6);
    held.is_granted_to(&[before], PATIENCE);
    let mut length = 64;
    for last in [0x31, 0x32] {
        let new: IpAddr = format!("2001:db8:c::{last:x}").parse().unwrap();
        held.net.client.ip(&[
            &format!("-6 address add {new}/128 dev eth0 nodad"),
            &format!("-6 address change {before}/{length} dev eth0 preferred_lft 0"),
        ]);
        held.is_granted_to(&[new], AT_MOST);
        held.echoes();
        (before, length) = (new, 128);
    }
}

/// The default route moves from one uplink to another, whose address is another; both stay up.
#[test]
fn the_other_of_two_uplinks_takes_over() {
    need_namespaces!();
    let new: [IpAddr; 2] = ["203.0.113.40".parse().unwrap(), "2001:db8:5::40".parse().unwrap()];
    let mut held = Held::start(second_uplink);
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
