//! `first_day`: runs the lines of docs/first-day.md on two new machines and prints how long each
//! took.
#![allow(clippy::indexing_slicing)]

use std::time::Duration;

use spa_tests::Family;
use spa_tests::first_day::FirstDay;
use spa_tests::machine::Installed;
use spa_tests::probe::TcpProbe;

fn main() {
    let installed = Installed::new();
    for (name, families) in [("IPv4", &[Family::V4][..]), ("IPv6", &[Family::V6])] {
        let mut day = FirstDay::new(&installed, families);
        let start = day.start();
        let (join, _) = day.join();
        let (ssh, _) = day.ssh();
        let (again, _) = day.ssh();
        for family in Family::BOTH {
            assert_eq!(
                day.seen_by_a_stranger(family),
                TcpProbe::Silent,
                "not hidden over {family}"
            );
        }
        println!("{name}");
        let told = |time: Duration, line: &str| println!("{:7.2} s  {line}", time.as_secs_f64());
        let lines = day.lines();
        told(start, lines[0]);
        told(join, &format!("{} (and the line pasted)", lines[1]));
        told(ssh, lines[3]);
        told(start + join + ssh, "together; ssh is hidden from everybody else");
        told(again, &format!("{} once more", lines[3]));
    }
}
