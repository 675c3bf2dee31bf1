//! Limits of what one user may have done by the control socket. Root has none: it can do all of it
//! without us.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use spa_keys::{Failure, duration};

use crate::control::Command;
use crate::domain::bucket::{Bucket, Rate};
use crate::engine::Now;

/// Commands that change something, each of which may leave lines in the log.
const COMMAND_RATE: Rate = Rate { burst: 64, each: Duration::from_secs(2) };
/// Live grants that a user has opened.
const MAX_GRANTS: usize = 64;
/// Live bans that a user has made.
const MAX_BANS: usize = 1024;

struct UserState {
    commands: Bucket,
    /// Bans and their ends, monotonic.
    bans: HashMap<IpAddr, Duration>,
}

/// Users by number.
#[derive(Default)]
pub(in crate::listener) struct UserLimits(HashMap<u32, UserState>);

impl UserLimits {
    /// Takes one of the user's commands, if it is one that changes something.
    pub(in crate::listener) fn take_command(
        &mut self,
        command: &Command,
        by: u32,
        now: Now,
    ) -> Result<(), Failure> {
        if by == 0
            || !command.changes_something()
            || self.user(by, now).commands.take_token(now.mono)
        {
            return Ok(());
        }
        let pause = duration::format(COMMAND_RATE.each);
        let text = format!("user {by} has sent too many commands: from now on one every {pause}");
        Err(Failure::failed(text))
    }

    /// Checks that the user may have one more grant. `live`: those it has.
    pub(in crate::listener) fn check_grants(by: u32, live: usize) -> Result<(), Failure> {
        if by == 0 || live < MAX_GRANTS {
            return Ok(());
        }
        let text = format!("user {by} has opened {live} live grants: close some first");
        Err(Failure::failed(text))
    }

    /// Checks that the user may ban one more address.
    pub(in crate::listener) fn check_bans(&mut self, by: u32, now: Now) -> Result<(), Failure> {
        let bans = &mut self.user(by, now).bans;
        bans.retain(|_, end| *end > now.mono);
        if by == 0 || bans.len() < MAX_BANS {
            return Ok(());
        }
        let text = format!("user {by} has banned {MAX_BANS} addresses: lift some bans first");
        Err(Failure::failed(text))
    }

    /// Takes note of a ban.
    pub(in crate::listener) fn note_ban(
        &mut self,
        by: u32,
        source: IpAddr,
        time: Duration,
        now: Now,
    ) {
        if by != 0 {
            self.user(by, now).bans.insert(source, now.mono.saturating_add(time));
        }
    }

    /// Takes note that bans were lifted.
    pub(in crate::listener) fn note_lifted(&mut self, lifted: impl Fn(IpAddr) -> bool) {
        for user in self.0.values_mut() {
            user.bans.retain(|source, _| !lifted(*source));
        }
    }

    fn user(&mut self, by: u32, now: Now) -> &mut UserState {
        self.0.entry(by).or_insert_with(|| UserState {
            commands: Bucket::new_full(COMMAND_RATE, now.mono),
            bans: HashMap::new(),
        })
    }
}
