//! The model of what reaches a port of this host on its whole way: interfaces, other people's rules
//! at every hook, translations, forwarding, our own rules, and who listens. It is built once and
//! answers for each service; what cannot be read is said, and counts for neither answer.

use super::advice::advise_unban;
use super::judged::Judged;
use super::model::HostModel;
use super::view::View;
use crate::domain::ports::{PortRange, ProtoPorts};
use crate::firewall::Rules;
use crate::firewall::reach::{IpFamily, Reach, ReachAnswer, ReachQuestion};

impl HostModel {
    /// Answers for a service, for each family of which this host has an address; of both while it
    /// has none.
    pub(super) fn judge(
        &self,
        rules: &Rules,
        question: &ReachQuestion,
    ) -> Vec<(IpFamily, Judged, Judged)> {
        let families = [(IpFamily::Ipv4, true), (IpFamily::Ipv6, false)];
        let asked = families.into_iter().filter(|(_, v4)| {
            self.source.is_none_or(|source| source.is_ipv4() == *v4)
                && (self.has_address(*v4) || !self.has_address(!*v4))
        });
        asked
            .filter(|(_, v4)| question.to.is_none_or(|to| to.address.is_ipv4() == *v4))
            .map(|(family, v4)| {
                let view = View { model: self, rules, question, v4 };
                (family, view.judge_hidden(), view.judge_reachable())
            })
            .collect()
    }

    /// The same for programs and people.
    pub(in crate::firewall::nftables) fn answer(
        &self,
        rules: &Rules,
        question: &ReachQuestion,
    ) -> Vec<Reach> {
        let row = |(family, hidden, reachable): (IpFamily, Judged, Judged)| Reach {
            service: question.service.clone(),
            family,
            remedy: self.find_remedy(question, &hidden, &reachable),
            not_yet: !question.hides,
            unheard: reachable.unheard,
            hidden: hidden.verdict(),
            reachable: reachable.verdict(),
        };
        self.judge(rules, question).into_iter().map(row).collect()
    }

    fn find_remedy(
        &self,
        question: &ReachQuestion,
        hidden: &Judged,
        reachable: &Judged,
    ) -> Option<String> {
        if hidden.answer == ReachAnswer::No && hidden.stop.is_some() {
            return Some("write hook = \"forward\" in it, with [firewall] interfaces".to_owned());
        }
        let stop = reachable.stop.as_ref().filter(|_| reachable.answer == ReachAnswer::No)?;
        if let Some(command) = self.source.and_then(|source| advise_unban(&stop.by.chain, source)) {
            return Some(command);
        }
        let asked = question.ports.first()?;
        let inner = question.to.and_then(|to| to.port).map(PortRange::one);
        let ports = ProtoPorts { range: inner.unwrap_or(asked.range), ..*asked };
        Some(self.foreign.advise_accept(&stop.base, &ports))
    }
}
