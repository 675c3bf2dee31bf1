//! Number and rate of the grants that the listener may ask for, and the line about each: what a
//! compromised one opens in a client's name is bounded, and seen.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::bucket::{Bucket, Rate};
use crate::domain::grant::{ADMIN_NAME, Grant, GrantId};
use crate::firewall::LiveGrant;
use crate::ipc::message::RequestError;
use crate::log::{self, Level, LineBudget};

/// Grants of one client: what its sessions can bring about, from home and from elsewhere
/// (`engine/cache.rs`), each with the CONFIRM of it.
const CLIENT_RATE: Rate = Rate { burst: 512, each: Duration::from_millis(25) };
/// Grants of all administrators.
const ADMIN_RATE: Rate = Rate { burst: 2048, each: Duration::from_secs(1) };
/// Grants of all administrators that live at a time.
pub(super) const MAX_ADMIN_GRANTS: usize = 2048;
/// Grants of one client that nobody has confirmed: they count for no limit of the client's.
const MAX_PROVISIONAL_GRANTS: usize = 512;
/// The listener's clock for the end of a grant was read before ours.
const END_SLACK: Duration = Duration::from_secs(1);

struct CountedGrant {
    end: Instant,
    provisional: bool,
}

struct ClientUse {
    live: HashMap<GrantId, CountedGrant>,
    grants: Bucket,
    lines: LineBudget,
}

/// Grants by client.
pub(super) struct GrantLimits {
    started: Instant,
    of: HashMap<Arc<str>, ClientUse>,
    owners: HashMap<GrantId, Arc<str>>,
    /// Next time at which clients without a grant are forgotten.
    sweep: Instant,
}

impl GrantLimits {
    /// Begins with what is open already.
    pub(super) fn adopt_grants(live: &[LiveGrant]) -> Self {
        let started = Instant::now();
        let mut this = Self { started, of: HashMap::new(), owners: HashMap::new(), sweep: started };
        for LiveGrant { grant, left, .. } in live {
            this.note_live(grant, *left);
        }
        this
    }

    /// Takes one of the client's tokens for a grant that `ends` others. `most`: how many confirmed
    /// ones it may have.
    pub(super) fn take_grant(
        &mut self,
        grant: &Grant,
        ends: &[GrantId],
        most: usize,
    ) -> Result<(), RequestError> {
        let now = self.started.elapsed();
        let used = self.client_use(&grant.client);
        let soon = Instant::now() + END_SLACK;
        let stays = |id: &GrantId, entry: &CountedGrant| {
            entry.end > soon && *id != grant.id && !ends.contains(id)
        };
        used.live.retain(|id, entry| stays(id, entry));
        let provisional = used.live.values().filter(|entry| entry.provisional).count();
        let (live, most) = if grant.provisional {
            (provisional, MAX_PROVISIONAL_GRANTS)
        } else {
            (used.live.len() - provisional, most)
        };
        if live >= most {
            let text = format!("{} has {live} live grants", grant.client);
            return Err(RequestError::Refused(text));
        }
        if !used.grants.take_token(now) {
            // A client of ours that is malicious can bring this about, through an honest listener.
            let text = format!("too many grants of {} in so short a time", grant.client);
            return Err(RequestError::TooLate(text));
        }
        Ok(())
    }

    /// Takes note of a grant that was opened: one line, as long as the client has lines left.
    pub(super) fn note_opened(&mut self, grant: &Grant) {
        self.note_live(grant, grant.ttl);
        let now = self.started.elapsed();
        let Some(left_out) = self.client_use(&grant.client).lines.take_line(now) else { return };
        log::event(Level::Info, "opened")
            .with("grant", grant.id)
            .with("client", &grant.client)
            .with("service", &grant.service)
            .with("network", grant.network())
            .with("ttl", format_args!("{}s", grant.ttl.as_secs()))
            .maybe("provisional", grant.provisional.then_some("yes"))
            .left_out(left_out)
            .emit();
    }

    /// Takes note that a grant was closed.
    pub(super) fn note_closed(&mut self, id: GrantId) {
        let client = self.owners.remove(&id);
        if let Some(used) = client.and_then(|client| self.of.get_mut(&client)) {
            used.live.remove(&id);
        }
    }

    /// Whose grant it is.
    pub(super) fn owner(&self, id: GrantId) -> Option<Arc<str>> {
        self.owners.get(&id).map(Arc::clone)
    }

    fn note_live(&mut self, grant: &Grant, left: Duration) {
        let entry = CountedGrant {
            end: Instant::now() + left.min(Duration::from_secs(u32::MAX.into())),
            provisional: grant.provisional,
        };
        self.client_use(&grant.client).live.insert(grant.id, entry);
        self.owners.insert(grant.id, Arc::clone(&grant.client));
    }

    fn client_use(&mut self, client: &Arc<str>) -> &mut ClientUse {
        let (now, mono) = (Instant::now(), self.started.elapsed());
        if now >= self.sweep {
            // Their buckets are full again by then.
            self.sweep = now + Duration::from_secs(600);
            self.of.retain(|_, used| {
                used.live.retain(|_, entry| entry.end > now);
                !used.live.is_empty() || !used.grants.is_full(mono)
            });
            let of = &self.of;
            self.owners
                .retain(|id, client| of.get(client).is_some_and(|used| used.live.contains_key(id)));
        }
        self.of.entry(Arc::clone(client)).or_insert_with(|| {
            let rate = if **client == *ADMIN_NAME { ADMIN_RATE } else { CLIENT_RATE };
            let grants = Bucket::new_full(rate, mono);
            ClientUse { live: HashMap::new(), grants, lines: LineBudget::of_peer(mono) }
        })
    }
}
