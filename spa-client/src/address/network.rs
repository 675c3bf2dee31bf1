//! Networks, as command lines and `config.toml` name them.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// Text that is neither an address nor a network.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NetworkError(String);

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = spa_keys::printable(&self.0);
        write!(f, "`{text}` is not an address or network: write 203.0.113.9 or 203.0.113.0/24")
    }
}

impl Error for NetworkError {}

/// Parses an address or a network: `203.0.113.9`, `2001:db8::/32`.
pub(crate) fn parse_network(text: &str) -> Result<IpNet, NetworkError> {
    let single = text.parse::<IpAddr>().map(IpNet::from);
    single.or_else(|_| text.parse()).map_err(|_| NetworkError(text.to_owned()))
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
