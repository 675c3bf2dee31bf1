//! `update_snapshots`: writes what the programs say into the files that the tests compare with.

use spa_tests::transcript::{ALL, store, stored};

fn main() -> std::io::Result<()> {
    for (name, transcript) in ALL {
        let now = transcript();
        if now != stored(name) {
            eprintln!("{name}.txt changed");
            store(name, &now)?;
        }
    }
    Ok(())
}
