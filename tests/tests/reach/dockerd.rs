//! Beside dockerd itself, with its own rules and proxy.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use spa_tests::netns::{Host, lan};
use spa_tests::probe::{TcpProbe, tcp};
use spa_tests::temp::TempDir;
use spa_tests::{Family, need_namespaces, process, tools, wait_until};

use crate::bench::{Bench, Seen, config, said};

/// How long a busy machine may take to start it.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long a port that must stay silent is listened to.
const SILENCE: Duration = Duration::from_millis(300);

/// A dockerd in a host, with files of its own; all of it ends with this.
struct Dockerd {
    child: Child,
    folder: TempDir,
    cgroup: String,
}

impl Dockerd {
    fn start(host: &Host) -> Dockerd {
        let folder = TempDir::new();
        let dir = folder.path().display().to_string();
        let cgroup = format!("spat-dockerd-{}", std::process::id());
        fs::create_dir(folder.join("state")).unwrap();
        // Files in memory, and processes that end with the first of them.
        let script = format!(
            "mount -t tmpfs none /run; mount -t tmpfs none {dir}/state\n\
             exec dockerd --data-root {dir}/state/lib --exec-root {dir}/state/exec \
             --pidfile {dir}/state/pid --host unix://{dir}/d.sock --storage-driver vfs \
             --cgroup-parent /{cgroup} --shutdown-timeout 1 >{dir}/log 2>&1"
        );
        // Not by `ip netns exec`, whose own /sys has no control groups.
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", host.namespace())).arg("unshare");
        let words = ["--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-ec"];
        let child = command.args(words).arg(script).env("PATH", tools::path());
        let child = child.stdin(Stdio::null()).spawn().unwrap();
        let this = Dockerd { child, folder, cgroup };
        let up = wait_until(PATIENCE, || this.docker(&["version"]).status.success());
        let log = fs::read_to_string(this.folder.join("log")).unwrap_or_default();
        assert!(up, "dockerd does not run here: {log}");
        this
    }

    fn docker(&self, words: &[&str]) -> Output {
        let mut command = Command::new("docker");
        command.env("PATH", tools::path());
        command.env("DOCKER_HOST", format!("unix://{}/d.sock", self.folder.path().display()));
        process::output(command.args(words))
    }

    fn must(&self, words: &[&str]) {
        let output = self.docker(words);
        assert!(output.status.success(), "docker {words:?}: {output:?}");
    }

    /// Runs a container that answers what it is sent on its port 80.
    fn publish(&self, ports: &str) {
        let root = self.folder.join("root/bin");
        fs::create_dir_all(&root).unwrap();
        let busybox = tools::folder().join("bin/busybox");
        let busybox = if busybox.exists() { busybox } else { "/bin/busybox".into() };
        fs::copy(busybox, root.join("busybox")).unwrap();
        let image = self.folder.join("image.tar");
        let tar = Command::new("tar")
            .arg("-C")
            .arg(root.parent().unwrap())
            .arg("-cf")
            .arg(&image)
            .arg(".")
            .status()
            .unwrap();
        assert!(tar.success());
        self.must(&["import", &image.display().to_string(), "echo"]);
        let run = ["run", "-d", "-p", ports, "echo", "/bin/busybox", "nc", "-ll", "-p", "80", "-e"];
        self.must(&[&run[..], &["/bin/busybox", "cat"]].concat());
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let containers = self.docker(&["ps", "-aq"]);
        for container in String::from_utf8_lossy(&containers.stdout).split_whitespace() {
            self.docker(&["rm", "-f", container]);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let controllers = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        for at in controllers.map(|entry| entry.path()).chain([Path::new("/sys/fs/cgroup").into()])
        {
            let _ = fs::remove_dir(at.join(&self.cgroup));
        }
    }
}

/// What packets do at tcp/8080.
fn probe(bench: &Bench, family: Family) -> Seen {
    let target = bench.net.server.at(family, 8080);
    let gets = |host: &Host| tcp(host, target, SILENCE) == TcpProbe::Open;
    let hidden = !gets(&bench.net.stranger);
    let client = bench.net.client.address(family).to_string();
    assert!(bench.server.control(&["open", "web", "--for", &client]).status.success());
    let reachable = gets(&bench.net.client);
    assert!(bench.server.control(&["close", "--all"]).status.success());
    Seen { hidden: Some(hidden), reachable: Some(reachable) }
}

fn row(bench: &Bench, family: &str) -> Value {
    let rows = bench.ask();
    let of = |row: &&Value| row["service"] == "web" && row["family"] == family;
    rows.iter().find(of).unwrap_or_else(|| panic!("{rows:#?}")).clone()
}

#[test]
fn dockerd_itself_publishes_a_hidden_port() {
    need_namespaces!();
    if tools::find("dockerd", "--version").is_none() {
        return;
    }
    let net = lan();
    net.net.router(&net.server);
    let web = "ports = [\"tcp/8080\"]\nttl = \"60s\"";
    let bench = Bench::start(net, &config("[\"eth0\"]").service("web", web));
    let mark = bench.server.log().mark();
    let dockerd = Dockerd::start(&bench.net.server);
    dockerd.publish("8080:80");
    let words = ["level=error", "event=not-protected", "service=web", "family=ipv4"];
    bench.server.log().wait_since(mark, &words);
    let told = row(&bench, "ipv4");
    assert_eq!(said(&told).hidden, Some(false), "{told:#}");
    assert_eq!(probe(&bench, Family::V4).hidden, Some(false));
    assert!(told["remedy"].as_str().unwrap().contains("hook = \"forward\""), "{told:#}");
    // Over IPv6 its proxy takes them, as a program of this host.
    let right = Seen { hidden: Some(true), reachable: Some(true) };
    let told = row(&bench, "ipv6");
    assert_eq!((said(&told), probe(&bench, Family::V6)), (right, right), "{told:#}");
    // What it says, done: the container is behind, and the proxy is here.
    let behind = config("[\"eth0\"]")
        .service("web", &format!("{web}\nhook = \"forward\""))
        .service("proxy", web);
    bench.server.configure(&behind);
    let mark = bench.server.log().mark();
    assert!(bench.server.control(&["reload"]).status.success());
    bench.server.log().wait_since(mark, &["event=protected", "service=web", "family=ipv4"]);
    let told = row(&bench, "ipv4");
    assert_eq!((said(&told), probe(&bench, Family::V4)), (right, right), "{told:#}");
    assert!(probe(&bench, Family::V6).hidden == Some(true));
    // Docker takes its rules away and writes them anew.
    dockerd.must(&["network", "create", "other"]);
    let told = row(&bench, "ipv4");
    assert_eq!((said(&told), probe(&bench, Family::V4)), (right, right), "{told:#}");
}
