#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::{Duration, Instant};

use super::journal::{self, Keeper, Owed, Step};
use super::schedule::Book;
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
    }
}

fn live(id: u64) -> LiveGrant {
    LiveGrant { grant: grant(id), left: Duration::from_secs(30), used: None }
}

fn is_run(step: &Step) -> Option<&Job> {
    match step {
        Step::Run(job) => Some(job),
        _ => None,
    }
}

/// Programs and grants of the jobs since the last call, with their numbers.
fn told(book: &mut Book) -> Vec<(u64, String)> {
    let steps = book.steps();
    steps
        .iter()
        .filter_map(is_run)
        .map(|job| (job.number, format!("{} {}", job.run[0], job.values[3])))
        .collect()
}

fn owed(id: u64) -> Owed {
    let mut book = Book::default();
    let all = book.adopt(&config(BOTH), vec![live(id)], Vec::new(), Instant::now());
    all.into_values().next().unwrap()
}

#[test]
fn the_end_is_remembered_before_the_beginning_is_told_and_forgotten_when_told() {
    let (mut book, config, now) = (Book::default(), config(BOTH), Instant::now());
    book.opened(&config, &grant(1), now);
    let steps = book.steps();
    let [Step::Remember(place, end), Step::Run(open)] = steps.as_slice() else {
        panic!("{steps:?}")
    };
    assert_eq!((end, open.values[4].as_str()), (&owed(1), "open"));
    // Renewed.
    book.opened(&config, &grant(1), now + Duration::from_secs(10));
    assert_eq!((book.steps(), book.next()), (vec![], Some(now + Duration::from_secs(70))));
    // Ended while its beginning is still being told: one after the other.
    book.expire(&config, now + Duration::from_secs(69));
    book.closed(&config, GrantId(1));
    assert_eq!((book.steps(), book.next()), (vec![], None));
    book.reported(open.number, true);
    let steps = book.steps();
    let [Step::Run(close)] = steps.as_slice() else { panic!("{steps:?}") };
    assert_eq!((close.run[0].as_str(), close.values[4].as_str()), ("/bin/close", "close"));
    book.closed(&config, GrantId(1));
    assert_eq!(book.steps(), vec![]);
    book.reported(close.number, false);
    assert_eq!(book.steps(), vec![Step::Forget(*place)]);
    assert_eq!(book.failures().iter().map(|failed| failed.count).sum::<u64>(), 1);
}

#[test]
fn a_hook_that_left_the_configuration_is_told_and_a_mended_one_is_taken() {
    let now = Instant::now();
    let mended = config("on-close = { run = [\"/bin/mended\"] }\n");
    for (after, program) in
        [(without(), "/bin/close g1"), (config(""), "/bin/close g1"), (mended, "/bin/mended g1")]
    {
        let mut book = Book::default();
        book.opened(&config("on-close = { run = [\"/bin/close\"] }\n"), &grant(1), now);
        book.steps();
        book.closed(&after, GrantId(1));
        assert_eq!(told(&mut book)[0].1, program);
        // The same over a restart.
        let mut book = Book::default();
        book.adopt(&after, Vec::new(), vec![owed(1)], now);
        assert_eq!(told(&mut book)[0].1, program);
    }
}

#[test]
fn after_a_restart_what_has_ended_is_told_once_and_what_is_open_later() {
    let (mut book, config, now) = (Book::default(), config(BOTH), Instant::now());
    // g2 of this start is another than the g2 that is remembered.
    let mut other = live(2);
    other.grant.source = "192.0.2.8".parse().unwrap();
    let all =
        book.adopt(&config, vec![live(1), other, live(4)], vec![owed(1), owed(2), owed(3)], now);
    assert_eq!(all.len(), 5);
    let first = told(&mut book);
    let mut names: Vec<&str> = first.iter().map(|(_, name)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["/bin/close g2", "/bin/close g3"]);
    // Renewed after the restart: no beginning.
    book.opened(&config, &grant(1), now);
    assert_eq!(book.steps(), vec![]);
    book.expire(&config, now + Duration::from_secs(61));
    let mut rest: Vec<String> = told(&mut book).into_iter().map(|(_, name)| name).collect();
    rest.sort_unstable();
    assert_eq!(rest, ["/bin/close g1", "/bin/close g2", "/bin/close g4"]);
}

#[test]
fn the_kernel_knows_a_wide_grants_network_alone() {
    let (mut book, config, now) = (Book::default(), config(BOTH), Instant::now());
    let mut wide = live(1);
    (wide.grant.source, wide.grant.prefix) = ("192.0.2.0".parse().unwrap(), 24);
    assert_eq!(book.adopt(&config, vec![wide], vec![owed(1)], now).len(), 1);
    assert_eq!(told(&mut book), vec![]);
}

#[test]
fn the_runner_is_never_given_too_much_and_no_end_is_dropped() {
    let (mut book, config, now) = (Book::default(), config(BOTH), Instant::now());
    let count = MAX_OPEN_JOBS as u64 + 10;
    (1..=count).for_each(|id| book.opened(&config, &grant(id), now));
    let opens = told(&mut book);
    assert_eq!(opens.len(), MAX_OPEN_JOBS);
    assert_eq!(book.failures().iter().map(|failed| failed.count).sum::<u64>(), 10);
    book.expire(&config, now + Duration::from_secs(60));
    assert_eq!(told(&mut book), vec![]);
    let (mut waiting, mut closed) = (opens, 0);
    while let Some((number, _)) = waiting.pop() {
        book.reported(number, true);
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
    assert_eq!(journal::read(&folder), vec![]);
    let (ours, runners) = Channel::pair().unwrap();
    runners.set_patience(Duration::from_secs(30)).unwrap();
    let keeper = Keeper::start(folder.clone(), ours.into(), Default::default()).unwrap();
    let mut book = Book::default();
    let config = config(BOTH);
    for id in [1, 2] {
        book.opened(&config, &grant(id), Instant::now());
        book.steps().into_iter().for_each(|step| keeper.take(step));
        let Ok((Task::Run(job), _)) = runners.receive::<Task>() else { panic!("no job") };
        let there: Vec<u64> = journal::read(&folder).into_iter().map(|owed| owed.grant).collect();
        assert_eq!(there, (1..=id).collect::<Vec<_>>());
        book.reported(job.number, true);
    }
    book.closed(&config, GrantId(1));
    book.steps().into_iter().for_each(|step| keeper.take(step));
    let Ok((Task::Run(job), _)) = runners.receive::<Task>() else { panic!("no job") };
    assert_eq!(journal::read(&folder).len(), 2);
    book.reported(job.number, true);
    book.steps().into_iter().for_each(|step| keeper.take(step));
    // What was taken is written when it ends.
    drop(keeper);
    assert_eq!(journal::read(&folder), vec![owed(2)]);
    std::fs::remove_dir_all(&folder).unwrap();
}
