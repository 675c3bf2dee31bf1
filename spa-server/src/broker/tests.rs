//! Requests of a compromised listener, at the real sockets, and of an honest one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod honest;
mod new_keys;
mod taken_over;

use std::net::IpAddr;
use std::time::Duration;

use super::client_terms::ClientTerms;
use super::enforcers::Enforcers;
use super::request_handler::RequestHandler;
use crate::capture::host_addresses::HostAddresses;
use crate::config::clients::parse_clients;
use crate::config::{Config, Surroundings, parse};
use crate::domain::grant::GrantId;
use crate::domain::ports::PortRange;
use crate::firewall::observe::Observe;
use crate::ipc::channel::{Channel, ChannelError};
use crate::ipc::message::{GrantRequest, ListPage, Reply, Request, RequestError};

const CONFIG: &str = "
[sequence]
ports = [7001, 7002]
timeout = \"20s\"
[[service]]
name = \"ssh\"
ports = [\"tcp/22\"]
ttl = \"30s\"
max-ttl = \"60s\"
[[bait]]
name = \"trap\"
ports = [\"tcp/23\"]
ban = \"90s\"
unless = []
";

/// The clients that the broker knows.
const CLIENTS: &str = "
[[client]]
name = \"laptop\"
public = \"a\"
psk = \"a\"
services = [\"SERVICE\"]
max-grants = 3
[[client]]
name = \"LONG\"
public = \"b\"
psk = \"b\"
services = [\"SERVICE\"]
max-grants = 400
[[client]]
name = \"bound\"
public = \"c\"
psk = \"c\"
services = [\"SERVICE\"]
from = [\"192.0.2.0/24\"]
max-ttl = \"30s\"
grant-prefix-v4 = 24
[[client]]
name = \"gone\"
public = \"d\"
psk = \"d\"
services = [\"SERVICE\"]
expires = \"2020-01-01\"
";

/// What may not be asked for looks like this.
const HOUR: Duration = Duration::from_secs(3600);

fn config(text: &str) -> Config {
    let (config, findings) = parse("test", text, &Surroundings::none());
    config.unwrap_or_else(|| panic!("{findings}"))
}

/// What the clients of the test may have: the first service.
fn terms(config: &Config) -> ClientTerms {
    terms_with(config, "")
}

fn terms_with(config: &Config, more: &str) -> ClientTerms {
    let text = format!("{CLIENTS}{more}");
    let text = text.replace("SERVICE", &config.services[0].name).replace("LONG", &"x".repeat(64));
    let (clients, findings) =
        parse_clients("test", &text, Some(&config.services), &Surroundings::none());
    ClientTerms::of_clients(config, &clients.unwrap_or_else(|| panic!("{findings}")))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A broker's handler over a firewall that only remembers, and the other end.
struct Pair {
    handler: RequestHandler,
    broker: Channel,
    listener: Channel,
}

impl Pair {
    fn new(text: &str) -> Self {
        Self::with_clients(text, "")
    }

    /// The same with more clients.
    fn with_clients(text: &str, more: &str) -> Self {
        let (broker, listener) = Channel::pair().unwrap();
        listener.set_timeout(Duration::from_secs(1)).unwrap();
        let config = config(text);
        let terms = terms_with(&config, more);
        let mut this = Self {
            handler: RequestHandler::new(
                Box::new(Observe::new()),
                HostAddresses::knowing_none().unwrap(),
                config,
                terms,
                None,
                Enforcers::default(),
            ),
            broker,
            listener,
        };
        let Reply::Done = this.ask(&Request::Install {
            config: 1,
            knock: vec![PortRange::one(7001), PortRange::one(7002)],
        }) else {
            panic!("not installed")
        };
        this
    }

    fn propose(&mut self, config: Config) -> u64 {
        let terms = terms(&config);
        self.handler.versions.propose_config(config, terms)
    }

    /// One request and the first part of its answer.
    fn ask(&mut self, request: &Request) -> Reply {
        self.listener.send(request, &[]).unwrap();
        self.handler.serve_request(&self.broker).unwrap();
        self.listener.receive().unwrap().0
    }

    /// Asks for what must be refused, and sees that nothing was opened or banned.
    fn refused(&mut self, request: Request) {
        let answer = self.ask(&request);
        assert!(
            matches!(&answer, Reply::Failed(RequestError::Refused(_))),
            "{request:?}: {answer:?}"
        );
        assert_eq!(
            self.ask(&Request::Grants),
            Reply::Grants(ListPage { rows: Vec::new(), more: false }),
            "{request:?}"
        );
        assert_eq!(
            self.ask(&Request::Bans),
            Reply::Bans(ListPage { rows: Vec::new(), more: false }),
            "{request:?}"
        );
    }

    /// What the broker makes of raw bytes.
    fn raw(&mut self, bytes: &[u8]) -> ChannelError {
        use std::os::fd::{AsFd, AsRawFd};
        nix::sys::socket::send(
            self.listener.as_fd().as_raw_fd(),
            bytes,
            nix::sys::socket::MsgFlags::MSG_DONTWAIT,
        )
        .unwrap();
        self.handler.serve_request(&self.broker).unwrap_err()
    }
}

fn open() -> Request {
    opening(|_| {})
}

/// The request that is honest but for `change`.
fn opening(change: impl FnOnce(&mut GrantRequest)) -> Request {
    let mut asked = GrantRequest {
        id: GrantId(1),
        client: "laptop".into(),
        service: "ssh".into(),
        source: ip("192.0.2.7"),
        prefix: 32,
        ttl: Duration::from_secs(60),
        provisional: false,
    };
    change(&mut asked);
    Request::Open { grant: asked, ends: Vec::new() }
}
