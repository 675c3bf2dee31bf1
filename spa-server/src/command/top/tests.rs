#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};
use serde_json::{Value, json};

use super::state::{Key, TopState, Wish};
use super::view;
use crate::control::rows::BanRow;

const SECOND: Duration = Duration::from_secs(1);

fn answer() -> Value {
    json!({
        "server-version": "1.2.3", "up-s": 3725, "backend": "nftables", "clients": 2, "bans": 1,
        "not-hidden": [],
        "fence-left-s": 0.0,
        "protection": { "mode": "guard", "hide": "drop", "in-force": true },
        "clock": { "ms": 1, "synchronised": true },
        "reload": null, "obstacles": [],
        "knocks": { "granted": 5, "denied": 1, "stale": 0, "failed": 0 },
        "packets": {
            "all": 107, "strangers": 100, "replayed": 2, "lost": 0, "wrong-port": 0,
            "over-budget": 0, "not-authentic": 0, "bad-signature": 0, "ignored": 0, "stages": 5,
        },
        "grants": [
            {
                "grant": "g2", "client": "laptop", "service": "ssh", "source": "2001:db8:c::10",
                "prefix": 128, "ttl-s": 600, "left-s": 599, "used": 1
            },
            {
                "grant": "g1", "client": "desk\u{1b}[2Jtop", "service": "web",
                "source": "198.51.100.10", "prefix": 24, "ttl-s": 600, "left-s": 61, "used": null
            },
        ],
    })
}

fn update(state: &mut TopState, now: Duration, status: &Value) {
    let bans = [BanRow { network: "2001:db8:5::/64".parse().unwrap(), left_s: 3600 }];
    state.update(now, serde_json::from_value(status.clone()).unwrap(), &bans);
}

fn later() -> Value {
    let mut later = answer();
    later["knocks"]["granted"] = 7.into();
    later["packets"]["strangers"] = 350.into();
    later
}

fn screen(
    state: &TopState,
    width: u16,
    height: u16,
    plain: bool,
) -> (Vec<String>, Terminal<TestBackend>) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view::draw(frame, state, plain)).unwrap();
    let buffer = terminal.backend().buffer();
    let line =
        |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    ((0..height).map(line).collect(), terminal)
}

fn known() -> TopState {
    let mut state = TopState::default();
    update(&mut state, SECOND, &answer());
    update(&mut state, SECOND * 2, &later());
    state
}

#[test]
fn what_is_seen() {
    let (lines, _) = screen(&known(), 80, 24, true);
    let expected = [
        "spa-server 1.2.3  up 1h2m5s  nftables  2 clients  2 grants  1 ban",
        "knocks 2.0/s  noise 250/s  lost 0",
        "█",
        "█",
        "█",
        "  CLIENT              SERVICE       SOURCE                  LEFT      USED  GRANT",
    ];
    for (line, expected) in lines.iter().zip(expected) {
        assert_eq!(
            line.split_whitespace().collect::<Vec<_>>(),
            expected.split_whitespace().collect::<Vec<_>>()
        );
    }
    let words = |at: usize| lines[at].split_whitespace().collect::<Vec<_>>();
    // A name cannot speak to the terminal; it is cut where its column ends.
    assert!(lines[6].starts_with("> desk\\u{1b}[2J"), "{lines:#?}");
    assert_eq!(words(6)[2..], ["web", "198.51.100.10/24", "1m1s", "-", "g1"], "{lines:#?}");
    assert_eq!(words(7), ["laptop", "ssh", "2001:db8:c::10", "9m59s", "1", "g2"]);
    assert_eq!(words(20), ["BANNED", "LEFT"]);
    assert_eq!(words(21), ["2001:db8:5::/64", "1h"]);
    assert_eq!(lines[23], "arrows select   c close the grant   u lift the ban   q quit");
}

#[test]
fn time_goes_on_between_answers() {
    let mut state = known();
    state.advance_to(SECOND * 5);
    let (lines, terminal) = screen(&state, 80, 24, false);
    assert!(lines[6].contains(" 58s ") && lines[7].contains(" 9m56s "), "{lines:#?}");
    // Less than a minute is left.
    assert_eq!(terminal.backend().buffer()[(40, 6)].fg, Color::Yellow);
    state.advance_to(SECOND * 1000);
    assert!(screen(&state, 80, 24, false).0[6].contains(" 0s "));
}

#[test]
fn plain_has_no_colour() {
    let mut state = known();
    state.lose("gone".to_owned());
    for (plain, colours) in [(true, false), (false, true)] {
        let (_, terminal) = screen(&state, 80, 24, plain);
        let cells = terminal.backend().buffer().content();
        assert_eq!(
            cells.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset),
            colours
        );
        assert!(
            cells.iter().any(|cell| cell.modifier.contains(Modifier::REVERSED)),
            "the selection is seen"
        );
    }
}

#[test]
fn no_size_is_too_small_or_too_big() {
    let mut state = known();
    for width in (0..8).chain([80, 200]) {
        for height in (0..8).chain([24, 60]) {
            screen(&TopState::default(), width, height, false);
            screen(&state, width, height, false);
        }
    }
    state.asked = Some("g2".to_owned());
    state.lose("x".repeat(500));
    screen(&state, 3, 3, true);
}

#[test]
fn warnings_come_first() {
    let mut bad = answer();
    bad["fence-left-s"] = json!(7.0);
    bad["protection"]["in-force"] = false.into();
    bad["obstacles"] = json!([{ "chain": "inet other input", "text": "it drops" }]);
    let mut state = TopState::default();
    update(&mut state, SECOND, &bad);
    assert_eq!(
        screen(&state, 80, 24, true).0[2..5],
        [
            "! knocks are refused for 7s more (replay fence)",
            "! nothing is protected: the backend observes, or our table is damaged",
            "! inet other input: it drops",
        ]
    );
    // A brief answer says nothing of obstacles: what is known stays.
    let mut brief = answer();
    brief["obstacles"] = Value::Null;
    update(&mut state, SECOND * 2, &brief);
    assert_eq!(state.warnings(), ["inet other input: it drops"]);
    update(&mut state, SECOND * 3, &answer());
    assert!(state.warnings().is_empty());
    state.lose("no server answers".to_owned());
    assert!(
        screen(&state, 80, 24, true).0[2]
            .starts_with("! no answer, these figures are old: no server")
    );
}

#[test]
fn keys() {
    let mut state = known();
    // On the first grant, then the second, then the ban, and no further.
    assert_eq!(state.key(Key::Unban), None);
    assert_eq!((state.key(Key::Close), state.asked.as_deref()), (None, Some("g1")));
    assert!(screen(&state, 80, 24, true).0[23].starts_with("close g1 (desk"));
    assert_eq!((state.key(Key::No), state.asked.as_deref()), (None, None));
    state.key(Key::Down);
    state.key(Key::Close);
    assert_eq!(state.key(Key::Yes), Some(Wish::Close("g2".to_owned())));
    assert_eq!(state.key(Key::Yes), None, "asked once, answered once");
    state.key(Key::Down);
    state.key(Key::Down);
    assert_eq!((state.key(Key::Close), state.asked.as_deref()), (None, None));
    assert_eq!(state.key(Key::Unban), Some(Wish::Unban("2001:db8:5::/64".to_owned())));
    state.key(Key::Up);
    state.key(Key::Close);
    assert_eq!(state.asked.as_deref(), Some("g2"));
    // It has ended meanwhile: a yes must not mean another one. The selection goes to what is there.
    let mut fewer = answer();
    fewer["grants"].as_array_mut().unwrap().remove(0);
    update(&mut state, SECOND * 3, &fewer);
    assert_eq!((state.key(Key::Yes), state.asked.as_deref()), (None, None));
    state.key(Key::Close);
    assert_eq!(state.key(Key::Quit), Some(Wish::Quit));
}

#[test]
fn a_restarted_server_makes_no_negative_rate() {
    let mut state = known();
    let mut restarted = answer();
    restarted["knocks"]["granted"] = 1.into();
    restarted["packets"]["strangers"] = 1.into();
    update(&mut state, SECOND * 3, &restarted);
    assert_eq!((state.knocks, state.noise.front()), (0.0, Some(&0)));
    state.show_message("1 closed".to_owned());
    assert_eq!(screen(&state, 80, 24, true).0[23], "1 closed");
    state.advance_to(SECOND * 9);
    assert!(screen(&state, 80, 24, true).0[23].starts_with("arrows"));
}
