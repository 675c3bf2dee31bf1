//! The client who does not know his own address: the server opens for a moment to whoever's packets
//! came, tells each his address, and the client says which one is his.

mod copies;
mod flood;
mod honest;
mod relayed;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use spa_tests::config::Config;
use spa_tests::netns::{Host, Routed, routed};
use spa_tests::nft::{self, Element};
use spa_tests::probe::{TcpProbe, tcp};
use spa_tests::scene::{PATIENCE, SILENCE, SSH, Scene, config};
use spa_tests::tap::translate;
use spa_tests::{Family, wait_until};

/// Seconds for which the service opens.
const TTL: u64 = 60;

/// A server, and a client behind an address translator.
struct House {
    scene: Scene,
    net: Routed,
}

impl House {
    fn new(change: impl FnOnce(Config) -> Config) -> House {
        let net = routed();
        translate(&net);
        let config = change(config(60));
        let scene = Scene::ready(&net.server, &net.client, &config, &["ssh", "web"]);
        House { scene, net }
    }

    /// Rows of `spa-server grants` for this family: address and seconds left.
    fn grants(&self, family: Family) -> Vec<(IpAddr, u64)> {
        let output = self.scene.server.control(&["grants", "--json"]);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let rows = json["grants"].as_array().unwrap();
        let row = |row: &Value| {
            let source = row["source"].as_str().unwrap_or_else(|| panic!("{row}"));
            let left = row["left-s"].as_u64().unwrap_or_else(|| panic!("{row}"));
            (source.parse::<IpAddr>().unwrap_or_else(|_| panic!("{row}")), left)
        };
        rows.iter().map(row).filter(|(address, _)| Family::of(*address) == family).collect()
    }

    /// The kernel's grants of a family.
    fn elements(&self, family: Family) -> Vec<Element> {
        let set = format!("grant{}", family.digit());
        nft::elements(&self.net.server, "inet", "spa", &set).unwrap()
    }

    /// Panics unless this address alone is let in, for the whole time.
    fn assert_let_in(&self, family: Family, address: IpAddr) {
        let elements = self.elements(family);
        let rows: Vec<_> = elements.iter().map(|one| (one.key[0].clone(), one.timeout)).collect();
        assert_eq!(rows, [(address.to_string(), Some(TTL))], "{family}");
        let grants = self.grants(family);
        assert!(
            matches!(&grants[..], [(source, left)] if *source == address && left + 20 >= TTL),
            "{family}: {grants:?}"
        );
        assert!(self.scene.is_open(family, SSH), "{family}");
        assert_eq!(self.try_ssh(&self.net.stranger, family), TcpProbe::Silent, "{family}");
    }

    fn try_ssh(&self, from: &Host, family: Family) -> TcpProbe {
        tcp(from, self.door(family), SILENCE)
    }

    fn door(&self, family: Family) -> SocketAddr {
        self.net.server.at(family, SSH)
    }

    fn log_line(&self, event: &str, source: IpAddr) -> String {
        let (event, source) = (format!("event={event} "), format!("source={source} "));
        self.scene.server.wait_log(&[&event, "client=laptop ", &source])
    }
}

/// Time itself is what a test wants to go by.
fn let_pass(time: Duration) {
    let begun = std::time::Instant::now();
    assert!(wait_until(time + PATIENCE, || begun.elapsed() >= time));
}
