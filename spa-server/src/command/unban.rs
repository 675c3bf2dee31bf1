//! `spa-server unban`.

use clap::Args;
use serde_json::Value;
use spa_keys::{Failure, printable};

use super::table::{count, rows};
use super::talk::Asking;
use crate::control::Command;

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false)]
pub(super) struct UnbanTarget {
    /// Address, or a network as `spa-server bans` shows it
    #[arg(value_name = "ADDR")]
    source: Option<String>,
    /// Everybody
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  spa-server unban 192.0.2.7")]
pub(super) struct Unban {
    #[command(flatten)]
    which: UnbanTarget,
    #[command(flatten)]
    asking: Asking,
}

impl Unban {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { which: UnbanTarget { source, all }, asking } = self;
        let outcome = asking.place().connect().and_then(|mut line| {
            let mut answer = line.ask(Command::Unban { source: source.clone(), all })?;
            // A thousand at a time. Bans that strangers earn meanwhile must not keep us here for
            // ever.
            let left = answer.body.get("left").and_then(Value::as_u64).unwrap_or(0);
            for _ in 0..left.div_ceil(1000) {
                let mut more = line.ask(Command::Unban { source: None, all })?;
                let rows = more.body.remove("lifted");
                if let (Some(Value::Array(all)), Some(Value::Array(more))) =
                    (answer.body.get_mut("lifted"), rows)
                {
                    all.extend(more);
                }
                answer.body.insert("left".to_owned(), more.body.remove("left").unwrap_or_default());
            }
            Ok(answer)
        });
        asking.tell(outcome, |answer| text(source.as_deref(), rows(answer, "lifted"))).map(drop)
    }
}

fn text(source: Option<&str>, lifted: &[Value]) -> String {
    match source {
        Some(source) if lifted.is_empty() => format!("{} was not banned\n", printable(source)),
        Some(_) => {
            let lifted = lifted.iter().filter_map(Value::as_str);
            lifted.map(|net| format!("lifted the ban of {}\n", printable(net))).collect()
        }
        None => format!("lifted {}\n", count(lifted.len(), "ban")),
    }
}
