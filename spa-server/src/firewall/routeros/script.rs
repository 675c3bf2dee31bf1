//! The script as text: how it replaces what an earlier one made, and how it is undone.

use std::fmt::Write as _;

use super::chains::{self, BANNED_LIST};
use super::rule::Table;
use super::{RouterRules, RouterService, Version};
use crate::firewall::address_set::Family;

/// Beginning of the comments of our rules.
const COMMENT_PREFIX: &str = "spa-server: ";
/// Comment of rules that are about to be replaced.
const OLD_COMMENT: &str = "spa-server-old";

fn menu(family: Family, table: Table) -> &'static str {
    match (family, table) {
        (Family::V4, Table::Filter) => "/ip firewall filter",
        (Family::V4, Table::Nat) => "/ip firewall nat",
        (Family::V6, Table::Filter) => "/ipv6 firewall filter",
        (Family::V6, Table::Nat) => "/ipv6 firewall nat",
    }
}

fn tables(family: Family, version: Version) -> &'static [Table] {
    match (family, version) {
        (Family::V6, Version::V6) => &[Table::Filter],
        _ => &[Table::Filter, Table::Nat],
    }
}

/// Prints the script for the router.
///
/// The old rules stay in force until all new ones are: a script that breaks off half-way has opened
/// nothing, and the next one removes both.
#[must_use]
pub fn render(rules: &RouterRules) -> String {
    let mut out = format!(
        "# Rules of spa-server for RouterOS {}; strangers come from the interface list {}.\n\
         # Paste this into a terminal of the router, or /import it.\n\
         # Once more replaces what it has made before; nothing is open in between.\n",
        match rules.version {
            Version::V6 => "6.49",
            Version::V7 => "7",
        },
        rules.wan
    );
    for bait in rules.baits.iter().filter(|bait| bait.unless_in_sequence) {
        let _infallible = writeln!(
            out,
            "# Bait {}: the router does not know who is in the middle of a sequence; it bans \
             those too.",
            bait.name
        );
    }
    for family in Family::BOTH {
        let tables = tables(family, rules.version);
        out.push_str("{\n");
        for table in tables {
            let menu = menu(family, *table);
            let _infallible = writeln!(
                out,
                "{menu} set [find comment~\"^{COMMENT_PREFIX}\"] comment=\"{OLD_COMMENT}\"\n\
                 {menu} add chain=spa.anchor action=passthrough disabled=yes \
                 comment=\"{OLD_COMMENT}\""
            );
        }
        let built = chains::build_rules(rules, family);
        for rule in built.iter().filter(|rule| tables.contains(&rule.table)) {
            let menu = menu(family, rule.table);
            let _infallible = write!(
                out,
                "{menu} add {} comment=\"{COMMENT_PREFIX}{}\"",
                rule.properties, rule.note
            );
            if rule.first {
                // Dynamic rules stand first and nothing can be put before them; the anchor above
                // makes sure that there is another one.
                let _infallible = write!(out, " place-before=[:pick [{menu} find dynamic=no] 0]");
            }
            out.push('\n');
        }
        for table in tables {
            let menu = menu(family, *table);
            let _infallible = writeln!(out, "{menu} remove [find comment=\"{OLD_COMMENT}\"]");
        }
        out.push_str("}\n");
    }
    out
}

/// Prints the script that removes what [`render`]'s has made, and the lists of these services.
#[must_use]
pub fn render_undo(rules: &RouterRules) -> String {
    let mut out =
        "# Removes the rules and address lists of spa-server: what they hid is open.\n".to_owned();
    let services = rules.services.iter().map(RouterService::list);
    let lists: Vec<String> = services.chain([BANNED_LIST.to_owned()]).collect();
    for family in Family::BOTH {
        let list_menu = match family {
            Family::V4 => "/ip firewall address-list",
            Family::V6 => "/ipv6 firewall address-list",
        };
        out.push_str("{\n");
        for table in tables(family, rules.version) {
            let menu = menu(family, *table);
            let _infallible = writeln!(
                out,
                "{menu} remove [find comment~\"^{COMMENT_PREFIX}\"]\n\
                 {menu} remove [find comment=\"{OLD_COMMENT}\"]"
            );
        }
        for list in &lists {
            let _infallible = writeln!(out, "{list_menu} remove [find list=\"{list}\"]");
        }
        out.push_str("}\n");
    }
    out
}
