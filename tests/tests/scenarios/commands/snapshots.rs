//! What the programs say, compared with what they said before.

use super::*;

#[test]
fn the_programs_say_what_they_said_before() {
    for (name, make) in transcript::ALL {
        let (now, stored) = (make(), transcript::stored(name));
        let at = now.lines().zip(stored.lines()).take_while(|(now, stored)| now == stored).count();
        let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
        assert!(
            now == stored,
            "{name}.txt differs in line {}:\n  now:    {}\n  stored: {}\nIf it shall be so: cargo run -p spa-tests --example \
             update_snapshots",
            at + 1,
            line(&now),
            line(&stored)
        );
    }
}
