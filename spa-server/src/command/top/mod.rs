//! `spa-server top`: the running server on a terminal.
//!
//! What is known is in `state.rs` and asks nobody, what is seen in `view.rs`, and `feed.rs` talks
//! with the server on a thread of its own: a server that stalls does not keep the keys from
//! working.

mod feed;
mod state;
#[cfg(test)]
mod tests;
mod view;

use std::io::IsTerminal;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use clap::Args;
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::DefaultTerminal;
use spa_keys::{Failure, exit};

use super::talk::Place;
use feed::{News, Order};
use state::{Key, TopState, Wish};

/// Time between two redraws of the countdowns.
const FRAME_INTERVAL: Duration = Duration::from_millis(250);

/// Watch grants, bans and knocks on the terminal
#[derive(Debug, Args)]
#[command(after_help = "Keys: c closes a grant, u lifts a ban.\n\nExample:\n  spa-server top")]
pub(super) struct TopArgs {
    /// Without colours, as with the variable NO_COLOR
    #[arg(long)]
    no_color: bool,
    #[command(flatten)]
    config: super::ConfigArg,
}

impl TopArgs {
    /// Draws until the user quits; fails where there is no terminal or no server.
    pub(super) fn run(self) -> Result<(), Failure> {
        let place = Place::of(&self.config);
        // Before the screen changes: what is wrong is said where it stays.
        let line = place.connect()?;
        if !std::io::stdout().is_terminal() || !std::io::stdin().is_terminal() {
            return Err(Failure::new(
                exit::USAGE,
                "top needs a terminal; without one: spa-server status --json",
            ));
        }
        // https://no-color.org: set, and not to nothing.
        let plain =
            self.no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let (orders, news) = feed::start(place, line)?;
        // Also puts the terminal back when something panics.
        let mut terminal = ratatui::try_init()?;
        let ended = show(&mut terminal, plain, &orders, &news);
        ratatui::restore();
        ended
    }
}

/// Until `q`, a signal, or a terminal that is gone.
fn show(
    terminal: &mut DefaultTerminal,
    plain: bool,
    orders: &Sender<Order>,
    news: &Receiver<News>,
) -> Result<(), Failure> {
    let mut state = TopState::default();
    let origin = Instant::now();
    loop {
        for news in news.try_iter() {
            match news {
                News::Answer(status, bans) => state.update(origin.elapsed(), status, &bans),
                News::Done(words) => state.show_message(words),
                News::Lost(why) => state.lose(why),
                News::Signal => return Ok(()),
            }
        }
        state.advance_to(origin.elapsed());
        terminal.draw(|frame| view::draw(frame, &state, plain))?;
        if !event::poll(FRAME_INTERVAL)? {
            continue;
        }
        // Anything else, as a new size, is seen by drawing anew.
        let Event::Key(pressed) = event::read()? else { continue };
        let Some(key) = key(pressed) else { continue };
        let order = match state.key(key) {
            None => continue,
            Some(Wish::Quit) => return Ok(()),
            Some(Wish::Close(grant)) => Order::Close(grant),
            Some(Wish::Unban(network)) => Order::Unban(network),
        };
        // The other end is gone only with the process.
        let _gone = orders.send(order);
    }
}

fn key(pressed: KeyEvent) -> Option<Key> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    if pressed.modifiers.contains(KeyModifiers::CONTROL) {
        return (pressed.code == KeyCode::Char('c')).then_some(Key::Quit);
    }
    Some(match pressed.code {
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::Char('c') => Key::Close,
        KeyCode::Char('u') => Key::Unban,
        KeyCode::Char('y') => Key::Yes,
        KeyCode::Char('n') | KeyCode::Esc => Key::No,
        KeyCode::Char('q') => Key::Quit,
        _ => return None,
    })
}
