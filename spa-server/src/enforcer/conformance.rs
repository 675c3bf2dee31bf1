//! Conformance of an administrator's program to the contract (docs/backends.md): cases that it is
//! put through, alone, with addresses of documentation (RFC 5737, RFC 3849).

use std::thread;
use std::time::{Duration, Instant};

use super::contract::{EnforcedEntry, EnforcerBackend, EnforcerError, EntryChange};
use super::exec::ExecEnforcer;

/// Service that the entries are for.
const TESTED_SERVICE: &str = "conformance";
/// Time that entries have which are closed by hand.
const LONG_TTL: Duration = Duration::from_secs(60);
/// Time of those that end by themselves.
const SHORT_TTL: Duration = Duration::from_secs(2);
/// Lag that the end of an entry may have.
const MAX_LAG: Duration = Duration::from_secs(2);
/// Pause between two looks at what is open.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// A case that a program passes or fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseOutcome {
    /// What a program that conforms does.
    pub name: &'static str,
    /// Failure, as the end of a sentence; `None`: it passed.
    pub failure: Option<String>,
}

type Case = fn(&mut Subject) -> Result<(), String>;

/// Cases for every program.
const COMMON_CASES: [(&str, Case); 11] = [
    ("lists what is open", |subject| subject.list().map(drop)),
    ("opens an IPv4 address", |subject| subject.opens("192.0.2.7/32", &["tcp/22"])),
    ("opens an IPv6 address", |subject| subject.opens("2001:db8::7/128", &["tcp/22"])),
    ("opens a network", |subject| {
        subject.opens("198.51.100.0/24", &["tcp/22"])?;
        subject.opens("2001:db8:7::/64", &["tcp/22"])
    }),
    ("opens ranges and UDP", |subject| {
        subject.opens("192.0.2.7/32", &["tcp/22", "udp/6000-6003"])?;
        subject.opens("2001:db8::7/128", &["tcp/22", "udp/6000-6003"])
    }),
    ("opens again what is open", Subject::opens_again),
    ("opens several at once", Subject::opens_several),
    ("closes", Subject::closes),
    ("closes what is not open", |subject| {
        let entry = entry("192.0.2.9/32", &["tcp/22"])?;
        subject.apply(&[EntryChange::Close { entry, flows: false }])
    }),
    ("closes before it opens", Subject::closes_before_it_opens),
    ("knows what an earlier run opened", Subject::outlives_a_run),
];

/// Cases for a program whose entries end by themselves.
const EXPIRY_CASES: [(&str, Case); 2] = [
    ("ends by itself", Subject::ends_by_itself),
    ("a longer time takes the place of a shorter one", Subject::takes_a_longer_time),
];

/// Puts a program through all cases; `expires`: its entries end by themselves. Nothing of them
/// stays open, as far as it can close.
#[must_use]
pub fn try_program(command: &[String], timeout: Duration, expires: bool) -> Vec<CaseOutcome> {
    let mut subject = Subject(ExecEnforcer::new(command.to_vec(), timeout));
    let of_expiry = if expires { &EXPIRY_CASES[..] } else { &[] };
    let cases = COMMON_CASES.iter().chain(of_expiry);
    cases
        .map(|(name, case)| {
            let result = subject.begin().and_then(|()| case(&mut subject));
            let result = result.and(subject.begin());
            CaseOutcome { name, failure: result.err() }
        })
        .collect()
}

fn entry(network: &str, ports: &[&str]) -> Result<EnforcedEntry, String> {
    let ports = ports.iter().map(|text| text.parse().map_err(|error| format!("{text}: {error}")));
    Ok(EnforcedEntry {
        service: TESTED_SERVICE.into(),
        network: network.parse().map_err(|error| format!("{network}: {error}"))?,
        ports: ports.collect::<Result<_, _>>()?,
    })
}

fn open(entry: &EnforcedEntry, left: Duration) -> EntryChange {
    EntryChange::Open(entry.clone(), left)
}

fn close(entry: &EnforcedEntry) -> EntryChange {
    EntryChange::Close { entry: entry.clone(), flows: true }
}

/// The program that is tried.
struct Subject(ExecEnforcer);

impl Subject {
    /// Starts it anew, and closes what a case has left.
    fn begin(&mut self) -> Result<(), String> {
        self.0.connect().map_err(describe)?;
        let left = self.list()?;
        if left.is_empty() {
            return Ok(());
        }
        self.apply(&left.iter().map(close).collect::<Vec<_>>())
    }

    fn apply(&mut self, batch: &[EntryChange]) -> Result<(), String> {
        self.0.apply(batch).map_err(describe)
    }

    /// Its entries for these cases; others may be open for clients.
    fn list(&mut self) -> Result<Vec<EnforcedEntry>, String> {
        let mut all = self.0.list().map_err(describe)?;
        all.retain(|entry| *entry.service == *TESTED_SERVICE);
        Ok(all)
    }

    /// Fails unless exactly these entries are open, in any order.
    fn expect(&mut self, wanted: &[&EnforcedEntry]) -> Result<(), String> {
        let mut found = self.list()?;
        let mut wanted: Vec<EnforcedEntry> = wanted.iter().map(|entry| (*entry).clone()).collect();
        found.sort_unstable();
        wanted.sort_unstable();
        if found == wanted {
            return Ok(());
        }
        Err(format!("`list` says {}, and should say {}", show(&found), show(&wanted)))
    }

    fn opens(&mut self, network: &str, ports: &[&str]) -> Result<(), String> {
        let entry = entry(network, ports)?;
        self.apply(&[open(&entry, LONG_TTL)])?;
        self.expect(&[&entry])?;
        self.apply(&[close(&entry)])
    }

    fn opens_again(&mut self) -> Result<(), String> {
        let entry = entry("192.0.2.7/32", &["tcp/22"])?;
        self.apply(&[open(&entry, LONG_TTL)])?;
        self.apply(&[open(&entry, LONG_TTL)])?;
        self.expect(&[&entry])
    }

    fn opens_several(&mut self) -> Result<(), String> {
        let (one, two) = (entry("192.0.2.7/32", &["tcp/22"])?, entry("192.0.2.8/32", &["tcp/22"])?);
        self.apply(&[open(&one, LONG_TTL), open(&two, LONG_TTL)])?;
        self.expect(&[&one, &two])
    }

    fn closes(&mut self) -> Result<(), String> {
        for network in ["192.0.2.7/32", "2001:db8::7/128"] {
            let (closed, stays) =
                (entry(network, &["tcp/22"])?, entry("192.0.2.8/32", &["tcp/22"])?);
            self.apply(&[open(&closed, LONG_TTL), open(&stays, LONG_TTL)])?;
            self.apply(&[close(&closed)])?;
            self.expect(&[&stays])?;
        }
        Ok(())
    }

    fn closes_before_it_opens(&mut self) -> Result<(), String> {
        let entry = entry("192.0.2.7/32", &["tcp/22"])?;
        self.apply(&[open(&entry, LONG_TTL)])?;
        self.apply(&[open(&entry, LONG_TTL), close(&entry)])?;
        self.expect(&[&entry])
    }

    fn outlives_a_run(&mut self) -> Result<(), String> {
        let entry = entry("192.0.2.7/32", &["tcp/22"])?;
        self.apply(&[open(&entry, LONG_TTL)])?;
        self.0.connect().map_err(describe)?;
        self.expect(&[&entry])
    }

    fn ends_by_itself(&mut self) -> Result<(), String> {
        for network in ["192.0.2.7/32", "2001:db8::7/128"] {
            let entry = entry(network, &["tcp/22"])?;
            self.apply(&[open(&entry, SHORT_TTL)])?;
            self.expect(&[&entry])?;
            let latest = Instant::now() + SHORT_TTL + MAX_LAG;
            while !self.list()?.is_empty() {
                if Instant::now() > latest {
                    return Err(format!("{} is open after its time", show(&[entry])));
                }
                thread::sleep(LOOK_INTERVAL);
            }
        }
        Ok(())
    }

    fn takes_a_longer_time(&mut self) -> Result<(), String> {
        let entry = entry("192.0.2.7/32", &["tcp/22"])?;
        self.apply(&[open(&entry, SHORT_TTL)])?;
        self.apply(&[open(&entry, LONG_TTL)])?;
        let until = Instant::now() + SHORT_TTL + MAX_LAG;
        while Instant::now() < until {
            self.expect(&[&entry])?;
            thread::sleep(LOOK_INTERVAL);
        }
        Ok(())
    }
}

fn describe(error: EnforcerError) -> String {
    error.to_string()
}

fn show(entries: &[EnforcedEntry]) -> String {
    let one = |entry: &EnforcedEntry| {
        let ports: Vec<String> = entry.ports.iter().map(ToString::to_string).collect();
        format!("{} {}", entry.network, ports.join(","))
    };
    if entries.is_empty() {
        return "nothing".to_owned();
    }
    entries.iter().map(one).collect::<Vec<_>>().join("; ")
}
