//! State files that are damaged, or something else: the message names that file and what to do.

use super::verdicts::{Thing, good, starts};
use super::*;

/// Files that a server has after its first start, and whether it starts without a whole one.
const FILES: [(&str, bool); 6] = [
    ("server.key", false),
    ("state/spa.store", true),
    ("state/spa.lock", false),
    ("state/audit.redb", true),
    ("state-broker/enrolled.toml", false),
    ("control.run", true),
];

/// Words of a remedy.
const REMEDIES: [&str; 7] =
    ["is kept as", "mv ", "move it", "put back", "chmod", "readlink", "kept-as"];

#[test]
fn a_state_file_that_is_another_thing_is_named_with_its_remedy() {
    need_namespaces!();
    let net = lan();
    let server = Server::prepare(&net.server, &good());
    assert!(server.control(&["invite", "phone", "--service", "ssh"]).status.success());
    let config = server.folder().join("server.toml");
    let (started, said) = starts(&net.server, &config);
    assert!(started, "{said}");
    for (name, starts_without) in FILES {
        let path = server.folder().join(name);
        let whole = fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        for thing in [Thing::File, Thing::Folder, Thing::Pipe, Thing::DeadLink] {
            fs::remove_file(&path).unwrap();
            thing.make(&path);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).ok();
            let (started, said) = starts(&net.server, &config);
            let what = format!("{name} is {thing:?}:\n{said}");
            let damaged = (name, thing) != ("state/spa.lock", Thing::File);
            assert_eq!(started, starts_without || !damaged, "{what}");
            if damaged && (name, started) != ("control.run", true) {
                let line = said.lines().find(|line| line.contains(path.to_str().unwrap()));
                let line = line.unwrap_or_else(|| panic!("it is not named: {what}"));
                assert!(
                    said.lines().any(|line| REMEDIES.iter().any(|word| line.contains(word))),
                    "no remedy in {line}: {what}"
                );
            }
            for aside in fs::read_dir(path.parent().unwrap()).unwrap() {
                let aside = aside.unwrap().path();
                if aside.to_string_lossy().contains(".corrupt-") {
                    let _gone = fs::remove_file(&aside).or_else(|_| fs::remove_dir(&aside));
                }
            }
            let _gone = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
            fs::write(&path, &whole).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}
