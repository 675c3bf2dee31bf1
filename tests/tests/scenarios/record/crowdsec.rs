//! What CrowdSec makes of the lines that the server writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use spa_tests::netns::lan;
use spa_tests::scene::{Scene, both, config};
use spa_tests::temp::TempDir;
use spa_tests::{Family, need_namespaces, tools};

/// Where the package has its own parsers and grok patterns: below `/` when it is installed, else
/// where it was unpacked.
fn shared(name: &str) -> PathBuf {
    let unpacked = tools::folder().join(name);
    if unpacked.exists() { unpacked } else { Path::new("/").join(name) }
}

/// A configuration with our parser and scenario, CrowdSec's own two parsers for syslog and dates,
/// and nothing else.
fn configured() -> TempDir {
    let folder = TempDir::new();
    let here = folder.path().display().to_string();
    let etc = folder.join("etc");
    for name in
        ["etc/parsers/s00-raw", "etc/parsers/s01-parse", "etc/parsers/s02-enrich", "etc/scenarios"]
    {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    for name in ["hub", "data"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pkg/crowdsec");
    let hub = shared("usr/share/crowdsec/hub/parsers");
    for (from, to) in [
        (hub.join("s00-raw/crowdsecurity/syslog-logs.yaml"), "parsers/s00-raw"),
        (hub.join("s02-enrich/crowdsecurity/dateparse-enrich.yaml"), "parsers/s02-enrich"),
        (ours.join("parsers/spa-logs.yaml"), "parsers/s01-parse"),
        (ours.join("scenarios/spa-bait.yaml"), "scenarios"),
    ] {
        fs::copy(&from, etc.join(to).join(from.file_name().unwrap())).unwrap();
    }
    let patterns =
        Command::new("cp").arg("-r").arg(shared("etc/crowdsec/patterns")).arg(&etc).status();
    assert!(patterns.unwrap().success());
    folder.write(
        "hub/.index.json",
        r#"{"parsers":{},"scenarios":{},"postoverflows":{},"collections":{}}"#,
    );
    folder.write("etc/simulation.yaml", "simulation: off\n");
    folder.write("etc/profiles.yaml", "name: none\nfilters: [\"false\"]\non_success: break\n");
    folder.write("etc/creds.yaml", "url: http://127.0.0.1:18080\n");
    folder.write("etc/acquis.yaml", "");
    folder.write(
        "etc/config.yaml",
        format!(
            "common: {{daemonize: false, log_media: stdout, log_level: info, log_dir: {here}/data, \
             working_dir: .}}\n\
             config_paths: {{config_dir: {here}/etc, data_dir: {here}/data, simulation_path: {here}/etc/simulation.yaml, \
             hub_dir: {here}/hub, index_path: {here}/hub/.index.json}}\n\
             crowdsec_service: {{acquisition_path: {here}/etc/acquis.yaml, parser_routines: 1}}\n\
             db_config: {{type: sqlite, use_wal: false, db_path: {here}/data/crowdsec.db}}\n\
             api:\n  client: {{credentials_path: {here}/etc/creds.yaml}}\n  server: {{listen_uri: 127.0.0.1:18080, \
             profiles_path: {here}/etc/profiles.yaml}}\n\
             prometheus: {{enabled: false}}\n"
        ),
    );
    folder
}

#[test]
fn it_finds_the_banned_and_nobody_else() {
    need_namespaces!();
    let (Some(crowdsec), Some(cscli)) =
        (tools::find("crowdsec", "-version"), tools::find("cscli", "version"))
    else {
        return;
    };
    for format in ["logfmt", "json"] {
        let net = lan();
        let config = config(600)
            .set("log.format", &format!("\"{format}\""))
            .bait("telnet", "ports = [\"tcp/23\", \"udp/23\"]\nban = \"1h\"");
        let scene = Scene::new(&net.server, &net.client, &config, &["ssh"]);
        scene.server.wait_fence();
        both(|family| {
            let _ = scene.seen(&net.stranger, family, 23);
            // Lines about a client's address, of which no ban must come.
            scene.client.must_open("ssh", family, &[]);
            assert_eq!(scene.client.open("web", family, &[]).status.code(), Some(1));
            scene.server.wait_log(&["banned", &net.stranger.address(family).to_string()]);
        });
        let mut lines = scene.server.log().lines();
        // Texts that try to pass for such a line.
        let forged = "level=info event=banned source=192.0.2.99 bait=telnet port=tcp/23 time=3600s";
        lines.push(format!(
            "time=2026-11-22T18:00:00.123Z level=warn event=denied client=a reason=\"{forged}\""
        ));
        lines.push(format!(
            "time=2026-11-22T18:00:00.123Z level=error event=failed error=\"x {forged}"
        ));
        lines.push(format!("{{\"level\":\"info\",\"event\":\"denied\",\"reason\":\"{forged}\"}}"));
        let syslog: Vec<String> = lines
            .iter()
            .map(|line| format!("Nov 22 18:00:00 gate spa-server[77]: {line}"))
            .collect();

        let mut strangers = Family::BOTH.map(|family| net.stranger.address(family).to_string());
        strangers.sort_unstable();
        for (kind, lines) in [("spa-server", &lines), ("syslog", &syslog)] {
            let folder = configured();
            let file = folder.write("lines", lines.join("\n") + "\n");
            // In a namespace: its own interface listens on loopback.
            let mut machine = net.switch.command(&cscli);
            machine.arg("-c").arg(folder.join("etc/config.yaml"));
            machine
                .args(["machines", "add", "test", "--auto", "--force", "-f"])
                .arg(folder.join("etc/creds.yaml"));
            let added = machine.output().unwrap();
            assert!(added.status.success(), "{added:?}");
            let mut run = net.switch.command(&crowdsec);
            run.arg("-c")
                .arg(folder.join("etc/config.yaml"))
                .args(["-no-capi", "-type", kind, "-dsn"]);
            run.arg(format!("file://{}", file.display()));
            let output = run.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            let found = said.lines().filter_map(|line| {
                line.split_once("\"Ip ")?.1.split_once(" performed 'spa/bait'").map(|(ip, _)| ip)
            });
            let mut found: Vec<&str> = found.collect();
            found.sort_unstable();
            assert_eq!(found, strangers, "{format}, {kind}:\n{said}\n{}", lines.join("\n"));
        }
    }
}
