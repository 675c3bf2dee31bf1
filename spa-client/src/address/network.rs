//! Networks, as command lines and `config.toml` name them.

use std::net::IpAddr;

use ipnet::IpNet;

/// Parses an address or a network: `203.0.113.9`, `2001:db8::/32`.
pub(crate) fn parse_network(text: &str) -> Result<IpNet, &'static str> {
    let single = text.parse::<IpAddr>().map(IpNet::from);
    single
        .or_else(|_| text.parse())
        .map_err(|_| "not an address or network: write 203.0.113.9 or 203.0.113.0/24")
}

/// Formats a network; one that is a single address without its prefix length.
pub(crate) fn format_network(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_networks() {
        for (text, wanted) in [("203.0.113.9", "203.0.113.9"), ("2001:db8::/32", "2001:db8::/32")] {
            assert_eq!(parse_network(text).map(|net| format_network(&net)), Ok(wanted.to_owned()));
        }
        assert!(parse_network("here").is_err() && parse_network("1.2.3.4/33").is_err());
    }
}
