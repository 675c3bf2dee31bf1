//! What `spa-client` says, as far as that needs no network.

use super::{Transcript, configured};

pub(super) fn errors() -> String {
    let mut session = Transcript::new();
    session.runs(&[
        "spa-client",
        "spa-client open",
        "spa-client open ssh",
        "spa-client open ssh@gate --ttl 5x",
        "spa-client open ssh@gate -4 -6",
        "spa-client open ssh@gate --expect-address here",
        "spa-client open ssh@../gate",
        "spa-client open ssh@gate",
        "spa-client close ssh",
        "spa-client close ssh@gate",
        "spa-client run ssh@gate",
        "spa-client run ssh@gate true",
        "spa-client run ssh@gate -- true",
        "spa-client connect ssh@gate 0",
        "spa-client connect --fdpass ssh@gate",
        "spa-client connect ssh@gate",
        "spa-client ssh-config gate",
        "spa-client ssh-config",
        "spa-client doctor --knock",
        "spa-client host set gate colour red",
        "spa-client host set gate family 4",
        "spa-client host remove gate",
        "spa-client host add",
        "spa-client host add nowhere",
        "spa-client host list",
        "spa-client host list gate",
        "spa-client completions tcsh",
        "spa-client join nowhere",
        "spa-client join",
        "spa-client rotate",
        "spa-client rotate gate",
        "spa-client rotate gate --json",
    ]);
    session.end()
}

/// A host, from its line to its end.
pub(super) fn hosts() -> String {
    let mut session = Transcript::new();
    enrolled(&mut session);
    session.runs(&[
        "spa-client host list",
        "spa-client host list --json",
        "spa-client ssh-config",
        "spa-client host set gate addresses 192.0.2.1 2001:db8::1",
        "spa-client host set gate aliases g door",
        "spa-client host set gate family 6",
        "spa-client host set gate family 5",
        "spa-client host set gate family 4 6",
        "spa-client host set gate expect-address 203.0.113.0/24",
        "spa-client ssh-config g",
        "spa-client ssh-config --relay door",
        "spa-client ssh-config gate --service vpn",
    ]);
    session.show("config.toml", ".config/spa/config.toml");
    session.runs(&[
        "spa-client host set gate family",
        "spa-client host remove gate",
        "spa-client host list --json",
    ]);
    session.end()
}

/// Without a knock: it needs no network but the kernel's own loopback.
pub(super) fn doctor() -> String {
    let mut session = Transcript::new();
    session.run("spa-client doctor");
    enrolled(&mut session);
    session.runs(&[
        "spa-client host set gate addresses 127.0.0.1",
        "spa-client doctor",
        "spa-client doctor gate",
        "spa-client doctor gate --json",
        "spa-client doctor nowhere",
        "spa-client host set gate addresses no-such-host.invalid",
    ]);
    session.chmod(".config/spa/identity", 0o644);
    session.runs(&["spa-client doctor gate", "spa-client doctor gate --json"]);
    without_clock(&session.end())
}

/// The state of this machine's clock is no part of what is compared.
fn without_clock(text: &str) -> String {
    let mut out = String::new();
    let mut dropped = false;
    for line in text.lines() {
        let begins = line.contains(" clock: ");
        dropped = begins || (dropped && line.starts_with("    "));
        if !dropped {
            out.push_str(&without_finding(line));
            out.push('\n');
        }
    }
    out
}

fn without_finding(line: &str) -> String {
    let Some((before, rest)) = line.split_once("{\"check\":\"clock\"") else {
        return line.to_owned();
    };
    let after = rest.split_once('}').map_or("", |(_, after)| after);
    match (before.strip_suffix(','), after.strip_prefix(',')) {
        (_, Some(after)) => format!("{before}{after}"),
        (Some(before), None) => format!("{before}{after}"),
        (None, None) => format!("{before}{after}"),
    }
}

/// A client with a key and the host `gate`.
fn enrolled(session: &mut Transcript) {
    configured(session);
    session.run("spa keygen --server -o server.key");
    let public = session.run("spa keygen");
    session.name("PUBLIC", &public);
    let line = session.run(
        "spa-server client add laptop $PUBLIC --service ssh --service vpn --host gate.example.org \
         --config server.toml",
    );
    session.name("LINE", &line);
    session.run("spa-client host add --name gate < $LINE");
}
