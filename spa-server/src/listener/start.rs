//! The start: firewall first, so that nothing is open while the rest comes up.

use std::path::Path;

use spa_proto::SessionId;
use tokio::net::UnixListener;
use tokio::sync::mpsc::UnboundedSender;

use super::backend::FirewallAccess;
use super::key_rollover::KeyFollowers;
use super::readable::watch_readable;
use super::received::ReceivedFiles;
use super::retry::{is_in_use, retry_while_taken};
use super::store_thread::StoreThread;
use super::table_builds::TableBuilds;
use super::telemetry::Telemetry;
use super::{Clock, Listener, Setup, TABLE_LEAD_TIME, control_socket};
use crate::capture::pace::Pace;
use crate::capture::{self, Kind};
use crate::config::{CaptureMode, Config, KNOCK_NFLOG_GROUP};
use crate::domain::grant::GrantId;
use crate::engine::{Engine, Freshness, RecordError, Settings, Snapshot, Spent};
use crate::ipc::ends::BrokerChannels;
use crate::log::{self, Level, Strangers};
use crate::sandbox::{self, Folders};
use crate::store::key_rollover::FollowedFile;
use crate::store::{self, RedbStore, State, Store as _, StoreError};
use spa_keys::Failure;

impl Listener {
    /// Opens everything that a running listener needs, and the control socket.
    pub(super) fn start(
        files: ReceivedFiles,
        ends: BrokerChannels,
        recorded: UnboundedSender<Result<u64, RecordError>>,
        table_builds: TableBuilds,
    ) -> Result<(Self, UnixListener), Failure> {
        let clock = Clock::start();
        let config_path = files.path.clone();
        let setup = Setup::from_received(files)?;
        let config = setup.config;
        log::init(config.log.format, config.log.level)?;
        if !setup.findings.is_empty() {
            log::event(Level::Warn, "config")
                .with("findings", setup.findings.iter().count())
                .with("see", "spa-server check")
                .emit();
        }
        // Before anything is touched: a second server on the same table must not even begin.
        let control =
            retry_while_taken(|| control_socket::bind_socket(&config.server.control), is_in_use)
                .map_err(|error| {
                    Failure::failed(format!(
                        "control socket {}: {error}",
                        config.server.control.display()
                    ))
                })?;
        let now = clock.now();
        let settings = setup.settings;
        let ports = settings.sequence.live_ports(
            now.unix_ms,
            settings.window_past,
            settings.window_future + TABLE_LEAD_TIME,
        );
        let rules = config.rules(&ports);
        let mut backend = FirewallAccess::open_firewall(&config, &rules, ends.requests)?;

        let failed = |error: StoreError| Failure::failed(error.to_string());
        let mut opened = retry_while_taken(
            || RedbStore::open(&config.server.state),
            |error| matches!(error, StoreError::Busy(_)),
        )
        .map_err(failed)?;
        let freshness = restore_freshness(opened.state, now.unix_ms, &settings);
        // The fence of a start with nothing known about the past must outlive a crash of this run,
        // or whoever removes the store and then kills us would have his replays.
        opened.store.advance(freshness.first_mark_ms()).map_err(failed)?;
        let store = opened.store;
        let mut opened = retry_while_taken(
            || capture::open(capture_kind(&config), &ports, capture_interfaces(&config)),
            is_in_use,
        )?;
        opened.capture.bind_by(backend.remote.make_binder());

        // Everything that needs rights is open, and no stranger's byte was read. From here on there
        // is nothing to steal.
        let folders = writable_folders(&config);
        sandbox::listener(&folders, &config_path)?;
        let file = FollowedFile::of(&config.server.state);
        let mut followed = KeyFollowers::default();
        let news = followed.begin_registry(&setup.registry, Some(&file));
        let (recorder, first_grant) = StoreThread::start(store, file, recorded)?;
        news.into_iter().for_each(|news| recorder.write_followed(news));

        let mut engine = Engine::new(setup.registry, settings, freshness, now);
        let live = backend.firewall.grants()?;
        let record = Telemetry::start(&config, &live, now)?;
        engine.number_from(GrantId(first_grant));
        engine.adopt(live.into_iter().map(|live| (live.grant, live.left)), now);
        engine.build_tables(clock.now());
        for obstacle in backend.firewall.obstacles()? {
            log::event(Level::Warn, "obstacle")
                .with("chain", obstacle.chain)
                .with("text", obstacle.text)
                .emit();
        }
        log::event(Level::Info, "started")
            .with("version", env!("CARGO_PKG_VERSION"))
            .with("backend", backend.firewall.name())
            .with("capture", opened.capture.name())
            .number("clients", engine.registry().clients() as u64)
            .number("grants", engine.live_grants() as u64)
            .number("fence-s", engine.fence_left(clock.now()).as_millis().div_ceil(1000) as u64)
            .emit();
        let listener = Self {
            config_path,
            news: Some(watch_readable(ends.news)?),
            askers: Default::default(),
            replaced: Vec::new(),
            clock,
            engine,
            capture: Some(watch_readable(opened.capture)?),
            replier: opened.replier,
            backend,
            rules,
            recorder,
            telemetry: record,
            zone: jiff::tz::TimeZone::system(),
            closings: Default::default(),
            history: Default::default(),
            followed,
            last_reload: None,
            trial: Default::default(),
            ban_lines: Default::default(),
            strangers: Strangers::new([
                "wrong-length",
                "unknown-tag",
                "wrong-mac",
                "wrong-port",
                "replayed",
                "bans-not-logged",
            ]),
            visible: Vec::new(),
            counted: Default::default(),
            lost: 0,
            table_builds,
            broken: false,
            pace: Pace::new(std::time::Instant::now()),
            resting: None,
            config,
        };
        Ok((listener, control))
    }
}

/// Translates the store's state into rules for time stamps.
fn restore_freshness(state: State, unix_ms: u64, settings: &Settings) -> Freshness {
    let unknown = || Freshness::unknown(unix_ms, settings);
    match state {
        State::Clean { snapshot } => Freshness::clean(from_store(snapshot)),
        State::Crashed { mark } => {
            log::event(Level::Warn, "unclean-stop").with("refused-until", mark).emit();
            Freshness::fenced(mark)
        }
        State::Fresh => {
            log::event(Level::Info, "new-store")
                .with("refused", "knocks made before the start")
                .emit();
            unknown()
        }
        State::Unreadable { why } => {
            log::event(Level::Error, "store-unreadable")
                .with("error", why)
                .with("refused", "knocks made before the start")
                .emit();
            unknown()
        }
    }
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

fn from_store(snapshot: store::Snapshot) -> Snapshot {
    let spent = snapshot.used.into_iter().map(|used| Spent {
        client: used.client,
        session: SessionId(used.session),
        ts_ms: used.ts,
        accepted: used.accepted,
    });
    Snapshot { spent: spent.collect(), floors: snapshot.floors, fence_ms: snapshot.fence }
}

/// The replay state as the store keeps it.
pub(super) fn to_store(snapshot: Snapshot) -> store::Snapshot {
    let used = snapshot.spent.into_iter().map(|spent| store::Used {
        session: spent.session.0,
        client: spent.client,
        ts: spent.ts_ms,
        accepted: spent.accepted,
    });
    store::Snapshot { used: used.collect(), floors: snapshot.floors, fence: snapshot.fence_ms }
}
