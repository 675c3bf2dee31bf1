//! Our grants and bans as kept beside the kernel: who shares an element with whom, and
//! what to put back when somebody flushes the table. Deadlines are on the monotonic clock, as
//! the kernel's timers are.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::comment::write_comment;
use super::element_key::{ElementKey, ElementKind, ElementSubject};
use super::elements::Element;
use super::expression::Count;
use super::grant_keys::{HeldGrant, Lane, grant_keys, grant_lanes};
use crate::domain::grant::{Grant, GrantId};
use crate::firewall::deadline_after;

mod wide;

/// An element and those who hold it.
#[derive(Debug, Default)]
struct ElementHolders {
    by: Vec<GrantId>,
    /// Counter when it was last read. It goes with the element through renewals, heirs and a
    /// table that is made anew.
    count: Count,
}

/// Elements to write and to delete for a change.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Elements to write, with their remaining time.
    pub(super) write: Vec<Element>,
    /// Intervals that go away before anything is written, for they may overlap with it.
    pub(super) clear: Vec<ElementKey>,
    /// Elements that nobody holds any more.
    pub(super) delete: Vec<ElementKey>,
    /// Set when nobody is known to hold any of the elements to write.
    pub(super) fresh: bool,
}

impl Plan {
    /// Elements of one set behind one another: they go in one message.
    fn sort(&mut self) {
        self.write.sort_by_key(|e| e.key.order());
        self.clear.sort_by_key(|key| key.order());
        self.delete.sort_by_key(|key| key.order());
    }
}

/// Grants, who shares their elements, and bans.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    grants: BTreeMap<GrantId, HeldGrant>,
    /// Holders of each element.
    holders: HashMap<ElementKey, ElementHolders>,
    /// Holders of stretches of a lane's intervals, and counters of those elements.
    lanes: HashMap<Lane, Vec<GrantId>>,
    wide_counts: HashMap<ElementKey, Count>,
    /// Ends to come, also of grants that were renewed or closed since.
    ends: BinaryHeap<Reverse<(Instant, GrantId)>>,
    bans: HashMap<IpAddr, Instant>,
    /// Most bans per family that are remembered.
    pub(super) ban_limit: usize,
}

impl Ledger {
    /// An empty ledger that remembers at most this many bans per family.
    pub(super) fn new(ban_limit: usize) -> Self {
        Self { ban_limit, ..Self::default() }
    }

    /// A live grant.
    pub(super) fn grant(&self, id: GrantId) -> Option<&HeldGrant> {
        self.grants.get(&id)
    }

    /// All grants, by number.
    pub(super) fn grants(&self) -> impl Iterator<Item = &HeldGrant> {
        self.grants.values()
    }

    /// Enters a grant in the place of an older one with its number.
    pub(super) fn insert_grant(&mut self, grant: Grant, left: Duration, now: Instant) {
        let deadline = deadline_after(now, left);
        let new = grant_keys(&grant);
        let counts: Vec<_> = new.iter().map(|key| (*key, self.recorded_count(*key))).collect();
        self.remove_grant(grant.id);
        for (key, count) in counts {
            self.holders.entry(key).or_default().count = count;
        }
        for key in new {
            self.holders.entry(key).or_default().by.push(grant.id);
        }
        for lane in grant_lanes(&grant) {
            self.lanes.entry(lane).or_default().push(grant.id);
        }
        self.ends.push(Reverse((deadline, grant.id)));
        self.grants.insert(grant.id, HeldGrant { grant, deadline });
    }

    /// Forgets a grant.
    pub(super) fn remove_grant(&mut self, id: GrantId) {
        let Some(held) = self.grants.remove(&id) else { return };
        for key in grant_keys(&held.grant) {
            if let Entry::Occupied(mut holders) = self.holders.entry(key) {
                holders.get_mut().by.retain(|holder| *holder != id);
                if holders.get().by.is_empty() {
                    holders.remove();
                }
            }
        }
        for lane in grant_lanes(&held.grant) {
            if let Entry::Occupied(mut holders) = self.lanes.entry(lane) {
                holders.get_mut().retain(|holder| *holder != id);
                if holders.get().is_empty() {
                    holders.remove();
                    self.wide_counts
                        .retain(|key, _| key.kind != lane.kind || key.first.is_ipv4() != lane.v4);
                }
            }
        }
    }

    /// Forgets what has ended.
    pub(super) fn remove_expired(&mut self, now: Instant) {
        while let Some(Reverse((end, id))) = self.ends.peek().copied()
            && end <= now
        {
            self.ends.pop();
            if self.grants.get(&id).is_some_and(|held| held.deadline <= now) {
                self.remove_grant(id);
            }
        }
    }

    /// Grant that keeps an element longest, besides `except`.
    fn find_heir(
        &self,
        key: ElementKey,
        except: Option<GrantId>,
        now: Instant,
    ) -> Option<&HeldGrant> {
        let holders = self.holders.get(&key)?.by.iter().filter(|id| Some(**id) != except);
        holders
            .filter_map(|id| self.grants.get(id))
            .filter(|h| h.deadline > now)
            .max_by_key(|h| h.deadline)
    }

    /// Plans the opening of a grant. An element that another grant holds longer stays that
    /// grant's; elements that only the grant's older form held go away.
    pub(super) fn plan_open(&self, grant: &Grant, now: Instant) -> Option<Plan> {
        write_comment(grant)?;
        let held = HeldGrant { grant: grant.clone(), deadline: deadline_after(now, grant.ttl) };
        let new = grant_keys(grant);
        let old =
            self.grants.get(&grant.id).map(|held| grant_keys(&held.grant)).unwrap_or_default();
        let fresh = !new.iter().any(|key| self.holders.contains_key(key));
        let mut plan = Plan { fresh, ..Plan::default() };
        for key in new.iter().copied() {
            let longer = self
                .find_heir(key, Some(grant.id), now)
                .filter(|heir| heir.deadline > held.deadline);
            let owner = match longer {
                // The older form may have been the one that held it.
                Some(heir) if old.binary_search(&key).is_ok() => heir,
                Some(_) => continue,
                None => &held,
            };
            plan.write.extend(self.make_element(key, owner, self.recorded_count(key), now));
        }
        for key in old.into_iter().filter(|key| new.binary_search(key).is_err()) {
            self.release_element(&mut plan, key, grant.id, now);
        }
        self.plan_lanes(&mut plan, grant.id, Some(&held), now);
        plan.sort();
        Some(plan)
    }

    /// Plans the end of a grant: its elements go to the heirs or away.
    pub(super) fn plan_close(&self, id: GrantId, now: Instant) -> Plan {
        let mut plan = Plan::default();
        for key in self.grants.get(&id).map(|held| grant_keys(&held.grant)).unwrap_or_default() {
            self.release_element(&mut plan, key, id, now);
        }
        self.plan_lanes(&mut plan, id, None, now);
        plan.sort();
        plan
    }

    /// Plans what changes in the interval sets when the grant with this number becomes `new`, or
    /// ends: nothing when it is and was no wide one.
    fn plan_lanes(&self, plan: &mut Plan, id: GrantId, new: Option<&HeldGrant>, now: Instant) {
        let forms = [self.grant(id), new];
        let lanes: BTreeSet<Lane> =
            forms.into_iter().flatten().flat_map(|held| grant_lanes(&held.grant)).collect();
        for lane in lanes {
            self.plan_lane(plan, lane, id, new, now);
        }
    }

    fn release_element(&self, plan: &mut Plan, key: ElementKey, id: GrantId, now: Instant) {
        match self.find_heir(key, Some(id), now) {
            Some(heir) => {
                plan.write.extend(self.make_element(key, heir, self.recorded_count(key), now))
            }
            None => plan.delete.push(key),
        }
    }

    /// An element in the name of a grant, as long as that still runs.
    pub(super) fn make_element(
        &self,
        key: ElementKey,
        held: &HeldGrant,
        count: Count,
        now: Instant,
    ) -> Option<Element> {
        let left = held.deadline.checked_duration_since(now).filter(|left| !left.is_zero())?;
        let ttl = held.grant.ttl.max(left);
        Some(Element { key, ttl, left, comment: write_comment(&held.grant)?, count })
    }

    /// Elements of a grant that count and that anybody holds.
    pub(super) fn list_counted_keys(&self, grant: &Grant, now: Instant) -> Vec<ElementKey> {
        let held = |key: &ElementKey| key.kind.counts() && self.holders.contains_key(key);
        let mut out: Vec<_> = grant_keys(grant).into_iter().filter(held).collect();
        let lanes = grant_lanes(grant).into_iter().filter(|lane| lane.kind.counts());
        out.extend(lanes.flat_map(|lane| self.list_stretches(lane, grant, now)));
        out
    }

    /// Takes over what the kernel's counters say.
    pub(super) fn record_counts(&mut self, counts: impl IntoIterator<Item = (ElementKey, Count)>) {
        for (key, count) in counts {
            if key.set().is_wide() {
                self.wide_counts.insert(key, count);
            } else if let Some(shared) = self.holders.get_mut(&key) {
                shared.count = count;
            }
        }
    }

    fn recorded_count(&self, key: ElementKey) -> Count {
        self.holders.get(&key).map_or_else(Count::default, |shared| shared.count)
    }

    /// True if any live grant lets packets of known flows of a source in, for one of these things.
    pub(super) fn lets_in(
        &self,
        source: IpAddr,
        subjects: &[ElementSubject],
        now: Instant,
    ) -> bool {
        let narrow = |subject: &ElementSubject| {
            let kind = ElementKind { subject: *subject, flow: true };
            let key = ElementKey { kind, first: source, last: source };
            self.find_heir(key, None, now).is_some()
        };
        let wide = |(lane, ids): (&Lane, &Vec<GrantId>)| {
            let held = || {
                ids.iter().filter_map(|id| self.grants.get(id)).filter(|held| held.deadline > now)
            };
            lane.kind.flow
                && subjects.contains(&lane.kind.subject)
                && held().any(|h| h.grant.network().contains(&source))
        };
        subjects.iter().any(narrow) || self.lanes.iter().any(wide)
    }

    /// Every element that must exist for the live grants.
    pub(super) fn list_elements(&self, now: Instant) -> Vec<Element> {
        let narrow = |key: &ElementKey| {
            self.make_element(
                *key,
                self.find_heir(*key, None, now)?,
                self.recorded_count(*key),
                now,
            )
        };
        let mut out: Vec<_> = self.holders.keys().filter_map(narrow).collect();
        out.extend(self.list_wide_elements(now));
        out.sort_by_key(|e| e.key.order());
        out
    }

    /// Remembers a ban, if there is room. The kernel's set has the same bound, so what does not fit
    /// here did not fit there either.
    pub(super) fn record_ban(&mut self, source: IpAddr, time: Duration, now: Instant) {
        let source = ElementKey::ban(source).first;
        let full = |bans: &HashMap<IpAddr, Instant>| {
            // Counted only near the bound: a flood of hits must not cost a walk each.
            bans.len() >= self.ban_limit
                && bans.keys().filter(|b| b.is_ipv4() == source.is_ipv4()).count() >= self.ban_limit
        };
        if !self.bans.contains_key(&source) && full(&self.bans) {
            self.bans.retain(|_, end| *end > now);
            if full(&self.bans) {
                return;
            }
        }
        self.bans.insert(source, deadline_after(now, time));
    }

    /// Takes over the kernel's bans; beyond the limit, those that end last are remembered.
    pub(super) fn adopt_bans(
        &mut self,
        bans: impl Iterator<Item = (IpAddr, Duration)>,
        now: Instant,
    ) {
        self.bans.extend(
            bans.map(|(source, left)| (ElementKey::ban(source).first, deadline_after(now, left))),
        );
        if self.bans.len() > self.ban_limit {
            let keep = self.list_bans(now);
            self.bans = keep
                .into_iter()
                .filter_map(|e| Some((e.key.banned()?, deadline_after(now, e.left))))
                .collect();
        }
    }

    /// Forgets a ban.
    pub(super) fn remove_ban(&mut self, source: IpAddr) {
        self.bans.remove(&ElementKey::ban(source).first);
    }

    /// The bans that still run, as elements; of each family no more than the limit, the longest.
    pub(super) fn list_bans(&self, now: Instant) -> Vec<Element> {
        let mut out: Vec<_> = self
            .bans
            .iter()
            .filter_map(|(source, end)| {
                let left = end.checked_duration_since(now).filter(|left| !left.is_zero())?;
                Some(Element::new(ElementKey::ban(*source), left))
            })
            .collect();
        out.sort_by_key(|e| (e.key.set_name(), Reverse(e.left)));
        out.chunk_by(|a, b| a.key.set_name() == b.key.set_name())
            .flat_map(|family| family.iter().take(self.ban_limit).cloned())
            .collect()
    }
}
