//! The thread that talks with the server: once a second, and at once after an order.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use spa_keys::Failure;
use tokio::signal::unix::{SignalKind, signal};

use super::super::talk::Place;
use crate::control::client::Connection;
use crate::control::rows::{BanList, BanRow, BansLifted, GrantsClosed};
use crate::control::status::ServerStatus;
use crate::control::{CloseRequest, Command};

const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// Bans that are shown; a terminal has no room for more.
const SHOWN_BANS: usize = 200;
/// Foreign firewalls are looked at once in so many rounds: that is a walk through all their rules.
const ROUNDS_PER_OBSTACLE_CHECK: u64 = 10;

/// Order of the user to the server.
pub(super) enum Order {
    Close(String),
    Unban(String),
}

/// News for the screen.
pub(super) enum News {
    /// Status and the first bans.
    Answer(Box<ServerStatus>, Vec<BanRow>),
    /// An order was carried out, or refused.
    Done(String),
    /// The server does not answer.
    Lost(String),
    /// We are to end.
    Signal,
}

/// Starts the thread, and the one that waits for signals.
pub(super) fn start(
    place: Place,
    line: Connection,
) -> std::io::Result<(Sender<Order>, Receiver<News>)> {
    let (orders, inbox) = channel();
    let (news, shown) = channel();
    let told = news.clone();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        // Without them the terminal would stay as it is; the keys work all the same.
        if wait_for_signal().is_ok() {
            let _gone = told.send(News::Signal);
        }
    })?;
    thread::Builder::new()
        .name("feed".to_owned())
        .spawn(move || run(&place, line, &inbox, &news))?;
    Ok((orders, shown))
}

fn wait_for_signal() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut term, mut int) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hup = signal(SignalKind::hangup())?;
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = hup.recv() => {}
        }
        Ok(())
    })
}

fn run(place: &Place, line: Connection, orders: &Receiver<Order>, news: &Sender<News>) {
    let mut line = Some(line);
    let mut rounds = 0;
    loop {
        let answer = round(place, &mut line, rounds % ROUNDS_PER_OBSTACLE_CHECK != 0);
        rounds += 1;
        let told = match answer {
            Ok((status, bans)) => news.send(News::Answer(Box::new(status), bans)),
            Err(failure) => {
                line = None;
                rounds = 0;
                news.send(News::Lost(failure.to_string()))
            }
        };
        if told.is_err() {
            return;
        }
        let order = match orders.recv_timeout(ASK_INTERVAL) {
            Ok(order) => order,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let done = connected(place, &mut line).and_then(|line| carry_out(line, order));
        if news.send(News::Done(done.unwrap_or_else(|failure| failure.to_string()))).is_err() {
            return;
        }
    }
}

fn connected<'a>(
    place: &Place,
    line: &'a mut Option<Connection>,
) -> Result<&'a mut Connection, Failure> {
    if line.is_none() {
        *line = Some(place.connect()?);
    }
    line.as_mut().ok_or_else(|| Failure::failed("no connection"))
}

fn round(
    place: &Place,
    line: &mut Option<Connection>,
    brief: bool,
) -> Result<(ServerStatus, Vec<BanRow>), Failure> {
    let line = connected(place, line)?;
    let status = line.request(Command::Status { brief })?;
    let bans: BanList = line.request(Command::Bans { limit: Some(SHOWN_BANS), after: None })?;
    Ok((status, bans.bans))
}

/// Carries out an order. Answers what came of it, in few words.
fn carry_out(line: &mut Connection, order: Order) -> Result<String, Failure> {
    match order {
        Order::Close(grant) => {
            let request = Command::Close(CloseRequest { grant: Some(grant), ..Default::default() });
            let done: GrantsClosed = line.request(request)?;
            Ok(format!("{} closed", done.closed.len()))
        }
        Order::Unban(network) => {
            line.request::<BansLifted>(Command::Unban { source: Some(network), all: false })?;
            Ok("ban lifted".to_owned())
        }
    }
}
