//! Other people's chains, read well enough to say what becomes of the first packet to a port.
//!
//! Only what is certain counts: a rule that asks something we cannot know beforehand (a source, an
//! interface, an iptables match) is passed over, whatever it would do.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::abi::{self, chain, element, msg, rule};
use crate::domain::ports::Protocol;
use crate::firewall::netlink::message::{DUMP, single};
use crate::firewall::netlink::{Attrs, Message, NetlinkError, NetlinkSocket};

/// Jumps followed before we give up; the kernel's own bound (`NFT_JUMP_STACK_SIZE`).
const DEPTH: usize = 16;
/// `NFT_PAYLOAD_TRANSPORT_HEADER`
const TRANSPORT: u32 = 2;
/// TCP SYN flag, and the offset of the flags in the header (RFC 9293 §3.1).
const SYN: u8 = 0x02;
const TCP_FLAGS: u32 = 13;
/// `NF_CT_STATE_BIT(IP_CT_NEW)`
const CT_NEW: u32 = 8;
/// `NFT_GOTO`
const GOTO: i32 = -4;
/// `NFTA_RULE_HANDLE`
const HANDLE: u16 = 3;

/// Family, table and name of a chain or set.
type Name = (u8, String, String);
/// The keys of a set, ascending; true marks the end of an interval.
type Keys = Vec<(Vec<u8>, bool)>;

/// A base chain that packets for this host, or for those behind it, meet.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) name: Name,
    pub(super) drops: bool,
    /// `NF_INET_*`
    pub(super) hook: u32,
}

/// The first packet of a flow to one of our ports.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet {
    /// `NFPROTO_IPV4` or `NFPROTO_IPV6`
    pub(super) family: u8,
    pub(super) protocol: Protocol,
    pub(super) port: u16,
}

/// What a rule or chain does with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Accepted,
    /// By this rule; by the policy when there is none.
    Dropped(Option<Place>),
    Undecided,
}

/// Where a rule stands, as `nft -a list ruleset` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) chain: String,
    pub(super) handle: u64,
}

/// What one rule says.
enum Says {
    Nothing,
    Ends(Fate),
    Returns,
    Goes { to: String, back: bool },
}

/// All foreign rules of the families that meet incoming IP packets.
#[derive(Debug)]
pub(super) struct Foreign {
    pub(super) bases: Vec<Base>,
    /// Handle and expressions of each rule.
    rules: HashMap<Name, Vec<(u64, Vec<u8>)>>,
    sets: HashMap<Name, Keys>,
}

impl Foreign {
    /// Reads them.
    pub(super) fn read(netlink: &mut NetlinkSocket) -> Result<Self, NetlinkError> {
        let request = single(msg::GET_CHAIN, DUMP, 0, 0, |_| ());
        let bases = netlink.dump("chains", &request, |m, out| out.extend(base(m)))?;
        let mut this = Self { bases, rules: HashMap::new(), sets: HashMap::new() };
        if this.bases.is_empty() {
            return Ok(this);
        }
        let request = single(msg::GET_RULE, DUMP, 0, 0, |_| ());
        let rules = netlink.dump("rules", &request, |m, out| {
            let expressions = m.attrs().get(rule::EXPRESSIONS).unwrap_or_default();
            let handle = m.attrs().u64(HANDLE).unwrap_or_default();
            out.extend(named(m, rule::CHAIN).map(|name| (name, handle, expressions.to_vec())));
        })?;
        for (name, handle, expressions) in rules {
            for set in lookups(&expressions) {
                if let Entry::Vacant(place) = this.sets.entry((name.0, name.1.clone(), set)) {
                    let keys = keys(netlink, place.key())?;
                    place.insert(keys);
                }
            }
            this.rules.entry(name).or_default().push((handle, expressions));
        }
        Ok(this)
    }

    /// What a base chain does with a packet, its policy included.
    pub(super) fn fate(&self, base: &Base, packet: Packet) -> Fate {
        if base.name.0 != abi::INET && base.name.0 != packet.family {
            return Fate::Undecided;
        }
        match self.walk(&base.name, packet, DEPTH) {
            Fate::Undecided if base.drops => Fate::Dropped(None),
            fate => fate,
        }
    }

    fn walk(&self, chain: &Name, packet: Packet, depth: usize) -> Fate {
        for (handle, expressions) in self.rules.get(chain).into_iter().flatten() {
            match self.says(chain, expressions, packet).unwrap_or(Says::Nothing) {
                Says::Nothing => (),
                Says::Ends(Fate::Dropped(_)) => {
                    return Fate::Dropped(Some(Place { chain: chain.2.clone(), handle: *handle }));
                }
                Says::Ends(fate) => return fate,
                Says::Returns => return Fate::Undecided,
                Says::Goes { to, back } => {
                    let Some(depth) = depth.checked_sub(1) else { return Fate::Undecided };
                    let fate = self.walk(&(chain.0, chain.1.clone(), to), packet, depth);
                    if fate != Fate::Undecided || !back {
                        return fate;
                    }
                }
            }
        }
        Fate::Undecided
    }

    /// Runs a rule's expressions; None when it asks what we do not know.
    fn says(&self, chain: &Name, expressions: &[u8], packet: Packet) -> Option<Says> {
        let mut registers: HashMap<u32, Vec<u8>> = HashMap::new();
        for (_, expression) in Attrs(expressions) {
            let data = Attrs(expression).nested(rule::EXPR_DATA).unwrap_or(Attrs(&[]));
            let value = |kind| data.nested(kind).and_then(|d| d.get(abi::DATA_VALUE));
            match Attrs(expression).text(rule::EXPR_NAME)? {
                "counter" | "log" => (),
                "meta" | "payload" | "ct" => {
                    let kind = Attrs(expression).text(rule::EXPR_NAME)?;
                    registers.insert(data.u32(1)?, loaded(kind, data, packet)?);
                }
                "bitwise" => {
                    let (mask, xor) = (value(4)?, value(5)?);
                    let from = registers.get(&data.u32(1)?)?;
                    let masked =
                        from.iter().zip(mask).zip(xor).map(|((b, m), x)| b & m ^ x).collect();
                    registers.insert(data.u32(2)?, masked);
                }
                "cmp" => {
                    let order = registers.get(&data.u32(1)?)?.as_slice().cmp(value(3)?);
                    // NFT_CMP_EQ, NEQ, LT, LTE, GT, GTE
                    let holds = match data.u32(2)? {
                        0 => order.is_eq(),
                        1 => order.is_ne(),
                        2 => order.is_lt(),
                        3 => order.is_le(),
                        4 => order.is_gt(),
                        _ => order.is_ge(),
                    };
                    if !holds {
                        return Some(Says::Nothing);
                    }
                }
                "range" => {
                    let it = registers.get(&data.u32(1)?)?.as_slice();
                    let within = value(3)? <= it && it <= value(4)?;
                    if within != (data.u32(2)? == 0) {
                        return Some(Says::Nothing);
                    }
                }
                // With a destination register it is a map, whose values we do not read.
                "lookup" if data.get(3).is_none() => {
                    let set = (chain.0, chain.1.clone(), data.text(1)?.to_owned());
                    let inside = contains(self.sets.get(&set)?, registers.get(&data.u32(2)?)?);
                    if inside == (data.u32(5).unwrap_or_default() & 1 != 0) {
                        return Some(Says::Nothing);
                    }
                }
                "reject" => return Some(Says::Ends(Fate::Dropped(None))),
                "immediate" => {
                    let verdict = data.nested(2)?.nested(abi::DATA_VERDICT)?;
                    let to = || verdict.text(2).map(str::to_owned);
                    return Some(match verdict.u32(1)?.cast_signed() {
                        abi::DROP => Says::Ends(Fate::Dropped(None)),
                        abi::ACCEPT => Says::Ends(Fate::Accepted),
                        abi::RETURN => Says::Returns,
                        abi::JUMP => Says::Goes { to: to()?, back: true },
                        GOTO => Says::Goes { to: to()?, back: false },
                        _ => Says::Nothing,
                    });
                }
                _ => return None,
            }
        }
        Some(Says::Nothing)
    }
}

/// What a load puts into its register, if we know it.
fn loaded(kind: &str, data: Attrs<'_>, packet: Packet) -> Option<Vec<u8>> {
    let tcp = packet.protocol == Protocol::Tcp;
    match (kind, data.u32(2)?) {
        // NFT_META_NFPROTO, NFT_META_L4PROTO
        ("meta", 15) => Some(vec![packet.family]),
        ("meta", 16) => Some(vec![packet.protocol.number()]),
        ("payload", TRANSPORT) => match (data.u32(3)?, data.u32(4)?) {
            (2, 2) => Some(packet.port.to_be_bytes().to_vec()),
            (TCP_FLAGS, 1) if tcp => Some(vec![SYN]),
            _ => None,
        },
        // NFT_CT_STATE
        ("ct", 0) => Some(CT_NEW.to_ne_bytes().to_vec()),
        _ => None,
    }
}

fn named(message: &Message<'_>, kind: u16) -> Option<Name> {
    let attrs = message.attrs();
    let table = attrs.text(abi::TABLE)?;
    let inet = matches!(message.family(), abi::INET | abi::IPV4 | abi::IPV6);
    let own = message.family() == abi::INET && table == super::TABLE;
    (inet && !own).then(|| {
        (message.family(), table.to_owned(), attrs.text(kind).unwrap_or_default().to_owned())
    })
}

fn base(message: &Message<'_>) -> Option<Base> {
    let attrs = message.attrs();
    let hook = attrs.nested(chain::HOOK)?.u32(chain::HOOK_NUMBER)?;
    let name = named(message, chain::NAME)?;
    let drops = attrs.u32(chain::POLICY) == Some(0);
    matches!(hook, abi::PREROUTING | abi::INPUT | abi::FORWARD).then_some(Base {
        name,
        drops,
        hook,
    })
}

/// The sets that a rule looks a port or protocol up in; sets of addresses may be huge and tell us
/// nothing.
fn lookups(expressions: &[u8]) -> Vec<String> {
    const ANY: Packet = Packet { family: abi::IPV4, protocol: Protocol::Tcp, port: 1 };
    let mut known = HashMap::new();
    let mut out = Vec::new();
    for (_, expression) in Attrs(expressions) {
        let data = Attrs(expression).nested(rule::EXPR_DATA).unwrap_or(Attrs(&[]));
        match Attrs(expression).text(rule::EXPR_NAME) {
            Some(kind @ ("meta" | "payload" | "ct")) => {
                known.insert(data.u32(1), loaded(kind, data, ANY).is_some());
            }
            Some("lookup") if data.get(3).is_none() && known.get(&data.u32(2)) == Some(&true) => {
                out.extend(data.text(1).map(str::to_owned));
            }
            _ => (),
        }
    }
    out
}

fn keys(netlink: &mut NetlinkSocket, (family, table, set): &Name) -> Result<Keys, NetlinkError> {
    let request = single(msg::GET_ELEMENT, DUMP, *family, 0, |n| {
        n.put_str(abi::TABLE, table);
        n.put_str(element::SET, set);
    });
    let found = netlink.dump("set", &request, |m, out: &mut Keys| {
        for (_, bytes) in m.attrs().nested(element::ELEMENTS).unwrap_or(Attrs(&[])) {
            let e = Attrs(bytes);
            let end = e.u32(element::FLAGS).unwrap_or_default() & element::INTERVAL_END != 0;
            if let Some(key) = e.nested(element::KEY).and_then(|k| k.get(abi::DATA_VALUE)) {
                out.push((key.to_vec(), end));
            }
        }
    });
    match found {
        // Gone since the rules were read.
        Err(e) if e.errno() == libc::ENOENT => Ok(Keys::new()),
        Err(e) => Err(e),
        Ok(mut keys) => {
            keys.sort();
            Ok(keys)
        }
    }
}

fn contains(keys: &Keys, value: &[u8]) -> bool {
    if keys.iter().any(|(_, end)| *end) {
        // Sorted, a start (false) comes before an end (true) of the same key, so take the start.
        let upto = keys.iter().filter(|(key, _)| key.as_slice() <= value);
        let Some((last, _)) = upto.clone().next_back() else { return false };
        upto.filter(|(key, _)| key == last).any(|(_, end)| !end)
    } else {
        keys.iter().any(|(key, _)| key == value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_and_plain_keys() {
        let key = |n: u16, end| (n.to_be_bytes().to_vec(), end);
        let mut intervals =
            vec![key(0, true), key(22, false), key(24, true), key(24, false), key(30, true)];
        intervals.sort();
        let within = |n: u16| contains(&intervals, &n.to_be_bytes());
        assert_eq!(
            [21, 22, 23, 24, 29, 30, 99].map(within),
            [false, true, true, true, true, false, false]
        );
        let plain = vec![key(22, false), key(80, false)];
        assert!(contains(&plain, &22u16.to_be_bytes()) && !contains(&plain, &23u16.to_be_bytes()));
    }
}
