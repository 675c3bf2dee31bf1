//! `spa-client open --hold`: the door stays open, wherever the client goes, and is closed at the
//! end.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use spa_tests::netns::{Host, Lan, lan};
use spa_tests::probe::{TcpProbe, tcp};
use spa_tests::scene::{PATIENCE, SSH, Scene, config};
use spa_tests::{Family, need_namespaces, wait_until};

/// How soon after a change the service must be reachable again.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A client that holds `ssh` open, and ends with its test.
struct Holder {
    child: Child,
    told: BufReader<ChildStdout>,
}

impl Holder {
    /// Returns when the service is open.
    fn start(scene: &Scene) -> Holder {
        let mut command = scene.client.command("spa-client");
        command.args(["open", "ssh@server", "--hold", "--json"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let told = BufReader::new(child.stdout.take().unwrap());
        let mut holder = Holder { child, told };
        let first = holder.next();
        assert_eq!(
            (&first["version"], &first["services"][0]["granted"]),
            (&1.into(), &true.into()),
            "{first}"
        );
        holder
    }

    /// The next object that it prints.
    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.told.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn scene(ttl: u32) -> (Lan, Scene) {
    let net = lan();
    let scene = Scene::new(&net.server, &net.client, &config(ttl), &["ssh"]);
    scene.server.wait_fence();
    (net, scene)
}

/// A try that is shorter than the kernel's pause before its second packet.
fn is_open(scene: &Scene, family: Family) -> bool {
    let target = scene.server.host().at(family, SSH);
    tcp(scene.client.host(), target, Duration::from_millis(100)) == TcpProbe::Open
}

#[test]
fn another_address_is_let_in_within_a_second() {
    need_namespaces!();
    let (net, scene) = scene(600);
    let holder = Holder::start(&scene);
    let moves: [(Family, IpAddr); 2] = [
        (Family::V4, Ipv4Addr::new(198, 51, 100, 20).into()),
        (Family::V6, Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 0x20).into()),
    ];
    for (family, new) in moves {
        assert!(is_open(&scene, family), "{family}");
        let (length, switch) = if family == Family::V4 { (32, "-4") } else { (64, "-6") };
        net.client.ip(&[
            &format!(
                "{switch} address add {new}/{length} dev {} {}",
                Host::DEVICE,
                if length == 64 { "nodad" } else { "" }
            ),
            &format!(
                "{switch} address delete {}/{} dev {}",
                net.client.address(family),
                if length == 32 { 24 } else { 64 },
                Host::DEVICE
            ),
        ]);
        let moved = Instant::now();
        // The old network takes its routes along.
        net.client.ip(&[&format!("{switch} route replace default dev {}", Host::DEVICE)]);
        assert!(
            wait_until(PATIENCE, || is_open(&scene, family)),
            "{family}: not reachable from {new}"
        );
        assert!(moved.elapsed() < AT_ONCE, "{family}: reachable after {:?}", moved.elapsed());
        eprintln!("{family}: reachable from the new address after {:?}", moved.elapsed());
        scene.server.wait_log(&["event=granted", "client=laptop", &format!("source={new} ")]);
    }
    holder.signal(Signal::SIGTERM);
}

#[test]
fn a_network_that_comes_back_is_noticed() {
    need_namespaces!();
    let (net, scene) = scene(3);
    let _holder = Holder::start(&scene);
    net.client.ip(&[&format!("link set {} down", Host::DEVICE)]);
    // The kernel of the server ends the grants meanwhile.
    let gone = || scene.server.status()["grants"].as_array().is_some_and(Vec::is_empty);
    assert!(wait_until(PATIENCE, gone), "{}", scene.server.status());
    net.client.ip(&[
        &format!("link set {} up", Host::DEVICE),
        &format!(
            "-6 address replace {}/64 dev {} nodad",
            net.client.address(Family::V6),
            Host::DEVICE
        ),
        &format!("-4 route replace default dev {}", Host::DEVICE),
        &format!("-6 route replace default dev {}", Host::DEVICE),
    ]);
    for family in Family::BOTH {
        assert!(wait_until(PATIENCE, || is_open(&scene, family)), "{family}");
    }
}

#[test]
fn held_beyond_the_ttl_without_a_gap() {
    need_namespaces!();
    let (_net, scene) = scene(3);
    let mut holder = Holder::start(&scene);
    // Until each family has been renewed three times.
    let mut renewed = [0; 2];
    while renewed.iter().any(|count| *count < 3) {
        let told = holder.next();
        let one = &told["services"][0];
        assert_eq!(one["granted"], true, "{told}");
        let address: IpAddr = one["families"][0]["address"].as_str().unwrap().parse().unwrap();
        renewed[usize::from(address.is_ipv6())] += 1;
        for family in Family::BOTH {
            assert!(scene.is_open(family, SSH), "{family}");
        }
    }
    let log = scene.server.log().lines();
    let granted = log.iter().filter(|line| line.contains("event=granted"));
    assert_eq!(granted.count(), 2, "a gap would need a new grant: {log:#?}");
}

#[test]
fn it_ends_with_a_signed_close() {
    need_namespaces!();
    let (_net, scene) = scene(600);
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mark = scene.server.log().mark();
        let mut holder = Holder::start(&scene);
        for family in Family::BOTH {
            assert!(scene.is_open(family, SSH), "{family}");
        }
        holder.signal(signal);
        let last = holder.next();
        assert_eq!(
            (&last["services"][0]["granted"], &last["services"][0]["reason"]),
            (&false.into(), &Value::Null)
        );
        let status = holder.ended();
        // As every program that Ctrl-C ends: a shell sees 130 and stops its script.
        let by = (signal == Signal::SIGINT).then_some(Signal::SIGINT as i32);
        assert_eq!((status.signal(), status.success()), (by, by.is_none()), "{signal}: {status:?}");
        for family in Family::BOTH {
            scene.server.log().wait_since(mark, &["event=closed", "client=laptop"]);
            assert!(scene.is_hidden(family, SSH), "{signal} {family}");
        }
    }
}

/// For the process a sleep of the machine is a time in which it does not run and grants end.
#[test]
fn after_a_sleep_the_door_is_opened_again_at_once() {
    need_namespaces!();
    let (_net, scene) = scene(3);
    let holder = Holder::start(&scene);
    holder.signal(Signal::SIGSTOP);
    for family in Family::BOTH {
        assert!(wait_until(PATIENCE, || !is_open(&scene, family)), "{family}");
    }
    holder.signal(Signal::SIGCONT);
    let woken = Instant::now();
    for family in Family::BOTH {
        assert!(wait_until(PATIENCE, || is_open(&scene, family)), "{family}");
        assert!(woken.elapsed() < AT_ONCE, "{family}: open after {:?}", woken.elapsed());
    }
}

/// `Ctrl-C` while the first knock is on its way ends it as ever.
#[test]
fn a_knock_that_nobody_answers_can_be_interrupted() {
    need_namespaces!();
    let (_net, scene) = scene(60);
    scene.server.signal(Signal::SIGSTOP);
    let mut command = scene.client.command("spa-client");
    command.args(["open", "ssh@server", "--hold", "-v"]);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.contains("knocking at"), "{said}");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::SIGINT as i32));
    scene.server.signal(Signal::SIGCONT);
}
