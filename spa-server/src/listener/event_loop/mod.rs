//! The loop of the listener: whatever comes is handed to the part whose duty it is.

mod start;

use std::os::fd::OwnedFd;

use spa_keys::Failure;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::control::rows::{Done, MetricsText, ReloadDone, TrialBegun};
use crate::control::{Command, Response};
use crate::ipc::message::{HookFailures, ListenerOrder, Notice, Purpose};
use crate::listener::baits::BaitWatch;
use crate::listener::broker_link::BrokerLink;
use crate::listener::commands::limits::UserLimits;
use crate::listener::commands::{
    bans, clients, clock, explain, grants, page_size, revocation, status,
};
use crate::listener::control_socket::{self, PendingRequest};
use crate::listener::figures::Figures;
use crate::listener::firewall_access::FirewallAccess;
use crate::listener::knock_server::KnockServer;
use crate::listener::packet_source::{PacketSource, knock_ports};
use crate::listener::reload::{Reloaded, SetupReloads};
use crate::listener::second_server::SecondServerWatch;
use crate::listener::strangers::StrangerLines;
use crate::listener::trial::TrialState;
use crate::log::{self, Level};
use crate::metrics;

pub(super) use start::open_listener;

/// Time of a trial when nobody says, seconds: enough to log in anew, by hand, over a slow line.
const DEFAULT_TRIAL_S: u64 = 120;
/// Questions at the control socket that wait for their turn.
const MAX_WAITING_QUESTIONS: usize = 16;

/// The parts of the listener.
pub(super) struct EventLoop {
    /// Orders and notices.
    link: BrokerLink,
    /// Where packets come from.
    packets: PacketSource,
    /// Where they go.
    knocks: KnockServer,
    /// Rules in force.
    firewall: FirewallAccess,
    /// Hits of bait ports.
    baits: BaitWatch,
    /// Configuration in force.
    reloads: SetupReloads,
    /// State of trials.
    trial: TrialState,
    /// Figures.
    figures: Figures,
    /// Limits of what users may have done by the control socket.
    limits: UserLimits,
    /// Count of strangers.
    strangers: StrangerLines,
    /// Other servers of the same key.
    second_servers: SecondServerWatch,
    /// Time zone of the start: later its file may be out of reach.
    zone: jiff::tz::TimeZone,
}

impl EventLoop {
    /// Serves until the broker says stop.
    pub(super) async fn run_until_stop(mut self, control: UnixListener) -> Result<(), Failure> {
        let (asked, mut questions) = mpsc::channel::<PendingRequest>(MAX_WAITING_QUESTIONS);
        let mut tick = tokio::time::interval(std::time::Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let path = self.reloads.config().server.control.clone();
        tokio::spawn(control_socket::accept_peers(control, path, asked));
        self.second_servers.begin()?;
        let clock = self.knocks.clock;
        self.link.send_notice(&Notice::Ready);
        loop {
            // Biased: a flood of packets comes last, so it can hold up neither the firewall's
            // repair nor a stop.
            tokio::select! {
                biased;
                (order, files) = self.link.next_order() => {
                    if self.follow_order(order, files) {
                        return self.knocks.stop_cleanly();
                    }
                }
                outcome = self.knocks.next_outcome() => self.knocks.apply_outcome(outcome),
                _ = tick.tick() => {
                    self.link.send_notice(&Notice::Alive);
                    self.run_every_second();
                }
                hits = self.baits.next_hits() => {
                    let mono = self.knocks.now().mono;
                    let tally = &mut self.knocks.record.tally;
                    self.baits.note_hits(hits, &self.firewall.rules.baits, tally, mono);
                }
                reloaded = self.reloads.next_reloaded() => self.end_reload(reloaded),
                Some(asked) = questions.recv() => self.run_command(asked),
                // By turns with the packets: neither thousands of grants nor a flood hold up the
                // other.
                () = std::future::ready(()), if self.knocks.closings.are_due() => {
                    self.knocks.close_slice();
                }
                outcome = self.packets.wait_for_packets() => {
                    outcome?;
                    self.packets.take_packets(&mut self.knocks.engine, clock);
                    self.knocks.run_actions();
                    self.knocks.others_had_their_turn();
                }
                () = tokio::task::yield_now(), if self.knocks.closings.are_waiting() => {
                    self.knocks.others_had_their_turn();
                }
            }
        }
    }

    /// Once a second: time-outs, tables, hopping, counts.
    fn run_every_second(&mut self) {
        let now = self.knocks.now();
        self.knocks.run_every_second();
        let ports = knock_ports(self.knocks.engine.settings(), now.unix_ms);
        self.firewall.move_ports(ports, &mut self.packets);
        let counters = self.knocks.engine.counters();
        self.strangers.count_strangers(counters, self.baits.take_left_out(), now.mono);
        self.packets.count_lost();
        self.packets.retry_ports();
        if self.figures.is_due(now.mono)
            && let Some(path) = self.reloads.config().metrics.textfile.clone()
        {
            let snapshot = self.collect_figures();
            self.figures.write_textfile(&path, snapshot, now.unix_ms);
        }
    }

    fn collect_figures(&mut self) -> metrics::MetricsSnapshot {
        let Self { figures, knocks, firewall, reloads, packets, .. } = self;
        figures.collect_figures(knocks, firewall, reloads.config(), packets)
    }

    /// Follows an order of the broker; true: stop.
    fn follow_order(&mut self, order: ListenerOrder, files: Vec<OwnedFd>) -> bool {
        match order {
            ListenerOrder::Stop => return true,
            ListenerOrder::Read(order) => {
                self.reloads.begin_reload(order, files, self.knocks.clock);
            }
            ListenerOrder::Refused { refusal, askers } => {
                self.refuse_reload(&refusal.into(), &askers);
            }
            ListenerOrder::Trial { running, back } => {
                if let Some((askers, response)) = self.trial.note_state(running, back) {
                    self.link.answer_askers(&askers, &response);
                }
            }
            ListenerOrder::Told { asker, refusal } => {
                let done = refusal.map_or(Ok(Done {}), |refusal| Err(refusal.into()));
                self.link.answer_askers(&[asker], &Response::from_outcome(done));
            }
            ListenerOrder::Visible { services } => self.firewall.note_visible(services),
            ListenerOrder::Hide(hide) => self.firewall.note_hide(hide),
            ListenerOrder::Interfaces { useless, hides_nowhere } => {
                self.firewall.note_interfaces(useless, hides_nowhere);
            }
            ListenerOrder::Reach(reach) => self.firewall.note_reach(reach),
            ListenerOrder::HookFailures(HookFailures { service, hook, count }) => {
                self.knocks.record.tally.hooks_failed(service, hook.word(), count);
            }
            ListenerOrder::Settled { ticket, outcome } => {
                self.knocks.settle_opening(ticket, outcome);
            }
            ListenerOrder::Enforcers(states) => self.firewall.enforcers = states,
            ListenerOrder::Restored => {
                self.firewall.note_restored(true);
                self.knocks.record.tally.restores += 1;
                log::event(Level::Warn, "firewall-restored")
                    .number("grants", self.knocks.engine.live_grants() as u64)
                    .with("cause", "somebody else changed table inet spa")
                    .emit();
            }
            ListenerOrder::NotRestored { text } => {
                self.firewall.note_restored(false);
                self.knocks.record.tally.restores_failed += 1;
                log::event(Level::Error, "firewall-not-restored").with("error", text).emit();
            }
        }
        false
    }

    fn end_reload(&mut self, reloaded: Reloaded) {
        let order = reloaded.order.clone();
        let Self { reloads, knocks, firewall, packets, .. } = self;
        let forced = self.link.any_forces(&order.askers);
        let outcome = reloads.swap_setup(reloaded, forced, knocks, firewall, packets);
        let done = outcome.is_ok();
        match outcome {
            Ok(note) => {
                let clients = knocks.engine.registry().clients() as u64;
                if let Purpose::Try { seconds: trial_s } = order.purpose {
                    let begun = TrialBegun { clients, note, trial_s, trial: order.config };
                    self.trial.note_begun(order.askers, Response::from_body(&begun));
                } else {
                    let response = Response::from_body(&ReloadDone { clients, note });
                    knocks.answer_when_closed(self.link.take_askers(&order.askers), response);
                }
                knocks.answer_replaced();
            }
            Err(failure) => self.refuse_reload(&failure, &order.askers),
        }
        self.link.send_notice(&Notice::Reloaded { config: order.config, done });
    }

    fn refuse_reload(&mut self, why: &Failure, askers: &[u64]) {
        let told = self.reloads.note_refusal(why, &mut self.knocks);
        self.link.answer_askers(askers, &Response::from_failure(&told));
        self.knocks.answer_replaced();
    }

    /// Carries out a command of the control socket and answers it.
    fn run_command(&mut self, PendingRequest { command, by, answer }: PendingRequest) {
        let Self { link, knocks, firewall, limits, .. } = self;
        let now = knocks.now();
        if let Err(failure) = limits.take_command(&command, by, now) {
            let _gone = answer.send(Response::from_failure(&failure));
            return;
        }
        let reply = match command {
            Command::Reload { force } => {
                log::event(Level::Info, "reload-asked").number("by", by).emit();
                if force {
                    return link.ask_forced_reload(answer, by);
                }
                return link.ask_for(answer, |asker| Notice::Reload { asker, by });
            }
            Command::Revoke { client } => match revocation::check_revocation(&client, by) {
                Err(failure) => Response::from_failure(&failure),
                Ok(()) => {
                    log::event(Level::Info, "revoke-asked")
                        .with("client", &client)
                        .number("by", by)
                        .emit();
                    return link.ask_for(answer, |asker| Notice::Revoke { asker, client });
                }
            },
            Command::Try { time_s, session } => {
                self.trial.note_session(session);
                let seconds = time_s.unwrap_or(DEFAULT_TRIAL_S);
                return link.ask_for(answer, |asker| Notice::Try { asker, by, seconds });
            }
            Command::Confirm { session } => match self.trial.check_session(session.as_deref()) {
                Err(failure) => Response::from_failure(&failure),
                Ok(()) => return link.ask_for(answer, |asker| Notice::Confirm { asker, by }),
            },
            Command::Cancel => return link.ask_for(answer, |asker| Notice::Cancel { asker, by }),
            Command::Audit(query) => {
                return knocks.record.audit.query_log(query, move |reply| {
                    let _gone = answer.send(reply);
                });
            }
            Command::Status { brief } => Response::from_outcome(status::report_status(
                brief,
                knocks,
                firewall,
                &self.packets,
                &self.reloads,
                &self.trial,
                self.second_servers.count(),
            )),
            Command::Grants => Response::from_outcome(grants::list_grants(firewall)),
            Command::Open { service, source, ttl_s } => {
                grants::open_grant(knocks, (&service, source, ttl_s), by, answer);
                return knocks.run_actions();
            }
            Command::Close(which) => {
                match grants::choose_grants(firewall, knocks.engine.registry(), &which) {
                    Err(failure) => Response::from_failure(&failure),
                    Ok(chosen) => {
                        let good = grants::describe_closed(&chosen);
                        return knocks.close_for_admin(chosen, by, answer, good);
                    }
                }
            }
            Command::Bans { limit, after } => {
                Response::from_outcome(bans::list_bans(firewall, page_size(limit), after))
            }
            Command::Ban { source, time_s } => {
                Response::from_outcome(bans::ban_source(firewall, limits, &source, time_s, by, now))
            }
            Command::Unban { source, all } => {
                let source = source.as_deref();
                Response::from_outcome(bans::lift_bans(firewall, limits, source, all, by))
            }
            Command::Clients { limit, after } => Response::from_outcome(clients::list_clients(
                knocks,
                page_size(limit),
                after.as_deref(),
            )),
            Command::Explain(request) => Response::from_outcome(explain::explain_knock(
                knocks, firewall, &self.zone, &request,
            )),
            Command::AcceptClock => Response::from_outcome(clock::accept_clock(knocks, by)),
            Command::Metrics => {
                let snapshot = self.collect_figures();
                let text = metrics::text(&snapshot, self.knocks.now().unix_ms);
                Response::from_body(&MetricsText { text })
            }
        };
        // A command that opened may have asked for a durable mark.
        self.knocks.run_actions();
        let _gone = answer.send(reply);
    }
}
