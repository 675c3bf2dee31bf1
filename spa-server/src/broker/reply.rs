//! Replies to the listener: the outcome of a request, lists in pages that fit into a message.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};

use crate::firewall::reach::Reach;
use crate::firewall::{Ban, LiveGrant, Obstacle};
use crate::ipc::channel::Channel;
use crate::ipc::message::{ListPage, Reply};

/// Grants in one part of a list: each has up to 256 ranges of ports and two names, less than 2 KB.
const GRANTS_PER_PAGE: usize = 24;
/// Bans in one part of a list, 33 bytes each at most.
const BANS_PER_PAGE: usize = 1024;
/// Obstacles in one part of a list, and characters of each text.
const OBSTACLES_PER_PAGE: usize = 8;
const MAX_OBSTACLE_CHARS: usize = 1024;
/// Characters of each text of an answer about what reaches a service.
const MAX_REACH_CHARS: usize = 256;

/// Outcome of a request that was carried out.
pub(super) enum Outcome {
    Done,
    /// An enforcer answers later, under this number.
    Waits(u64),
    Closed(Option<u64>),
    Grants(Vec<LiveGrant>),
    Bans(Vec<Ban>),
    Obstacles(Vec<Obstacle>),
    Reach(Vec<Reach>),
    Socket(Option<socket2::Socket>),
}

/// Sends the outcome of a request.
///
/// # Errors
/// The listener is gone, or does not read.
pub(super) fn send_outcome(channel: &Channel, outcome: Outcome) -> io::Result<()> {
    let plain: &[BorrowedFd<'_>] = &[];
    match outcome {
        Outcome::Done => channel.send(&Reply::Done, plain),
        Outcome::Waits(ticket) => channel.send(&Reply::Waits(ticket), plain),
        Outcome::Closed(used) => channel.send(&Reply::Closed(used), plain),
        Outcome::Grants(grants) => send_pages(channel, GRANTS_PER_PAGE, grants, Reply::Grants),
        Outcome::Bans(bans) => send_pages(channel, BANS_PER_PAGE, bans, Reply::Bans),
        Outcome::Obstacles(mut obstacles) => {
            for Obstacle { chain, text, .. } in &mut obstacles {
                *chain = chain.chars().take(MAX_OBSTACLE_CHARS).collect();
                *text = text.chars().take(MAX_OBSTACLE_CHARS).collect();
            }
            send_pages(channel, OBSTACLES_PER_PAGE, obstacles, Reply::Obstacles)
        }
        Outcome::Reach(rows) => {
            send_pages(channel, OBSTACLES_PER_PAGE, shorten_rows(rows), Reply::Reach)
        }
        Outcome::Socket(None) => channel.send(&Reply::Socket(false), plain),
        Outcome::Socket(Some(socket)) => channel.send(&Reply::Socket(true), &[socket.as_fd()]),
    }
}

/// Rows with texts of which many fit into a message.
pub(super) fn shorten_rows(mut rows: Vec<Reach>) -> Vec<Reach> {
    for Reach { hidden, reachable, remedy, .. } in &mut rows {
        let remedy = remedy.iter_mut();
        for text in [&mut hidden.why, &mut reachable.why].into_iter().chain(remedy) {
            *text = text.chars().take(MAX_REACH_CHARS).collect();
        }
    }
    rows
}

/// Sends a list in pages of `size` rows; an empty list is one empty page.
fn send_pages<T>(
    channel: &Channel,
    size: usize,
    mut rows: Vec<T>,
    reply: fn(ListPage<T>) -> Reply,
) -> io::Result<()> {
    loop {
        let rest = rows.split_off(size.min(rows.len()));
        let more = !rest.is_empty();
        channel.send(&reply(ListPage { rows, more }), &[])?;
        if !more {
            return Ok(());
        }
        rows = rest;
    }
}
