//! The server's configuration as text, with defaults that suit a test.

use std::collections::BTreeMap;
use std::path::Path;

/// A configuration in the making: every value is TOML as it will stand in the file.
///
/// `{dir}` in a value becomes the server's own folder.
#[derive(Clone, Debug)]
pub struct Config {
    sections: BTreeMap<String, BTreeMap<String, String>>,
    tail: String,
}

impl Default for Config {
    /// Guard mode on the ring capture, a sequence of three fixed ports, no service yet.
    ///
    /// A new server refuses every knock for `window-future`; one second keeps the tests short.
    /// Nobody is asked for new keys: a client whose psk stood in a line would take them at once.
    fn default() -> Config {
        Config { sections: BTreeMap::new(), tail: String::new() }
            .set("server.key", "\"{dir}/server.key\"")
            .set("server.clients", "\"{dir}/clients.toml\"")
            .set("server.state", "\"{dir}/state\"")
            .set("server.control", "\"{dir}/control.sock\"")
            .set("server.hosts", "[\"192.0.2.1\", \"2001:db8:1::1\"]")
            .set("server.window-future", "\"1s\"")
            .set("server.pair-age", "\"never\"")
            .set("log.format", "\"logfmt\"")
            .set("capture.mode", "\"ring\"")
            .set("sequence.ports", "[40001, 40002, 40003]")
            .set("firewall.backend", "\"nftables\"")
            .set("firewall.mode", "\"guard\"")
            .set("firewall.hide", "\"drop\"")
    }
}

impl Config {
    /// A whole file as it was written, with nothing of ours in it.
    pub fn literal(text: &str) -> Config {
        Config { sections: BTreeMap::new(), tail: text.to_owned() }
    }

    /// Sets `SECTION.KEY` to a TOML value: `.set("server.ack", "\"off\"")`.
    #[must_use]
    pub fn set(mut self, path: &str, value: &str) -> Config {
        let (section, key) =
            path.split_once('.').unwrap_or_else(|| panic!("{path} is not SECTION.KEY"));
        self.sections
            .entry(section.to_owned())
            .or_default()
            .insert(key.to_owned(), value.to_owned());
        self
    }

    /// Takes a value out, so that the server's own default holds.
    #[must_use]
    pub fn unset(mut self, path: &str) -> Config {
        let (section, key) =
            path.split_once('.').unwrap_or_else(|| panic!("{path} is not SECTION.KEY"));
        self.sections.get_mut(section).and_then(|section| section.remove(key));
        self
    }

    /// Adds a `[[service]]`: `.service("ssh", "ports = [\"tcp/22\"]\nttl = \"30s\"")`.
    #[must_use]
    pub fn service(self, name: &str, lines: &str) -> Config {
        self.append(&format!("[[service]]\nname = \"{name}\"\n{lines}\n"))
    }

    /// Adds a `[[bait]]` group.
    #[must_use]
    pub fn bait(self, name: &str, lines: &str) -> Config {
        self.append(&format!("[[bait]]\nname = \"{name}\"\n{lines}\n"))
    }

    /// Adds text at the end of the file.
    #[must_use]
    pub fn append(mut self, text: &str) -> Config {
        self.tail.push('\n');
        self.tail.push_str(text);
        self
    }

    /// Replaces a text of the lines that were appended.
    #[must_use]
    pub fn replaced(mut self, from: &str, to: &str) -> Config {
        assert!(self.tail.contains(from), "{from} is not there");
        self.tail = self.tail.replace(from, to);
        self
    }

    /// The file's text for a server that lives in this folder.
    pub fn text(&self, folder: &Path) -> String {
        let mut text = String::new();
        for (section, values) in &self.sections {
            text.push_str(&format!("[{section}]\n"));
            for (key, value) in values {
                text.push_str(&format!("{key} = {value}\n"));
            }
        }
        text.push_str(&self.tail);
        text.replace("{dir}", &folder.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::Config;

    #[test]
    fn later_values_replace_earlier_ones() {
        let text = Config::default()
            .set("firewall.mode", "\"standalone\"")
            .unset("server.window-future")
            .service("ssh", "ports = [\"tcp/22\"]")
            .text("/x".as_ref());
        assert!(text.contains("mode = \"standalone\"") && !text.contains("guard"), "{text}");
        assert!(!text.contains("window-future"), "{text}");
        assert!(text.contains("key = \"/x/server.key\""), "{text}");
        assert!(text.ends_with("[[service]]\nname = \"ssh\"\nports = [\"tcp/22\"]\n"), "{text}");
    }
}
