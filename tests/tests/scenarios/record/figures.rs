//! The figures for Prometheus, as a real parser reads them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use spa_tests::netns::lan;
use spa_tests::raw::send_udp;
use spa_tests::scene::{Scene, both, config};
use spa_tests::temp::TempDir;
use spa_tests::{need_namespaces, tools, wait_until};

/// The file is written every 15 s.
const WRITTEN: Duration = Duration::from_secs(40);

/// Prints `name{labels} value` for each sample that the reference parser finds, sorted labels.
const PARSE: &str = "
import sys
from prometheus_client.parser import text_string_to_metric_families as families
for family in families(sys.stdin.read()):
    assert family.documentation and family.type in ('counter', 'gauge', 'histogram'), family
    for s in family.samples:
        labels = ','.join(f'{k}={v}' for k, v in sorted(s.labels.items()))
        print(f'{s.name}{{{labels}}} {s.value:g}')
";

/// A python3 with `prometheus_client`: the system's, or one in a virtual environment below the
/// target folder.
fn python() -> Option<PathBuf> {
    let imports = |python: &Path| {
        let run = Command::new(python).args(["-c", "import prometheus_client.parser"]).output();
        run.is_ok_and(|output| output.status.success())
    };
    if imports(Path::new("python3")) {
        return Some("python3".into());
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("metrics-venv");
    let inside = folder.join("bin/python3");
    if !imports(&inside) {
        let venv =
            Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder).output().ok()?;
        let pip = Command::new(&inside)
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "prometheus_client>=0.20",
            ])
            .output()
            .ok()?;
        if !(venv.status.success() && pip.status.success()) {
            eprintln!(
                "NOT RUN, needs python3 with prometheus_client: {}",
                String::from_utf8_lossy(&pip.stderr)
            );
            assert!(std::env::var_os("CI").is_none(), "in CI it must run");
            return None;
        }
    }
    Some(inside)
}

fn parsed(python: &Path, text: &str) -> Vec<String> {
    use std::io::Write as _;
    let mut child = Command::new(python)
        .args(["-c", PARSE])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the parser refuses:\n{text}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// What Prometheus' own linter says: nothing.
fn linted(text: &str) {
    use std::io::Write as _;
    let Some(promtool) = tools::find("promtool", "--version") else { return };
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}:\n{text}");
}

#[test]
fn the_textfile() {
    need_namespaces!();
    let net = lan();
    let folder = TempDir::new();
    let file = folder.join("spa.prom");
    let config = config(600)
        .set("metrics.textfile", &format!("\"{}\"", file.display()))
        .bait("telnet", "ports = [\"tcp/23\"]\nban = \"1h\"");
    let scene = Scene::new(&net.server, &net.client, &config, &["ssh", "web"]);
    // The first one comes at once.
    assert!(wait_until(Duration::from_secs(5), || file.exists()), "no textfile");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o644);
    linted(&fs::read_to_string(&file).unwrap());
    let Some(python) = python() else { return };
    let first = parsed(&python, &fs::read_to_string(&file).unwrap());
    assert!(first.contains(&"spa_grants{service=ssh} 0".to_owned()), "{first:#?}");

    scene.server.wait_fence();
    both(|family| {
        scene.client.must_open("ssh", family, &[]);
        assert_eq!(scene.client.open("nothing", family, &[]).status.code(), Some(1));
        let _ = scene.seen(&net.stranger, family, 23);
        send_udp(&net.client, 0, net.server.at(family, 40_001), &[7; 144]);
    });
    scene.client.must_open("ssh", spa_tests::Family::V4, &[]);
    let text = || fs::read_to_string(&file).unwrap();
    let written = || {
        text().contains("verdict=\"renewed\",reason=\"none\"} 1\n") && text().contains("spa_bans 2")
    };
    assert!(wait_until(WRITTEN, written), "{}", text());
    linted(&text());
    let samples = parsed(&python, &text());
    for sample in [
        "spa_clients{} 1",
        "spa_grants{service=ssh} 2",
        "spa_grants{service=web} 0",
        "spa_bans{} 2",
        "spa_bait_hits_total{bait=telnet} 2",
        "spa_knocks_total{reason=none,verdict=granted} 2",
        "spa_knocks_total{reason=none,verdict=renewed} 1",
        "spa_knocks_total{reason=service,verdict=denied} 2",
        "spa_knocks_total{reason=hours,verdict=denied} 0",
        "spa_strangers_total{kind=unknown-tag} 2",
        "spa_knock_open_seconds_count{} 3",
        "spa_knock_open_seconds_bucket{le=+Inf} 3",
        "spa_audit_lost_total{} 0",
    ] {
        assert!(samples.iter().any(|found| found == sample), "{sample} is not in {samples:#?}");
    }
    // Nobody is named.
    for word in ["laptop", "198.51.100", "2001:db8"] {
        assert!(!text().contains(word), "{word}");
    }
}
