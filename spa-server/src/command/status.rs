//! `spa-server status`.

use clap::Args;
use serde_json::Value;
use spa_keys::{Failure, exit, printable};

use super::backup::compare_with_last;
use super::table::{count, elapsed, or_dash, time, time_left};
use super::talk::Asking;
use crate::control::Command;
use crate::control::status::{EnforcerRow, Protection, ReloadState, ServerStatus as State};
use crate::firewall::reach::ReachAnswer;
use crate::firewall::{Hide, Mode};
use crate::host_check::{describe_wrong_clock, is_clock_synchronised};

/// Show the running server: protection, knocks, packets, grants
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  spa-server status --json")]
pub(super) struct StatusArgs {
    #[command(flatten)]
    asking: Asking,
}

impl StatusArgs {
    /// Asks the server for its state and adds what only this process may ask the kernel.
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut outcome = self.asking.ask(Command::Status { brief: false });
        // The sandboxed listener may not ask the kernel.
        if let Ok(answer) = &mut outcome
            && let Some(Value::Object(clock)) = answer.body.get_mut("clock")
        {
            clock.insert("synchronised".to_owned(), is_clock_synchronised().into());
        }
        if let Ok(answer) = &mut outcome
            && let Some(backup) = compare_with_last(self.asking.config())
        {
            let backup = serde_json::to_value(backup).unwrap_or_default();
            answer.body.insert("backup".to_owned(), backup);
        }
        self.asking.print_response(outcome, text).map(drop)
    }
}

fn text(status: &State) -> String {
    let mut out = format!(
        "spa-server {}, up {}, firewall {}, capture {}, {}\n",
        printable(&status.server_version),
        time(status.up_s),
        printable(&status.backend),
        printable(&or_dash(status.capture.as_ref())),
        count(status.clients, "client"),
    );
    out.push_str(&protection(&status.protection));
    out.push_str(&enforcers(status));
    for port in &status.missing_ports {
        out.push_str(&format!("warning: no knock is received at {}\n", printable(port)));
    }
    for clients in &status.other_sequences {
        out.push_str(&format!("{}\n", printable(clients)));
    }
    let fence = status.fence_left_s;
    if fence > 0.0 {
        let fence = time_left(fence);
        out.push_str(&format!("knocks are refused for {fence} more (replay fence)\n"));
    }
    if let Some(problem) = describe_wrong_clock() {
        out.push_str(&format!("warning: {problem}\n"));
    }
    if status.second_servers > 0 {
        out.push_str(
            "warning: another spa-server with the same key runs here and accepts knocks that this \
             one has accepted: stop one, or give it a key of its own\n",
        );
    }
    if let Some(behind) = status.clock_behind_s {
        out.push_str(&format!(
            "warning: the clock is {} behind an earlier one under which knocks were accepted; if \
             it is right now: spa-server accept-clock\n",
            time(behind)
        ));
    }
    if !status.not_hidden.is_empty() {
        out.push_str(&format!(
            "visible until a client has opened it once: {}\n",
            status.not_hidden.join(", ")
        ));
    }
    out.push_str(&super::rotate_key::status(status));
    let (knocks, packets) = (&status.knocks, &status.packets);
    out.push_str(&format!(
        "knocks: {} granted, {} denied, {} stale, {} failed\n",
        knocks.granted, knocks.denied, knocks.stale, knocks.failed,
    ));
    out.push_str(&format!(
        "packets: {} in all, {} from strangers, {} replayed, {} lost; {}\n",
        packets.all,
        packets.strangers,
        packets.replayed,
        packets.lost,
        count(status.bans, "ban"),
    ));
    out.push_str(&super::trial::lines(status));
    out.push_str(
        &status.reload.as_ref().map_or_else(String::new, |last| reload(last, status.clock.ms)),
    );
    if status.clock.synchronised == Some(false) {
        out.push_str(
            "warning: the clock is not synchronised, and knocks carry the time: timedatectl \
            set-ntp true\n",
        );
    }
    out.push_str(&backup(status));
    for obstacle in status.obstacles.iter().flatten() {
        out.push_str(&format!(
            "warning: {}: {}\n",
            printable(&obstacle.chain),
            printable(&obstacle.text)
        ));
    }
    for grant in &status.grants {
        out.push_str(&format!(
            "{}  {} -> {}  from {}  {} left\n",
            printable(&grant.grant),
            printable(&grant.client),
            printable(&grant.service),
            grant.network_text(),
            time(grant.left_s),
        ));
    }
    out
}

fn protection(protection: &Protection) -> String {
    let mut out = rules(protection);
    for row in protection.reach.iter().filter(|row| row.is_exposed()) {
        let (service, family, why) = (printable(&row.service), row.family, &row.hidden.why);
        let what = match row.hidden.answer {
            ReachAnswer::No => "is NOT hidden",
            _ => "may not be hidden",
        };
        out.push_str(&format!(
            "warning: service {service} {what} over {family}: {}\n",
            printable(why)
        ));
    }
    for useless in &protection.useless_interfaces {
        out.push_str(&format!("warning: {}\n", printable(useless)));
    }
    out
}

fn enforcers(status: &State) -> String {
    let line = |row: &EnforcerRow| match &row.problem {
        None => format!("enforcer {}: ready\n", printable(&row.name)),
        Some(problem) => format!(
            "warning: enforcer {} is not ready, grants of its services are refused: {}\n",
            printable(&row.name),
            printable(problem)
        ),
    };
    status.enforcers.iter().map(line).collect()
}

fn rules(protection: &Protection) -> String {
    if !protection.in_force {
        return match protection.useless_interfaces.is_empty() {
            true => "protection: none, this server changes nothing or its table is damaged\n",
            false => "protection: none\n",
        }
        .to_owned();
    }
    let mode = match protection.mode {
        Mode::Guard => "guard",
        Mode::Standalone => "standalone",
    };
    let hide = match protection.hide {
        Hide::Drop => "are silent",
        Hide::Closed => "look closed",
    };
    format!("protection: {mode}, hidden ports {hide}\n")
}

fn backup(status: &State) -> String {
    let Some(backup) = &status.backup else { return String::new() };
    let age = elapsed(backup.made_ms, status.clock.ms);
    if backup.changed.is_empty() {
        return format!("last backup: {age} ago\n");
    }
    format!(
        "warning: the last backup, {age} ago, is out of date: other {}; spa-server backup FILE\n",
        backup.changed.join(" and ")
    )
}

fn reload(reload: &ReloadState, now_ms: u64) -> String {
    let ago = elapsed(reload.ms, now_ms);
    let Some(error) = &reload.error else {
        return format!("last reload: {ago} ago\n");
    };
    let refused = format!("warning: the last reload, {ago} ago, was refused and changed nothing");
    if reload.exit_code == Some(exit::CONFIG) {
        return format!("{refused}: spa-server check\n");
    }
    // Not for what is in the files, so `check` would find nothing: what was said then.
    let said = error.lines().next().unwrap_or_default();
    format!("{refused}: {}\n", printable(said))
}
