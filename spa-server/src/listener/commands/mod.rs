//! What the control socket's commands do, one file per group. Each answers at once, on the server's
//! own thread: nothing here may grow with the number of clients.

mod bans;
mod clients;
mod explain;
mod grants;
mod metrics;
mod status;

use serde::Serialize;
use spa_keys::Failure;

use super::Daemon;
use super::control_socket::Asked;
use crate::control::{Answer, Command};
use crate::log::{self, Level};

pub(super) use grants::closed_by;
pub(super) use status::LastReload;

/// Most rows of one answer, and how many when nobody says.
const PAGE: usize = 1000;

/// How long a trial lasts when nobody says, seconds: enough to log in anew, by hand, over a slow
/// line.
const TRIAL_S: u64 = 120;

/// How many rows to answer with.
fn page(limit: Option<usize>) -> usize {
    limit.unwrap_or(PAGE).clamp(1, PAGE)
}

fn respond(outcome: Result<impl Serialize, Failure>) -> Answer {
    outcome.map_or_else(|failure| Answer::refused(&failure), |body| Answer::good(&body))
}

impl Daemon {
    /// Carries out a command and answers it.
    pub(super) fn command(&mut self, asked: Asked) {
        let Asked { command, by, answer } = asked;
        let reply = match command {
            Command::Reload => {
                log::event(Level::Info, "reload-asked").number("by", by).emit();
                return self.ask_reload(answer);
            }
            Command::Try { time_s, session } => {
                return self.ask_trial((time_s.unwrap_or(TRIAL_S), session), by, answer);
            }
            Command::Confirm { session } => match self.same_session(session.as_deref()) {
                Err(failure) => Answer::refused(&failure),
                Ok(()) => return self.ask_confirm(by, answer),
            },
            Command::Cancel => return self.ask_cancel(by, answer),
            Command::Audit(query) => {
                return self.record.audit.ask(query, move |reply| {
                    let _gone = answer.send(reply);
                });
            }
            Command::Status { brief } => respond(self.status(brief)),
            Command::Grants => respond(self.list_grants()),
            Command::Open { service, source, ttl_s } => {
                respond(self.open(&service, source, ttl_s, by))
            }
            Command::Close { grant, client, all } => {
                return self.close((grant.as_deref(), client.as_deref(), all), by, answer);
            }
            Command::Bans { limit, after } => respond(self.list_bans(page(limit), after)),
            Command::Ban { source, time_s } => respond(self.ban(&source, time_s, by)),
            Command::Unban { source, all } => respond(self.unban(source.as_deref(), all, by)),
            Command::Clients { limit, after } => {
                respond(self.list_clients(page(limit), after.as_deref()))
            }
            Command::Explain { client, service, from, at, wanted, ttl_s } => {
                respond(self.explain((&client, &service), (from, wanted), at.as_deref(), ttl_s))
            }
            Command::Metrics => Answer::good(&self.metrics()),
        };
        // A command that opened may have asked for a durable mark.
        self.pump();
        let _gone = answer.send(reply);
    }
}
