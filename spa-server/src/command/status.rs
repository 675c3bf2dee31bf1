//! `spa-server status`.

use clap::Args;
use serde_json::Value;

use super::{Config, output, talk};
use crate::config;
use crate::daemon::control::Command;
use crate::daemon::surroundings;
use spa_keys::Failure;

#[derive(Debug, Args)]
pub(super) struct Status {
    /// The server's answer as it is, one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: Config,
}

impl Status {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = config::load_alone(&self.config.config, &surroundings(true))
            .map_err(|findings| Failure::config(findings.to_string()))?;
        let answer = talk::must_ask(&config.server.control, Command::Status)?;
        if self.json {
            let text = serde_json::to_string(&answer).map_err(|error| Failure::failed(error.to_string()))?;
            return output::answer(&(text + "\n"));
        }
        output::answer(&text(&Value::Object(answer.body)))
    }
}

fn text(status: &Value) -> String {
    let number = |pointer: &str| status.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0);
    let word = |pointer: &str| status.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
    let mut out = format!(
        "spa-server {}, up {} s, firewall {}, capture {}, {} clients\n",
        word("/server-version"),
        number("/up-s"),
        word("/backend"),
        word("/capture"),
        number("/clients"),
    );
    if number("/fence-left-s") > 0.0 {
        out.push_str(&format!("knocks are refused for {} s more (replay fence)\n", number("/fence-left-s")));
    }
    let visible = status.get("not-hidden").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if !visible.is_empty() {
        let names: Vec<&str> = visible.iter().filter_map(Value::as_str).collect();
        out.push_str(&format!("not hidden before a client has opened it once: {}\n", names.join(", ")));
    }
    out.push_str(&format!(
        "knocks: {} granted, {} denied, {} stale, {} failed\n",
        number("/knocks/granted"),
        number("/knocks/denied"),
        number("/knocks/stale"),
        number("/knocks/failed"),
    ));
    out.push_str(&format!(
        "packets: {} in all, {} from strangers, {} replayed, {} lost; {} bans\n",
        number("/packets/all"),
        number("/packets/strangers"),
        number("/packets/replayed"),
        number("/packets/lost"),
        number("/bans"),
    ));
    let grants = status.get("grants").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    for grant in grants {
        let field = |name: &str| grant.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
        let left = grant.get("left-s").and_then(Value::as_u64).unwrap_or(0);
        out.push_str(&format!(
            "{}  {} -> {}  from {}  {left} s left\n",
            field("grant"),
            field("client"),
            field("service"),
            field("source")
        ));
    }
    out
}
