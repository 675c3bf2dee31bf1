//! The start: firewall first, so that nothing is open while the rest comes up.

use std::path::Path;

use tokio::net::UnixListener;

use super::EventLoop;
use crate::capture::host_addresses::HostAddresses;
use crate::capture::{self, Kind};
use crate::config::clients::enrolled_file;
use crate::config::{CaptureMode, Config, KNOCK_NFLOG_GROUP};
use crate::domain::grant::GrantId;
use crate::engine::Engine;
use crate::firewall::Firewall as _;
use crate::host_check::describe_wrong_clock;
use crate::ipc::ends::BrokerChannels;
use crate::listener::baits::{BaitWatch, open_bait_log};
use crate::listener::broker_link::BrokerLink;
use crate::listener::commands::limits::UserLimits;
use crate::listener::figures::Figures;
use crate::listener::firewall_access::FirewallAccess;
use crate::listener::key_rollover::KeyFollowers;
use crate::listener::knock_server::KnockServer;
use crate::listener::last_run::{Found, ThisRun};
use crate::listener::packet_source::{PacketSource, knock_ports};
use crate::listener::received::ReceivedFiles;
use crate::listener::record::EventRecord;
use crate::listener::reload::SetupReloads;
use crate::listener::retry::{is_in_use, retry_while_taken};
use crate::listener::second_server::SecondServerWatch;
use crate::listener::setup::EnrolledFile;
use crate::listener::store_thread::StoreThread;
use crate::listener::strangers::StrangerLines;
use crate::listener::{Clock, Setup, control_socket};
use crate::log::{self, Level};
use crate::sandbox::{self, Folders};
use crate::store::key_rollover::FollowedFile;
use crate::store::{DiskStore, StoreError};
use spa_keys::Failure;

/// Opens everything that a running listener needs, and the control socket.
pub(in crate::listener) fn open_listener(
    files: ReceivedFiles,
    ends: BrokerChannels,
) -> Result<(EventLoop, UnixListener), Failure> {
    let clock = Clock::start();
    let config_path = files.path.clone();
    let Setup { config, findings, enrolled, registry, settings, lockout } =
        Setup::from_received(files)?;
    log::init(config.log.format, config.log.level)?;
    if !findings.is_empty() {
        log::event(Level::Warn, "config")
            .with("findings", findings.iter().count())
            .with("see", "spa-server check")
            .emit();
    }
    if enrolled == EnrolledFile::Empty {
        log::event(Level::Error, "enrolled-empty")
            .with("file", enrolled_file(&config.server.state).display())
            .with("valid-again", "keys that clients have replaced")
            .emit();
    }
    lockout.log();
    // Before anything is touched: a second server on the same table must not even begin.
    let control =
        retry_while_taken(|| control_socket::bind_socket(&config.server.control), is_in_use)
            .map_err(|error| {
                Failure::failed(format!(
                    "control socket {}: {error}",
                    config.server.control.display()
                ))
            })?;
    let second_servers = SecondServerWatch::open(registry.public());
    let now = clock.now();
    let ports = knock_ports(&settings, now.unix_ms);
    let rules = config.rules(&ports);
    let bait_log = open_bait_log(&config, rules.bait_nflog)?;
    let mut firewall = FirewallAccess::open_firewall(&config, rules, ends.requests)?;

    let mut opened = retry_while_taken(
        || DiskStore::open(&config.server.state),
        |error| matches!(error, StoreError::Busy(_)),
    )?;
    let found = Found { state: opened.state, mark: opened.mark, last_run: opened.last_run };
    let previous = registry.previous().map(|(public, _)| public);
    let mut this_run = ThisRun::draw_identity(&config.server.control, registry.public(), previous)
        .map_err(|error| Failure::failed(error.to_string()))?;
    let freshness = this_run.find_freshness(found, &settings, now);
    // The store first: a run whose number stands outside only is trusted by nobody.
    opened.store.begin_run(&this_run.identity)?;
    this_run.write_number();
    let store = opened.store;
    let mut opened = retry_while_taken(
        || capture::open(capture_kind(&config), &ports, capture_interfaces(&config)),
        is_in_use,
    )?;
    let addresses = HostAddresses::watch()?;
    opened.capture.bind_by(firewall.broker.make_binder());

    // Everything that needs rights is open, and no stranger's byte was read. From here on there is
    // nothing to steal.
    sandbox::listener(&writable_folders(&config), &config_path)?;
    let file = FollowedFile::of(&config.server.state);
    let mut followed = KeyFollowers::default();
    let news = followed.begin_registry(&registry, Some(&file));
    let (store, first_grant) = StoreThread::start(store, file)?;
    news.into_iter().for_each(|news| store.write_followed(news));

    let mut engine = Engine::new(registry, settings, freshness, now);
    let live = firewall.broker.grants()?;
    let record = EventRecord::start(&config, &live, now)?;
    engine.number_from(GrantId(first_grant));
    engine.adopt(live.into_iter().map(|live| (live.grant, live.left)), now);
    engine.build_tables(clock.now());
    for obstacle in firewall.broker.obstacles()? {
        log::event(Level::Warn, "obstacle")
            .with("chain", obstacle.chain)
            .with("text", obstacle.text)
            .emit();
    }
    if let Some(problem) = describe_wrong_clock() {
        log::event(Level::Error, "clock-wrong").with("text", problem).emit();
    }
    log::event(Level::Info, "started")
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("backend", firewall.broker.name())
        .with("capture", opened.capture.name())
        .number("clients", engine.registry().clients() as u64)
        .number("grants", engine.live_grants() as u64)
        .number("fence-s", engine.fence_left(clock.now()).as_millis().div_ceil(1000) as u64)
        .emit();
    let broker = firewall.broker.clone();
    let listener = EventLoop {
        link: BrokerLink::new(ends.news)?,
        packets: PacketSource::new(opened.capture, addresses)?,
        knocks: KnockServer::new(
            clock,
            engine,
            broker.clone(),
            opened.replier,
            store,
            record,
            followed,
        ),
        firewall,
        baits: BaitWatch::new(bait_log, broker)?,
        reloads: SetupReloads::new(config_path, config, lockout, enrolled),
        trial: Default::default(),
        figures: Figures::new(now.unix_ms),
        limits: UserLimits::default(),
        strangers: StrangerLines::new(),
        second_servers,
        zone: jiff::tz::TimeZone::system(),
    };
    listener.knocks.warn_of_clock_behind();
    Ok((listener, control))
}

/// Folders that the listener goes on to write in.
fn writable_folders(config: &Config) -> Folders {
    let textfile = config.metrics.textfile.as_deref().and_then(Path::parent).map(Path::to_owned);
    Folders {
        written: [Some(config.server.state.clone()), textfile].into_iter().flatten().collect(),
    }
}

fn capture_kind(config: &Config) -> Kind {
    match config.capture.mode {
        CaptureMode::Ring => Kind::Ring,
        CaptureMode::Nflog => Kind::Nflog { group: KNOCK_NFLOG_GROUP },
        CaptureMode::Udp => Kind::Udp,
    }
}

fn capture_interfaces(config: &Config) -> Option<Vec<String>> {
    let names = &config.capture.interfaces;
    (!names.is_empty()).then(|| names.clone())
}
