//! Foreign chains that would drop what we accept. In netfilter a drop is final, whoever says it,
//! while an accept ends only its own chain; so a table of its own can close, and cannot open.

use super::TABLE;
use super::abi::{self, chain, msg, rule};
use crate::firewall::Obstacle;
use crate::firewall::netlink::message::{DUMP, single};
use crate::firewall::netlink::{Attrs, Message, NetlinkError, NetlinkSocket};

/// Names of tables that the legacy iptables tools filled, one a line. Of the thread, since a thread
/// may live in a network namespace of its own.
const LEGACY: [&str; 2] = ["/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"];

/// A foreign base chain in the way of incoming packets.
struct Foreign {
    family: u8,
    table: String,
    name: String,
    drops: bool,
}

/// Finds them.
pub(super) fn find(netlink: &mut NetlinkSocket) -> Result<Vec<Obstacle>, NetlinkError> {
    let request = single(msg::GET_CHAIN, DUMP, 0, 0, |_| ());
    let chains = netlink.dump("chains", &request, |m, out| out.extend(foreign(m)))?;
    let mut found = Vec::new();
    for chain in chains {
        let family = family_name(chain.family);
        let (table, name) = (&chain.table, &chain.name);
        let label = format!("{family} {table} {name}");
        if chain.drops {
            found.push(Obstacle {
                text: format!(
                    "Its policy is drop, and a drop is final whatever our table accepts. Let it accept \
                     the protected ports (our table hides them): nft add rule {family} {table} {name} \
                     tcp dport PORT accept"
                ),
                chain: label,
            });
        } else if ends_in_drop(netlink, &chain)? {
            found.push(Obstacle {
                text: format!(
                    "It drops or rejects whatever reaches the rule without a condition in it, and a drop \
                     is final whatever our table accepts. Put a rule before that one that accepts the \
                     protected ports (our table hides them): nft insert rule {family} {table} {name} tcp \
                     dport PORT accept"
                ),
                chain: label,
            });
        }
    }
    found.extend(LEGACY.iter().filter_map(|path| legacy(path)));
    Ok(found)
}

fn foreign(message: &Message<'_>) -> Option<Foreign> {
    let attrs = message.attrs();
    let hook = attrs.nested(chain::HOOK)?.u32(chain::HOOK_NUMBER)?;
    let table = attrs.text(abi::TABLE)?;
    let incoming = matches!(hook, abi::PREROUTING | abi::INPUT);
    let inet = matches!(message.family(), abi::INET | abi::IPV4 | abi::IPV6);
    let own = message.family() == abi::INET && table == TABLE;
    (incoming && inet && !own).then(|| Foreign {
        family: message.family(),
        table: table.to_owned(),
        name: attrs.text(chain::NAME).unwrap_or_default().to_owned(),
        drops: attrs.u32(chain::POLICY) == Some(0),
    })
}

/// Whether a rule of the chain drops or rejects without asking anything.
fn ends_in_drop(netlink: &mut NetlinkSocket, chain: &Foreign) -> Result<bool, NetlinkError> {
    let request = single(msg::GET_RULE, DUMP, chain.family, 0, |n| {
        n.put_str(abi::TABLE, &chain.table);
        n.put_str(rule::CHAIN, &chain.name);
    });
    // Older kernels ignore the filter and dump every rule.
    let verdicts = netlink.dump("rules", &request, |m, out| {
        let attrs = m.attrs();
        let here = attrs.text(abi::TABLE) == Some(&chain.table)
            && attrs.text(rule::CHAIN) == Some(&chain.name)
            && m.family() == chain.family;
        if let Some(expressions) = attrs.nested(rule::EXPRESSIONS).filter(|_| here) {
            out.push(drops_all(expressions));
        }
    })?;
    Ok(verdicts.into_iter().any(|drops| drops))
}

fn drops_all(expressions: Attrs<'_>) -> bool {
    for (_, expression) in expressions {
        let expression = Attrs(expression);
        match expression.text(rule::EXPR_NAME) {
            Some("counter" | "log") => (),
            Some("reject") => return true,
            // NFTA_IMMEDIATE_DATA, NFTA_VERDICT_CODE
            Some("immediate") => {
                let code = expression
                    .nested(rule::EXPR_DATA)
                    .and_then(|data| data.nested(2))
                    .and_then(|data| data.nested(abi::DATA_VERDICT))
                    .and_then(|verdict| verdict.u32(1));
                return code.is_some_and(|code| code.cast_signed() == abi::DROP);
            }
            _ => return false,
        }
    }
    false
}

fn legacy(path: &str) -> Option<Obstacle> {
    let tables = std::fs::read_to_string(path).ok()?;
    tables.lines().any(|table| table == "filter").then(|| Obstacle {
        chain: format!("{} filter INPUT (legacy)", if path.contains("ip6") { "ip6" } else { "ip" }),
        text: "The legacy iptables filter table is in use, which cannot be read from here. See that its \
               INPUT chain accepts the protected ports: iptables-legacy -S INPUT"
            .to_owned(),
    })
}

fn family_name(family: u8) -> &'static str {
    match family {
        abi::IPV4 => "ip",
        abi::IPV6 => "ip6",
        _ => "inet",
    }
}
