//! What every firewall can do, done by this one.

use super::*;

impl Firewall for Nftables {
    fn name(&self) -> &'static str {
        "nftables"
    }

    fn restore(&mut self) -> Result<(), FirewallError> {
        Nftables::restore(self)
    }

    fn note_ban(&mut self, source: IpAddr, time: Duration) {
        Nftables::note_ban(self, source, time);
    }

    fn install(&mut self, rules: &Rules) -> Result<(), FirewallError> {
        self.put(rules, false)?;
        self.rules = Some(rules.clone());
        Ok(())
    }

    fn difference(&mut self, rules: &Rules) -> Result<Option<String>, FirewallError> {
        verify::difference(&mut self.netlink, rules, self.fib).map_err(refused)
    }

    fn remove(&mut self) -> Result<(), FirewallError> {
        self.transact(|batch| {
            build::new_table(batch);
            build::drop_table(batch);
        })
        .map_err(refused)?;
        self.rules = None;
        self.ledger = Ledger::new(self.ledger.ban_limit);
        Ok(())
    }

    fn open(&mut self, grant: &Grant) -> Result<(), FirewallError> {
        let now = Instant::now();
        self.ledger.prune(now);
        // Looked up, not deleted on a guess with the add+delete idiom: whoever fills the ban set
        // with forged addresses would make that add fail, and with it every grant.
        let ban = Key::ban(grant.source);
        let is_banned = read::holds(&mut self.netlink, ban).map_err(refused)?;
        if is_banned && self.strict() {
            return Err(FirewallError::Banned(grant.source));
        }
        self.recount(grant).map_err(refused)?;
        let mut plan = self.ledger.plan_open(grant, now).ok_or_else(|| {
            FirewallError::Other(format!(
                "names too long or with spaces: client `{}`, service `{}`",
                grant.client, grant.service
            ))
        })?;
        plan.delete.extend(is_banned.then_some(ban));
        self.healing(|this| this.carry_out(&plan))?;
        if is_banned {
            self.ledger.unban(grant.source);
        }
        self.ledger.enter(grant.clone(), grant.ttl, now);
        Ok(())
    }

    fn close(&mut self, id: GrantId) -> Result<(), FirewallError> {
        let now = Instant::now();
        self.ledger.prune(now);
        if self.ledger.grant(id).is_none() {
            self.adopt()?;
        }
        if let Some(held) = self.ledger.grant(id).map(|held| held.grant.clone()) {
            self.recount(&held).map_err(refused)?;
        }
        let plan = self.ledger.plan_close(id, now);
        match self.carry_out(&plan) {
            // Without a table nothing is open; the watcher must not put this one back.
            Err(e) if e.errno() == libc::ENOENT => (),
            other => other.map_err(refused)?,
        }
        self.ledger.strike(id);
        self.end_flows(&plan).map_err(refused)
    }

    fn in_sequence(&mut self, source: IpAddr, ttl: Duration) -> Result<(), FirewallError> {
        let mark = [Element::new(Key::new(What::Sequence, source), ttl)];
        self.healing(|this| this.transact(|batch| elements::replace(batch, &mark)))
    }

    fn grants(&mut self) -> Result<Vec<LiveGrant>, FirewallError> {
        let now = Instant::now();
        self.ledger.prune(now);
        let (found, counts) =
            read::grants(&mut self.netlink, &self.ledger, now).map_err(refused)?;
        self.ledger.take_counts(counts);
        Ok(found)
    }

    fn ban(&mut self, source: IpAddr, time: Duration) -> Result<(), FirewallError> {
        let never =
            self.rules.iter().flat_map(|rules| &rules.never_ban).find(|net| net.contains(&source));
        if let Some(net) = never {
            return Err(FirewallError::Other(format!(
                "{source} is in {net}, which is never banned"
            )));
        }
        let ban = [Element::new(Key::ban(source), time)];
        self.healing(|this| this.transact(|batch| elements::replace(batch, &ban)))?;
        self.ledger.ban(source, time, Instant::now());
        Ok(())
    }

    fn unban(&mut self, source: IpAddr) -> Result<(), FirewallError> {
        self.carry_out(&Plan { delete: vec![Key::ban(source)], ..Plan::default() })
            .map_err(refused)?;
        self.ledger.unban(source);
        Ok(())
    }

    fn bans(&mut self) -> Result<Vec<Ban>, FirewallError> {
        self.adopt_bans()
    }

    fn obstacles(&mut self) -> Result<Vec<Obstacle>, FirewallError> {
        obstacles::find(&mut self.netlink, self.rules.as_ref()).map_err(refused)
    }
}
