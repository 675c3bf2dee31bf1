//! What fail2ban makes of the lines that the server writes.

use std::path::Path;

use spa_tests::netns::lan;
use spa_tests::scene::{Scene, both, config};
use spa_tests::{Family, need_namespaces};

#[test]
fn it_finds_the_banned_and_nobody_else() {
    need_namespaces!();
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
        // The same as syslog would write it.
        lines.extend(
            lines.clone().iter().map(|line| format!("Nov 22 18:00:00 gate spa-server[77]: {line}")),
        );
        // A text that tries to pass for such a line: it is quoted, and no line of ours ends there.
        let forged = "level=info event=banned source=192.0.2.99 bait=telnet port=tcp/23 time=3600s";
        lines.push(format!(
            "time=2026-11-22T18:00:00.123Z level=warn event=denied client=a reason=\"{forged}\""
        ));
        lines.push(format!(
            "time=2026-11-22T18:00:00.123Z level=error event=failed error=\"x {forged}"
        ));
        lines.push(format!("{{\"level\":\"info\",\"event\":\"denied\",\"reason\":\"{forged}\"}}"));
        let file = scene.server.folder().join("lines");
        std::fs::write(&file, lines.join("\n") + "\n").unwrap();

        let filter =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../pkg/fail2ban/filter.d/spa.conf");
        let mut command = std::process::Command::new("fail2ban-regex");
        let output = command.args(["-o", "ip"]).arg(&file).arg(filter).output();
        let output = output.expect("fail2ban-regex, of Debian's package fail2ban");
        let found = String::from_utf8(output.stdout).unwrap();
        let mut found: Vec<&str> = found.split_whitespace().collect();
        found.sort_unstable();
        let strangers = Family::BOTH.map(|family| net.stranger.address(family).to_string());
        let mut wanted: Vec<&str> = strangers.iter().flat_map(|one| [one.as_str(); 2]).collect();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{format}:\n{}", lines.join("\n"));
    }
}
