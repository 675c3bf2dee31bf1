//! Grants on their way into the audit record.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use spa_keys::{UnixMillis, whole_millis};

use crate::control::Response;
use crate::domain::bucket::{Bucket, Rate};
use crate::domain::grant::GrantId;
use crate::engine::{Event, Now};
use crate::firewall::{Firewall, LiveGrant};
use crate::log::{self, Level};
use crate::store::audit::{AuditLog, AuditQuery, End, EndedBy, Entry, Limits};

/// A grant's use is read from the kernel so long before its end.
const BEFORE_THE_END: Duration = Duration::from_millis(2500);
/// With so many live grants, the kernel is asked one second less often for each more of them.
const MANY_LIVE_GRANTS: usize = 2000;

/// Grants of one holder that get an entry, and the time for one more: whoever opens and closes
/// without a pause must not push the entries of others out.
const ENTRY_RATE: Rate = Rate { burst: 128, each: Duration::from_secs(120) };

/// A live grant and its entry.
struct AuditedGrant {
    entry: Entry,
    /// It has an entry on the disk.
    recorded: bool,
    /// When the kernel's timer ends it, monotonic.
    until: Duration,
    /// Uses before the kernel's counter began anew, as it does when the element is made anew.
    before: u64,
    /// The kernel's counter at the last look.
    last: Option<u64>,
}

impl AuditedGrant {
    fn note_used(&mut self, used: u64) {
        if let Some(last) = self.last.filter(|last| used < *last) {
            self.before += last;
        }
        self.last = Some(used);
        self.entry.used = Some(self.before.saturating_add(used));
    }
}

/// The live grants, and the thread that writes about them.
pub(super) struct AuditRecorder {
    log: AuditLog,
    held: BTreeMap<GrantId, AuditedGrant>,
    /// The next look at the kernel's counters, monotonic.
    look: Duration,
    /// Entries of clients, and of users of the control socket.
    shares: HashMap<(Arc<str>, Option<u32>), Share>,
    /// Grants without an entry since the start.
    left_out: u64,
}

/// Entries of one holder.
struct Share {
    entries: Bucket,
    /// Grants without an entry since its last one.
    left_out: u64,
}

impl AuditRecorder {
    /// Opens the record. `live`: what the kernel has open at this start. What the last run left
    /// open and the kernel has no more ended meanwhile, nobody saw how.
    pub(super) fn start(
        folder: &Path,
        limits: Limits,
        live: &[LiveGrant],
        now: Now,
    ) -> std::io::Result<Self> {
        let (log, left) = AuditLog::start(folder, limits, || UnixMillis::now().as_millis())?;
        let mut left: BTreeMap<GrantId, Entry> =
            left.into_iter().map(|entry| (entry.grant, entry)).collect();
        let mut held = BTreeMap::new();
        for one in live {
            let grant = &one.grant;
            let known = left.get(&grant.id).is_some_and(|entry| {
                *entry.client == *grant.client && *entry.service == *grant.service
            });
            let mut entry =
                if known { left.remove(&grant.id) } else { None }.unwrap_or_else(|| Entry {
                    grant: grant.id,
                    client: grant.client.to_string(),
                    opened_by: None,
                    service: grant.service.to_string(),
                    network: grant.network(),
                    opened_ms: now
                        .unix_ms
                        .saturating_sub(whole_millis(grant.ttl.saturating_sub(one.left))),
                    until_ms: 0,
                    asked_s: None,
                    ttl_s: grant.ttl.as_secs(),
                    renewed: 0,
                    used: None,
                    left_out: 0,
                    end: None,
                });
            entry.until_ms = now.unix_ms.saturating_add(whole_millis(one.left));
            log.put(entry.clone());
            let until = now.mono.saturating_add(one.left);
            let one = AuditedGrant { entry, recorded: true, until, before: 0, last: None };
            held.insert(grant.id, one);
        }
        for mut entry in left.into_values() {
            let ended_ms = entry.until_ms.min(now.unix_ms);
            entry.end = Some(End { ended_ms, ended_by: EndedBy::Unknown });
            log.put(entry);
        }
        let (shares, look) = (HashMap::new(), Duration::ZERO);
        Ok(Self { log, held, look, shares, left_out: 0 })
    }

    /// A grant was opened or renewed.
    pub(super) fn note_opened(&mut self, now: Now, event: &Event) {
        let (Some(grant), Some(network), Some(ttl), Some(service)) =
            (event.grant, event.network, event.ttl, &event.service)
        else {
            return log::report_internal_errors("a grant without its parts", 1);
        };
        let renewed = self.held.remove(&grant);
        let share = if renewed.is_none() { self.take_entry(now, event) } else { None };
        let mut held = renewed.unwrap_or_else(|| AuditedGrant {
            recorded: share.is_some(),
            entry: Entry {
                grant,
                client: event.client.to_string(),
                opened_by: event.by,
                service: service.to_string(),
                network,
                opened_ms: now.unix_ms,
                until_ms: 0,
                asked_s: None,
                ttl_s: 0,
                renewed: 0,
                used: None,
                left_out: share.unwrap_or_default(),
                end: None,
            },
            until: now.mono,
            before: 0,
            last: None,
        });
        if held.entry.until_ms > 0 {
            held.entry.renewed = held.entry.renewed.saturating_add(1);
        }
        held.entry.until_ms = now.unix_ms.saturating_add(whole_millis(ttl));
        held.entry.asked_s = event.asked.map(|asked| asked.as_secs());
        held.entry.ttl_s = ttl.as_secs();
        held.until = now.mono.saturating_add(ttl);
        if held.recorded {
            self.log.put(held.entry.clone());
        }
        self.held.insert(grant, held);
    }

    /// Takes an entry of whoever holds the grant; how many grants before it have none. Root has as
    /// many as it likes.
    fn take_entry(&mut self, now: Now, event: &Event) -> Option<u64> {
        if event.by == Some(0) {
            return Some(0);
        }
        if self.shares.len() >= MANY_LIVE_GRANTS {
            self.shares.retain(|_, share| share.left_out > 0 || !share.entries.is_full(now.mono));
        }
        let new = || Share { entries: Bucket::new_full(ENTRY_RATE, now.mono), left_out: 0 };
        let share = self.shares.entry((Arc::clone(&event.client), event.by)).or_insert_with(new);
        if share.entries.take_token(now.mono) {
            return Some(std::mem::take(&mut share.left_out));
        }
        share.left_out += 1;
        self.left_out += 1;
        None
    }

    /// Live grants that a user of the control socket has opened.
    pub(super) fn count_opened_by(&self, uid: u32) -> usize {
        self.held.values().filter(|held| held.entry.opened_by == Some(uid)).count()
    }

    /// A grant was closed. `used`: its counter, which has gone with it.
    pub(super) fn note_closed(&mut self, now: Now, grant: GrantId, by: EndedBy, used: Option<u64>) {
        if let Some(mut held) = self.held.remove(&grant) {
            used.into_iter().for_each(|used| held.note_used(used));
            self.end(held, now.unix_ms, by);
        }
    }

    /// Once a second: reads the counters of what ends soon, and notes what has ended.
    pub(super) fn tick(&mut self, now: Now, firewall: &mut dyn Firewall) {
        let pause = Duration::from_secs(1 + (self.held.len() / MANY_LIVE_GRANTS) as u64);
        let soon = now.mono.saturating_add(BEFORE_THE_END + pause);
        let soon = self.held.values().any(|held| held.until <= soon && held.until > now.mono);
        if soon && now.mono >= self.look {
            self.look = now.mono.saturating_add(pause);
            self.read_uses(firewall);
        }
        let over = |held: &AuditedGrant| held.until <= now.mono;
        let ended: Vec<GrantId> =
            self.held.iter().filter(|(_, held)| over(held)).map(|(id, _)| *id).collect();
        for held in ended.iter().filter_map(|id| self.held.remove(id)).collect::<Vec<_>>() {
            let ended_ms = held.entry.until_ms.min(now.unix_ms);
            log::event(Level::Info, "expired")
                .with("client", &held.entry.client)
                .with("service", &held.entry.service)
                .with("network", held.entry.network)
                .with("grant", held.entry.grant)
                .emit();
            self.end(held, ended_ms, EndedBy::Expired);
        }
    }

    fn read_uses(&mut self, firewall: &mut dyn Firewall) {
        // A firewall that does not answer says so elsewhere; the record then has what was seen
        // last.
        self.note_uses(&firewall.grants().unwrap_or_default());
    }

    /// The kernel's counters at this moment.
    fn note_uses(&mut self, live: &[LiveGrant]) {
        for live in live {
            if let (Some(held), Some(used)) = (self.held.get_mut(&live.grant.id), live.used) {
                held.note_used(used);
            }
        }
    }

    fn end(&self, held: AuditedGrant, ended_ms: u64, ended_by: EndedBy) {
        if held.recorded {
            self.log.put(Entry { end: Some(End { ended_ms, ended_by }), ..held.entry });
        }
    }

    /// Limits how much is kept from now on.
    pub(super) fn set_limits(&self, limits: Limits) {
        self.log.limit(limits);
    }

    /// Entries lost since the start, and grants without one.
    pub(super) fn lost_entries(&self) -> (u64, u64) {
        (self.log.lost(), self.left_out)
    }

    /// Answers a question about the record, when its thread has looked.
    pub(super) fn query_log(
        &self,
        query: AuditQuery,
        answer: impl FnOnce(Response) + Send + 'static,
    ) {
        self.log.ask(query, Box::new(|page| answer(Response::from_outcome(page))));
    }

    /// A clean stop: the grants stay open, their use so far is noted.
    pub(super) fn stop(mut self, firewall: &mut dyn Firewall) {
        if !self.held.is_empty() {
            self.read_uses(firewall);
            let recorded = self.held.values().filter(|held| held.recorded);
            recorded.for_each(|held| self.log.put(held.entry.clone()));
        }
        self.log.stop();
    }
}
