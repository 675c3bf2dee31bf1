//! The outputs in docs/models are those of the models there, and as expected. Nothing is proved
//! anew here: that takes ProVerif and minutes (`make models`).
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

#[test]
fn stored_outputs_are_those_of_the_models() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/models");
    let check =
        Command::new("python3").arg("-B").arg(folder.join("run.py")).arg("--check").output();
    let check = check.unwrap();
    let told = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success(), "{told}{}", String::from_utf8_lossy(&check.stderr));
    // The numbers of models that the README's table tells add up to those that there are.
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    let counts = rows.filter_map(|row| row.split('|').nth(2)?.trim().parse::<usize>().ok());
    assert_eq!(told.trim(), format!("{} models, as stored", counts.sum::<usize>()));
}
