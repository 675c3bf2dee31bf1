//! `spa-client connect`: knock, and a TCP connection on standard input and output.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use spa_keys::{Failure, ServiceProto, exit, printable};
use spa_proto::Op;

use super::renew::renew_if_asked;
use super::stdio;
use crate::cli::ConnectArgs;
use crate::hold;
use crate::knock::{Job, Outcome, spawn_job};
use crate::plan::Plan;
use crate::report::{self, Progress};

/// Time after which the next address is tried beside one that has not answered (RFC 8305 section
/// 5).
const NEXT_ADDRESS_DELAY: Duration = Duration::from_millis(250);

/// Runs `spa-client connect`; returns the exit code.
pub(crate) fn run_connect(args: &ConnectArgs) -> Result<u8, Failure> {
    args.options.check_input_unused()?;
    if args.fdpass {
        stdio::check_can_pass()?;
    }
    let plan = Arc::new(Plan::from_target(&args.target, args.ttl, &args.options)?);
    let [service] = plan.services.as_slice() else {
        return Err(Failure::usage("a connection is to one service: write SERVICE@HOST"));
    };
    let known = plan.line.service(service).filter(|service| service.proto == ServiceProto::Tcp);
    if args.port.is_none() && known.is_none() {
        let message = format!(
            "the enrolment of {} names no TCP port for {service}; name it: spa-client connect \
             {service}@{} PORT",
            plan.host,
            plan.host,
            service = printable(service)
        );
        return Err(Failure::usage(message));
    }
    let progress = Progress::show_knocking(&plan.host, &plan.addresses, plan.timeout);
    let (stream, outcomes) = connect_first(&plan, args.port)?;
    drop(progress);
    let Some(stream) = stream else {
        return Ok(report::report_problems(&plan, &outcomes, Op::Open));
    };
    report::warn_if_not_hidden(&plan, &outcomes);
    // What is typed goes out at once; ssh sets the same on connections of its own.
    let _ = stream.set_nodelay(true);
    if args.fdpass {
        stdio::pass_socket(&stream)?;
        renew_if_asked(&plan, &outcomes, &args.options);
    } else {
        // Beside the connection: when that ends first, the next knock goes on.
        std::thread::scope(|scope| {
            scope.spawn(|| renew_if_asked(&plan, &outcomes, &args.options));
            // The last outcome is that of the connection.
            hold::follow_moves(&plan, outcomes.last(), || stdio::forward_stdio(&stream))
        })?;
    }
    Ok(exit::OK)
}

/// Knocks at the first address, and at the next ones only when that does not lead anywhere soon:
/// what is not used need not be open.
fn connect_first(
    plan: &Arc<Plan>,
    port: Option<u16>,
) -> Result<(Option<TcpStream>, Vec<Outcome>), Failure> {
    let (results, collected) = mpsc::channel();
    let mut waiting: VecDeque<SocketAddr> = plan.addresses.iter().copied().collect();
    let mut begun: Vec<Job> = Vec::new();
    let mut outcomes: Vec<Outcome> = Vec::new();
    while outcomes.len() < plan.addresses.len() {
        if let Some(address) = waiting.pop_front() {
            let job = Job { port, ..Job::new(0, address, Op::Open) };
            begun.push(job.clone());
            spawn_job(plan, job, &results, |_, outcome| outcome)?;
        }
        let next = if waiting.is_empty() {
            collected.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            collected.recv_timeout(NEXT_ADDRESS_DELAY)
        };
        match next {
            Ok(mut one) => {
                let stream = one.stream.take();
                outcomes.push(one);
                if stream.is_some() {
                    begun.iter().for_each(|job| job.cancelled.store(true, Ordering::Relaxed));
                    return Ok((stream, outcomes));
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok((None, outcomes))
}
