//! Commands of the control socket, one file per group. Each answers at once, on the server's
//! own thread: nothing here may grow with the number of clients.

mod bans;
mod clients;
mod explain;
mod grants;
mod metrics;
mod status;

use serde::Serialize;
use spa_keys::Failure;

use super::Listener;
use super::control_socket::PendingRequest;
use crate::control::{Command, Response};
use crate::log::{self, Level};

pub(super) use grants::closed_by;
pub(super) use status::LastReload;

/// Most rows of one answer, and how many when nobody says.
const MAX_PAGE_ROWS: usize = 1000;

/// Time of a trial when nobody says, seconds: enough to log in anew, by hand, over a slow
/// line.
const DEFAULT_TRIAL_S: u64 = 120;

/// Number of rows of a page.
fn page_size(limit: Option<usize>) -> usize {
    limit.unwrap_or(MAX_PAGE_ROWS).clamp(1, MAX_PAGE_ROWS)
}

fn respond(outcome: Result<impl Serialize, Failure>) -> Response {
    outcome
        .map_or_else(|failure| Response::from_failure(&failure), |body| Response::from_body(&body))
}

impl Listener {
    /// Carries out a command and answers it.
    pub(super) fn run_command(&mut self, asked: PendingRequest) {
        let PendingRequest { command, by, answer } = asked;
        let reply = match command {
            Command::Reload { force } => {
                log::event(Level::Info, "reload-asked").number("by", by).emit();
                return self.ask_reload(answer, force);
            }
            Command::Try { time_s, session } => {
                return self.ask_trial(time_s.unwrap_or(DEFAULT_TRIAL_S), session, by, answer);
            }
            Command::Confirm { session } => match self.same_session(session.as_deref()) {
                Err(failure) => Response::from_failure(&failure),
                Ok(()) => return self.ask_confirm(by, answer),
            },
            Command::Cancel => return self.ask_cancel(by, answer),
            Command::Audit(query) => {
                return self.telemetry.audit.query_log(query, move |reply| {
                    let _gone = answer.send(reply);
                });
            }
            Command::Status { brief } => respond(self.report_status(brief)),
            Command::Grants => respond(self.list_grants()),
            Command::Open { service, source, ttl_s } => {
                respond(self.open_grant(&service, source, ttl_s, by))
            }
            Command::Close(which) => return self.close_grants(&which, by, answer),
            Command::Bans { limit, after } => respond(self.list_bans(page_size(limit), after)),
            Command::Ban { source, time_s } => respond(self.ban_source(&source, time_s, by)),
            Command::Unban { source, all } => respond(self.lift_bans(source.as_deref(), all, by)),
            Command::Clients { limit, after } => {
                respond(self.list_clients(page_size(limit), after.as_deref()))
            }
            Command::Explain(request) => respond(self.explain_knock(&request)),
            Command::Metrics => Response::from_body(&self.render_metrics()),
        };
        // A command that opened may have asked for a durable mark.
        self.run_actions();
        let _gone = answer.send(reply);
    }
}
