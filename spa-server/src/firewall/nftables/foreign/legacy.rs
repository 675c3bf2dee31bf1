//! Tables of the legacy iptables tools, whose rules cannot be read over netlink.

/// Names of tables that those tools filled, one a line, IPv4 and IPv6. Of the thread, since a
/// thread may live in a network namespace of its own.
pub(super) const LEGACY_TABLE_FILES: [&str; 2] =
    ["/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"];

/// Names of the tables of a family in use; `v4` chooses IPv4.
pub(super) fn list_legacy_tables(v4: bool) -> Vec<String> {
    let [four, six] = LEGACY_TABLE_FILES;
    let text = std::fs::read_to_string(if v4 { four } else { six }).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Tells whether they filter here.
pub(super) fn uses_legacy_filter() -> bool {
    [true, false].into_iter().flat_map(list_legacy_tables).any(|table| table == "filter")
}
