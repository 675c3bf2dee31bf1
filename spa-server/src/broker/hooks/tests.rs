#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use super::journal::{self, JournalStep, JournalThread, OwedHook};
use super::schedule::Schedule;
use crate::config::{Config, Surroundings, parse};
use crate::domain::grant::{Grant, GrantId, Scope};
use crate::firewall::LiveGrant;
use crate::ipc::channel::Channel;
use crate::ipc::hooks::{Job, MAX_OPEN_JOBS, Task};

const BOTH: &str = "on-open = { run = [\"/bin/open\"] }\non-close = { run = [\"/bin/close\"] }\n";

fn config(hooks: &str) -> Config {
    let text = format!(
        "[sequence]\nports = [7001]\n[[service]]\nname = \"web\"\nports = \
         [\"tcp/80\"]\n[[service]]\nname = \"ssh\"\nports = [\"tcp/22\"]\n{hooks}"
    );
    let (config, findings) = parse("test", &text, &Surroundings::none());
    config.unwrap_or_else(|| panic!("{findings}"))
}

/// The configuration without the service.
fn without() -> Config {
    let mut config = config(BOTH);
    config.services.retain(|service| &*service.name == "web");
    config
}

fn grant(id: u64) -> Grant {
    Grant {
        id: GrantId(id),
        client: "laptop".into(),
        service: "ssh".into(),
        source: "192.0.2.7".parse().unwrap(),
        prefix: 32,
        scope: Scope::All,
        ttl: Duration::from_secs(60),
        provisional: false,
    }
}

fn live(id: u64) -> LiveGrant {
    LiveGrant { grant: grant(id), left: Duration::from_secs(30), used: None }
}

fn is_run(step: &JournalStep) -> Option<&Job> {
    match step {
        JournalStep::Run(job) => Some(job),
        _ => None,
    }
}

/// Programs and grants of the jobs since the last call, with their numbers.
fn told(book: &mut Schedule) -> Vec<(u64, String)> {
    let steps = book.take_steps();
    steps
        .iter()
        .filter_map(is_run)
        .map(|job| (job.number, format!("{} {}", job.run[0], job.values[3])))
        .collect()
}

fn owed(id: u64) -> OwedHook {
    let mut book = Schedule::default();
    let all = book.adopt_grants(&config(BOTH), vec![live(id)], Vec::new(), Instant::now());
    all.into_values().next().unwrap()
}

#[test]
fn the_end_is_remembered_before_the_beginning_is_told_and_forgotten_when_told() {
    let (mut book, config, now) = (Schedule::default(), config(BOTH), Instant::now());
    book.note_opened(&config, &grant(1), now);
    let steps = book.take_steps();
    let [JournalStep::Remember(place, end), JournalStep::Run(open)] = steps.as_slice() else {
        panic!("{steps:?}")
    };
    assert_eq!((end, open.values[4].as_str()), (&owed(1), "open"));
    // Renewed.
    book.note_opened(&config, &grant(1), now + Duration::from_secs(10));
    assert_eq!(
        (book.take_steps(), book.next_expiry()),
        (vec![], Some(now + Duration::from_secs(70)))
    );
    // Ended while its beginning is still being told: one after the other.
    book.end_expired(&config, now + Duration::from_secs(69));
    book.note_closed(&config, GrantId(1));
    assert_eq!((book.take_steps(), book.next_expiry()), (vec![], None));
    book.note_report(open.number, true);
    let steps = book.take_steps();
    let [JournalStep::Run(close)] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!((close.run[0].as_str(), close.values[4].as_str()), ("/bin/close", "close"));
    book.note_closed(&config, GrantId(1));
    assert_eq!(book.take_steps(), vec![]);
    book.note_report(close.number, false);
    assert_eq!(book.take_steps(), vec![JournalStep::Forget(*place)]);
    assert_eq!(book.take_failures().iter().map(|failed| failed.count).sum::<u64>(), 1);
}

#[test]
fn a_hook_that_left_the_configuration_is_told_and_a_mended_one_is_taken() {
    let now = Instant::now();
    let mended = config("on-close = { run = [\"/bin/mended\"] }\n");
    for (after, program) in
        [(without(), "/bin/close g1"), (config(""), "/bin/close g1"), (mended, "/bin/mended g1")]
    {
        let mut book = Schedule::default();
        book.note_opened(&config("on-close = { run = [\"/bin/close\"] }\n"), &grant(1), now);
        book.take_steps();
        book.note_closed(&after, GrantId(1));
        assert_eq!(told(&mut book)[0].1, program);
        // The same over a restart.
        let mut book = Schedule::default();
        book.adopt_grants(&after, Vec::new(), vec![owed(1)], now);
        assert_eq!(told(&mut book)[0].1, program);
    }
}

#[test]
fn after_a_restart_what_has_ended_is_told_once_and_what_is_open_later() {
    let (mut book, config, now) = (Schedule::default(), config(BOTH), Instant::now());
    // g2 of this start is another than the g2 that is remembered.
    let mut other = live(2);
    other.grant.source = "192.0.2.8".parse().unwrap();
    let all = book.adopt_grants(
        &config,
        vec![live(1), other, live(4)],
        vec![owed(1), owed(2), owed(3)],
        now,
    );
    assert_eq!(all.len(), 5);
    let first = told(&mut book);
    let mut names: Vec<&str> = first.iter().map(|(_, name)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["/bin/close g2", "/bin/close g3"]);
    // Renewed after the restart: no beginning.
    book.note_opened(&config, &grant(1), now);
    assert_eq!(book.take_steps(), vec![]);
    book.end_expired(&config, now + Duration::from_secs(61));
    let mut rest: Vec<String> = told(&mut book).into_iter().map(|(_, name)| name).collect();
    rest.sort_unstable();
    assert_eq!(rest, ["/bin/close g1", "/bin/close g2", "/bin/close g4"]);
}

#[test]
fn the_kernel_knows_a_wide_grants_network_alone() {
    let (mut book, config, now) = (Schedule::default(), config(BOTH), Instant::now());
    let mut wide = live(1);
    (wide.grant.source, wide.grant.prefix) = ("192.0.2.0".parse().unwrap(), 24);
    assert_eq!(book.adopt_grants(&config, vec![wide], vec![owed(1)], now).len(), 1);
    assert_eq!(told(&mut book), vec![]);
}

#[test]
fn the_runner_is_never_given_too_much_and_no_end_is_dropped() {
    let (mut book, config, now) = (Schedule::default(), config(BOTH), Instant::now());
    let count = MAX_OPEN_JOBS as u64 + 10;
    (1..=count).for_each(|id| book.note_opened(&config, &grant(id), now));
    let opens = told(&mut book);
    assert_eq!(opens.len(), MAX_OPEN_JOBS);
    assert_eq!(book.take_failures().iter().map(|failed| failed.count).sum::<u64>(), 10);
    book.end_expired(&config, now + Duration::from_secs(60));
    assert_eq!(told(&mut book), vec![]);
    let (mut waiting, mut closed) = (opens, 0);
    while let Some((number, _)) = waiting.pop() {
        book.note_report(number, true);
        let next = told(&mut book);
        assert!(next.iter().all(|(_, name)| name.starts_with("/bin/close")), "{next:?}");
        closed += next.len() as u64;
        waiting.extend(next);
        assert!(waiting.len() <= MAX_OPEN_JOBS);
    }
    assert_eq!(closed, count);
}

#[test]
fn what_is_on_the_disk_when_a_job_goes_out() {
    let folder = std::env::temp_dir().join(format!("spa-hooks-memory-{}", std::process::id()));
    assert_eq!(journal::read_journal(&folder), vec![]);
    let (ours, runners) = Channel::pair().unwrap();
    runners.set_timeout(Duration::from_secs(30)).unwrap();
    let keeper = JournalThread::start(folder.clone(), ours.into(), Default::default()).unwrap();
    let mut book = Schedule::default();
    let config = config(BOTH);
    for id in [1, 2] {
        book.note_opened(&config, &grant(id), Instant::now());
        book.take_steps().into_iter().for_each(|step| keeper.queue_step(step));
        let Ok((Task::Run(job), _)) = runners.receive::<Task>() else { panic!("no job") };
        let there: Vec<u64> =
            journal::read_journal(&folder).into_iter().map(|owed| owed.grant).collect();
        assert_eq!(there, (1..=id).collect::<Vec<_>>());
        book.note_report(job.number, true);
    }
    book.note_closed(&config, GrantId(1));
    book.take_steps().into_iter().for_each(|step| keeper.queue_step(step));
    let Ok((Task::Run(job), _)) = runners.receive::<Task>() else { panic!("no job") };
    assert_eq!(journal::read_journal(&folder).len(), 2);
    book.note_report(job.number, true);
    book.take_steps().into_iter().for_each(|step| keeper.queue_step(step));
    // What was taken is written when it ends.
    drop(keeper);
    assert_eq!(journal::read_journal(&folder), vec![owed(2)]);
    std::fs::remove_dir_all(&folder).unwrap();
}
