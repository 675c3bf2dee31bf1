//! What comes of the engine's actions, and what must hold at every opening.

use std::collections::HashSet;

use spa_proto::SessionId;
use spa_server::domain::grant::{Grant, GrantId};
use spa_server::engine::{Action, Claim};

use crate::actors::Binding;
use crate::world::{SECOND, Stop, World};

impl World {
    pub fn pump(&mut self) {
        while let Some(action) = self.engine.poll() {
            self.actions += 1;
            let dies = self.crash_in.as_mut().is_some_and(|left| {
                *left = left.saturating_sub(1);
                *left == 0
            });
            self.perform(action, !dies);
            if dies {
                self.crash_in = None;
                self.crashes += 1;
                self.restart(Stop::Crash);
            }
        }
        self.confirm_what_is_heard();
    }

    fn perform(&mut self, action: Action, tell: bool) {
        match action {
            Action::ExpectClaim { ts_ms } => {
                let outcomes = self.store.expect(ts_ms);
                self.tell_claims(outcomes, tell);
            }
            Action::Claim { session, ts_ms } => {
                self.claimed_ms.entry(session).or_insert(self.now.unix_ms);
                let outcomes = self.store.claim(session, ts_ms);
                self.tell_claims(outcomes, tell);
            }
            Action::Open { session, ref grant, ref ends } => {
                self.check_opening(session, grant);
                if self.firewall.held {
                    self.held.push(action);
                    return;
                }
                self.open(session, &grant.clone(), &ends.clone(), tell);
            }
            Action::Close { session, ref grants } => {
                if self.firewall.held {
                    self.held.push(action);
                    return;
                }
                let outcome = self.firewall.close(grants);
                if tell {
                    self.engine.apply_close_outcome(self.now, session, outcome);
                }
            }
            Action::Replace { session, keys } => {
                let outcome = self.files.clone().unwrap_or(Ok(()));
                self.replacements.push(keys);
                if tell {
                    self.engine.apply_replace_outcome(self.now, session, outcome);
                }
            }
            Action::ConfirmKeys { client } => self.seen.push(client.to_string()),
            Action::NoteClockStep(step) => self.clock_steps.push(step),
            Action::NoteServerKey { client, by } => self.key_sightings.push((client, by)),
            Action::Revoke(revoked) => {
                let outcome = self.firewall.close(&[revoked.grant]).map(drop);
                if tell && outcome.is_ok() {
                    self.engine.confirm_revocation(revoked.grant);
                }
                self.revoked.push((revoked.grant.0, revoked.why));
            }
            Action::InSequence { source, .. } => self.in_sequence.push(source),
            Action::Ack { reply_path, bytes } => {
                assert_eq!(reply_path.from.is_ipv4(), reply_path.to.is_ipv4());
                assert!(self.settings.ack, "an ack though acks are off");
                self.heard.push_back((reply_path.to, bytes.clone()));
                self.acks.push((reply_path.to, bytes));
            }
            Action::Log(event) => {
                self.answered.push(self.acks.len());
                self.log.push(event);
            }
        }
    }

    fn tell_claims(&mut self, outcomes: Vec<(SessionId, Claim)>, tell: bool) {
        for (session, claim) in outcomes.into_iter().filter(|_| tell) {
            self.engine.apply_claim(self.now, session, claim);
        }
    }

    fn open(&mut self, session: SessionId, grant: &Grant, ends: &[GrantId], tell: bool) {
        let outcome = self.firewall.open(grant, self.now.mono);
        if outcome.is_ok() {
            self.firewall.close(ends).unwrap();
        }
        if outcome.is_ok() {
            if grant.provisional || !self.confirmed.contains(&(session, grant.source)) {
                self.opened.insert((session, grant.source));
            }
            let of = if grant.provisional { &mut self.provisional } else { &mut self.opens };
            of.push((session, grant.clone()));
        }
        if tell {
            self.engine.apply_open_outcome(self.now, session, outcome);
        }
    }

    fn check_opening(&mut self, session: SessionId, grant: &Grant) {
        let knock = self.made_knock(session);
        self.asked_ms.entry(session).or_insert(self.now.unix_ms);
        assert!(self.store.mark >= knock.session.ts_ms(), "opens before the store refuses it");
        assert!(grant.ttl >= SECOND);
        let confirmed = self.confirmed.contains(&(session, grant.source));
        if grant.provisional || !confirmed {
            let again = self.opened.contains(&(session, grant.source));
            assert!(!again, "{session:?} opens a second time");
            let before = self.opened.iter().filter(|(of, _)| *of == session).count();
            let most = if self.settings.ack { 1 } else { 4 };
            assert!(before < most, "{session:?} opens for more than {before} sources");
        }
        let all = |came: HashSet<usize>| came.len() == knock.stages();
        let of_session = self.came.iter().filter(|((of, _), _)| *of == session);
        assert!(all(of_session.flat_map(|(_, came)| came).copied().collect()), "stages missing");
        let from_it = self.came.get(&(session, grant.source)).cloned().unwrap_or_default();
        match knock.binding {
            Binding::Source(bound) => {
                assert!(bound == grant.source && !grant.provisional && all(from_it));
            }
            Binding::Other(named) => assert!(named == grant.source && !grant.provisional),
            Binding::Sender if grant.provisional || !self.settings.ack => {
                assert!(!from_it.is_empty(), "{} has sent nothing", grant.source);
            }
            Binding::Sender => assert!(confirmed, "{} is not confirmed", grant.source),
        }
    }

    /// The store answers all that it was asked.
    pub fn release_store(&mut self) {
        for mark in self.store.held.take().unwrap_or_default() {
            let outcomes = self.store.write(mark);
            self.tell_claims(outcomes, true);
            self.pump();
        }
    }

    /// The firewall does all that it was asked.
    pub fn release_firewall(&mut self) {
        self.firewall.held = false;
        for action in std::mem::take(&mut self.held) {
            match action {
                Action::Open { session, grant, ends } => self.open(session, &grant, &ends, true),
                Action::Close { session, grants } => {
                    let outcome = self.firewall.close(&grants);
                    self.engine.apply_close_outcome(self.now, session, outcome);
                }
                _ => {}
            }
            self.pump();
        }
    }
}
