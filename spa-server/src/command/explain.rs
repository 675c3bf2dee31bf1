//! `spa-server explain`.

use std::net::IpAddr;

use clap::Args;
use spa_keys::{Failure, printable};

use super::table::{or_dash, table, time};
use super::talk::Asking;
use crate::control::rows::{Explained, KnockRow, RuleRow};
use crate::control::{Command, ExplainRequest};

/// Explain whether a knock would be granted, and by which rule
#[derive(Debug, Args)]
#[command(
    after_help = "Prints the verdict of each rule and the last knocks of the client. Exit code 1 \
        when the\nknock would be denied, or when rules of others would stop what comes then.\n\n\
        Example:\n  spa-server explain laptop ssh --from 192.0.2.7"
)]
pub(super) struct ExplainArgs {
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

/// Beginning of the rows about rules of others.
const WAY_ROWS: &str = "way-";

impl ExplainArgs {
    /// Prints the verdict of each rule; fails when the knock would be denied.
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { client, service, from, at, wanted, ttl, asking } = self;
        let request = ExplainRequest { client, service, from, at, wanted, ttl_s: ttl };
        let outcome = asking.ask(Command::Explain(request));
        let answer: Explained = asking.print_response(outcome, text)?;
        let ways = Ways::of(&answer);
        if answer.would_open && !ways.all_stop() {
            return Ok(());
        }
        if answer.would_open {
            return Err(Failure::failed(format!(
                "it would open, and rules of others stop what comes then: {}",
                ways.stop.join(", ")
            )));
        }
        Err(Failure::failed(format!(
            "it would not open: the rule `{}` denies it",
            printable(&or_dash(answer.refused_by))
        )))
    }
}

/// Effects of other people's rules on packets that a grant lets in, by the names of the rows.
struct Ways<'a> {
    stop: Vec<&'a str>,
    doubt: Vec<&'a str>,
    pass: usize,
}

impl<'a> Ways<'a> {
    fn of(answer: &'a Explained) -> Self {
        let mut this = Self { stop: Vec::new(), doubt: Vec::new(), pass: 0 };
        for row in answer.rules.iter().filter(|row| row.rule.starts_with(WAY_ROWS)) {
            match row.says.as_str() {
                "no" => this.stop.push(&row.rule),
                "depends" => this.doubt.push(&row.rule),
                _ => this.pass += 1,
            }
        }
        this
    }

    /// Nothing comes through over any family.
    fn all_stop(&self) -> bool {
        !self.stop.is_empty() && self.doubt.is_empty() && self.pass == 0
    }
}

fn text(answer: &Explained) -> String {
    let address = |address: Option<IpAddr>, word: &str| match address {
        Some(address) => format!(" {word} {address}"),
        None => String::new(),
    };
    let (from, wanted) = (address(answer.from, "from"), address(answer.wanted, "for"));
    let mut out = format!(
        "{} -> {}{wanted}{from}, {}\n\n",
        printable(&answer.client),
        printable(&answer.service),
        printable(&answer.at)
    );
    let rules: Vec<Vec<String>> = answer
        .rules
        .iter()
        .map(|rule| vec![rule.rule.clone(), rule.says.clone(), rule.why.clone()])
        .collect();
    out.push_str(&table(&["RULE", "SAYS", "WHY"], &rules));
    let ttl = time(answer.ttl_s.unwrap_or(0));
    let ways = Ways::of(answer);
    let depends = |rule: &RuleRow| rule.says == "depends" && !rule.rule.starts_with(WAY_ROWS);
    out.push_str(&if answer.would_open {
        let mut line = format!("\nwould open for {ttl}");
        if answer.rules.iter().any(depends) {
            line.push_str(", from an allowed address");
        }
        if ways.all_stop() {
            line.push_str(", and rules of others would stop what comes then");
        } else if !ways.stop.is_empty() || !ways.doubt.is_empty() {
            let rows = [ways.stop, ways.doubt].concat().join(", ");
            line.push_str(&format!("; what comes then may be stopped: {rows}"));
        }
        line + "\n"
    } else {
        "\nwould not open\n".to_owned()
    });
    let knocks: Vec<Vec<String>> = answer.knocks.iter().map(knock).collect();
    if knocks.is_empty() {
        out.push_str("\nno knock of this client has been received since the server's start\n");
    } else {
        let heads = ["WHEN", "EVENT", "SOURCE", "SERVICE", "REASON", "SKEW"];
        out.push_str(&format!("\nits last knocks, the newest first:\n{}", table(&heads, &knocks)));
    }
    out
}

fn knock(knock: &KnockRow) -> Vec<String> {
    let event = match knock.by {
        Some(uid) => format!("{} by uid {uid}", knock.event),
        None => knock.event.clone(),
    };
    let reason = or_dash(knock.reason.as_ref());
    let reason = match &knock.detail {
        Some(detail) => format!("{reason}: {detail}"),
        None => reason,
    };
    vec![
        knock.when.clone(),
        event,
        knock.source.to_string(),
        or_dash(knock.service.as_ref()),
        reason,
        or_dash(knock.skew_ms.map(|ms| format!("{ms} ms"))),
    ]
}
