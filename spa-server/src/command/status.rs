//! `spa-server status`.

use clap::Args;
use serde_json::Value;
use spa_keys::{Failure, exit};

use super::table::{count, number, rows, shown, source, time};
use super::talk::Asking;
use crate::control::Command;
use crate::host_check::is_clock_synchronised;
use spa_keys::duration;

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  spa-server status --json")]
pub(super) struct Status {
    #[command(flatten)]
    asking: Asking,
}

impl Status {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut outcome = self.asking.ask(Command::Status { brief: false });
        // The sandboxed listener may not ask the kernel.
        if let Ok(answer) = &mut outcome
            && let Some(Value::Object(clock)) = answer.body.get_mut("clock")
        {
            clock.insert("synchronised".to_owned(), is_clock_synchronised().into());
        }
        self.asking.tell(outcome, text).map(drop)
    }
}

fn text(status: &Value) -> String {
    let null = Value::Null;
    let part = |name: &str| status.get(name).unwrap_or(&null);
    let mut out = format!(
        "spa-server {}, up {}, firewall {}, capture {}, {}\n",
        shown(status, "server-version"),
        time(status, "up-s"),
        shown(status, "backend"),
        shown(status, "capture"),
        count(number(status, "clients"), "client"),
    );
    out.push_str(&protection(part("protection")));
    let fence = part("fence-left-s").as_f64().unwrap_or(0.0);
    if fence > 0.0 {
        out.push_str(&format!("knocks are refused for {fence} s more (replay fence)\n"));
    }
    let visible: Vec<&str> = rows(status, "not-hidden").iter().filter_map(Value::as_str).collect();
    if !visible.is_empty() {
        out.push_str(&format!(
            "not hidden before a client has opened it once: {}\n",
            visible.join(", ")
        ));
    }
    out.push_str(&super::rotate_key::status(status));
    let (knocks, packets) = (part("knocks"), part("packets"));
    out.push_str(&format!(
        "knocks: {} granted, {} denied, {} stale, {} failed\n",
        number(knocks, "granted"),
        number(knocks, "denied"),
        number(knocks, "stale"),
        number(knocks, "failed"),
    ));
    out.push_str(&format!(
        "packets: {} in all, {} from strangers, {} replayed, {} lost; {}\n",
        number(packets, "all"),
        number(packets, "strangers"),
        number(packets, "replayed"),
        number(packets, "lost"),
        count(number(status, "bans"), "ban"),
    ));
    out.push_str(&super::trial::lines(status, number(part("clock"), "ms")));
    out.push_str(&reload(part("reload"), number(part("clock"), "ms")));
    if part("clock").get("synchronised") == Some(&Value::Bool(false)) {
        out.push_str(
            "warning: the clock is not synchronised, and knocks carry the time: timedatectl set-ntp \
             true\n",
        );
    }
    for obstacle in rows(status, "obstacles") {
        out.push_str(&format!(
            "warning: {}: {}\n",
            shown(obstacle, "chain"),
            shown(obstacle, "text")
        ));
    }
    for grant in rows(status, "grants") {
        out.push_str(&format!(
            "{}  {} -> {}  from {}  {} left\n",
            shown(grant, "grant"),
            shown(grant, "client"),
            shown(grant, "service"),
            spa_keys::printable(&source(grant)),
            time(grant, "left-s"),
        ));
    }
    out
}

fn protection(protection: &Value) -> String {
    let flag = protection.get("in-force").and_then(Value::as_bool);
    match flag {
        Some(true) => format!(
            "protection: {}, hidden ports {}\n",
            shown(protection, "mode"),
            if shown(protection, "hide") == "closed" { "look closed" } else { "are silent" }
        ),
        _ => "protection: none, this server changes nothing or its table is damaged\n".to_owned(),
    }
}

fn reload(reload: &Value, now_ms: u64) -> String {
    let Some(at_ms) = reload.get("ms").and_then(Value::as_u64) else { return String::new() };
    let ago = duration::format(std::time::Duration::from_secs(now_ms.saturating_sub(at_ms) / 1000));
    let Some(error) = reload.get("error").and_then(Value::as_str) else {
        return format!("last reload: {ago} ago\n");
    };
    let refused = format!("warning: the last reload, {ago} ago, was refused and changed nothing");
    if number(reload, "exit-code") == u64::from(exit::CONFIG) {
        return format!("{refused}: spa-server check\n");
    }
    // Not for what is in the files, so `check` would find nothing: what was said then.
    let said = error.lines().next().unwrap_or_default();
    format!("{refused}: {}\n", spa_keys::printable(said))
}
