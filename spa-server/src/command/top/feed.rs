//! The thread that talks with the server: once a second, and at once after an order.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use spa_keys::Failure;
use tokio::signal::unix::{SignalKind, signal};

use super::super::talk::{Line, Place};
use crate::control::{Answer, Command};

const SECOND: Duration = Duration::from_secs(1);
/// Bans that are shown; a terminal has no room for more.
const BANS: usize = 200;
/// Foreign firewalls are looked at once in so many rounds: that is a walk through all their rules.
const SELDOM: u64 = 10;

/// What the user wants.
pub(super) enum Order {
    Close(String),
    Unban(String),
}

/// What there is to show.
pub(super) enum News {
    /// Status, with the bans beside it as `ban-list`.
    Answer(Value),
    /// An order was carried out, or refused.
    Done(String),
    /// The server does not answer.
    Lost(String),
    /// We are to end.
    Signal,
}

/// Starts the thread, and the one that waits for signals.
pub(super) fn start(place: Place, line: Line) -> std::io::Result<(Sender<Order>, Receiver<News>)> {
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

fn run(place: &Place, line: Line, orders: &Receiver<Order>, news: &Sender<News>) {
    let mut line = Some(line);
    let mut rounds = 0;
    loop {
        let answer = round(place, &mut line, rounds % SELDOM != 0);
        rounds += 1;
        let told = match answer {
            Ok(answer) => news.send(News::Answer(answer)),
            Err(failure) => {
                line = None;
                rounds = 0;
                news.send(News::Lost(failure.to_string()))
            }
        };
        if told.is_err() {
            return;
        }
        let command = match orders.recv_timeout(SECOND) {
            Ok(Order::Close(grant)) => {
                Command::Close { grant: Some(grant), client: None, all: false }
            }
            Ok(Order::Unban(network)) => Command::Unban { source: Some(network), all: false },
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let done = connected(place, &mut line).and_then(|line| line.ask(command));
        if news.send(News::Done(words(done))).is_err() {
            return;
        }
    }
}

fn connected<'a>(place: &Place, line: &'a mut Option<Line>) -> Result<&'a mut Line, Failure> {
    if line.is_none() {
        *line = Some(place.connect()?);
    }
    line.as_mut().ok_or_else(|| Failure::failed("no connection"))
}

fn round(place: &Place, line: &mut Option<Line>, brief: bool) -> Result<Value, Failure> {
    let line = connected(place, line)?;
    let mut status = line.ask(Command::Status { brief })?.body;
    let mut bans = line.ask(Command::Bans { limit: Some(BANS), after: None })?.body;
    status.insert("ban-list".to_owned(), bans.remove("bans").unwrap_or_default());
    Ok(Value::Object(status))
}

/// What came of an order, in few words.
fn words(done: Result<Answer, Failure>) -> String {
    match done {
        Ok(answer) => match answer.body.get("closed").and_then(Value::as_array) {
            Some(closed) => format!("{} closed", closed.len()),
            None => "ban lifted".to_owned(),
        },
        Err(failure) => failure.to_string(),
    }
}
