//! `spa-server explain`.

use std::net::IpAddr;

use clap::Args;
use serde_json::Value;
use spa_keys::{Failure, printable};

use super::table::{rows, shown, table, time, word};
use super::talk::Asking;
use crate::control::Command;

#[derive(Debug, Args)]
#[command(
    after_help = "Prints the verdict of each rule and the last knocks of the client. Exit code 1 \
        when the\nknock would be denied.\n\n\
        Example:\n  spa-server explain laptop ssh --from 192.0.2.7"
)]
pub(super) struct Explain {
    /// Client
    client: String,
    /// Service
    service: String,
    /// Address that it would knock from
    #[arg(long, value_name = "ADDR")]
    from: Option<IpAddr>,
    /// When: "2026-12-24 22:00" in the server's time zone, or 2026-12-24T22:00:00Z [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Address that it would ask to open for, if that is not the one that it knocks from
    #[arg(long = "for", value_name = "ADDR")]
    wanted: Option<IpAddr>,
    /// For how long it would ask [default: for no time, so it gets the usual one]
    #[arg(long, value_name = "TIME", value_parser = super::open::parse_seconds)]
    ttl: Option<u64>,
    #[command(flatten)]
    asking: Asking,
}

impl Explain {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { client, service, from, at, wanted, ttl, asking } = self;
        let command = Command::Explain { client, service, from, at, wanted, ttl_s: ttl };
        let outcome = asking.ask(command);
        let answer = Value::Object(asking.tell(outcome, text)?);
        if answer.get("would-open") == Some(&Value::Bool(true)) {
            return Ok(());
        }
        Err(Failure::failed(format!(
            "it would not open: the rule `{}` says no",
            shown(&answer, "refused-by")
        )))
    }
}

fn text(answer: &Value) -> String {
    let address = |key: &str, word: &str| match answer.get(key).and_then(Value::as_str) {
        Some(address) => format!(" {word} {}", printable(address)),
        None => String::new(),
    };
    let (from, wanted) = (address("from", "from"), address("for", "for"));
    let mut out = format!(
        "{} -> {}{wanted}{from}, {}\n\n",
        shown(answer, "client"),
        shown(answer, "service"),
        shown(answer, "at")
    );
    let rules: Vec<Vec<String>> = rows(answer, "rules")
        .iter()
        .map(|rule| vec![word(rule, "rule"), word(rule, "says"), word(rule, "why")])
        .collect();
    out.push_str(&table(&["RULE", "SAYS", "WHY"], &rules));
    let depends = rules.iter().any(|rule| rule.get(1).is_some_and(|says| says == "depends"));
    out.push_str(&match (answer.get("would-open"), depends) {
        (Some(Value::Bool(true)), false) => format!("\nwould open for {}\n", time(answer, "ttl-s")),
        (Some(Value::Bool(true)), true) => {
            format!("\nwould open for {}, from a right address\n", time(answer, "ttl-s"))
        }
        _ => "\nwould not open\n".to_owned(),
    });
    let knocks: Vec<Vec<String>> = rows(answer, "knocks").iter().map(knock).collect();
    if knocks.is_empty() {
        out.push_str("\nno knock of this client has been heard since the server's start\n");
    } else {
        let heads = ["WHEN", "EVENT", "SOURCE", "SERVICE", "REASON", "SKEW"];
        out.push_str(&format!("\nits last knocks, the newest first:\n{}", table(&heads, &knocks)));
    }
    out
}

fn knock(knock: &Value) -> Vec<String> {
    let event = match knock.get("by").and_then(Value::as_u64) {
        Some(uid) => format!("{} by uid {uid}", word(knock, "event")),
        None => word(knock, "event"),
    };
    let reason = match knock.get("detail").and_then(Value::as_str) {
        Some(detail) => format!("{}: {detail}", word(knock, "reason")),
        None => word(knock, "reason"),
    };
    let skew = knock.get("skew-ms").and_then(Value::as_i64);
    vec![
        word(knock, "when"),
        event,
        word(knock, "source"),
        word(knock, "service"),
        reason,
        skew.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms")),
    ]
}
