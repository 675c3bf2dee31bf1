//! Every file in pkg/examples is a configuration without errors and warnings.

use spa_keys::Severity;
use std::path::Path;

use crate::config::{Config, Surroundings, parse};
use crate::domain::grant::Scope;
use crate::domain::ports::PortRange;
use crate::firewall::Mode;

fn example(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pkg/examples").join(name);
    let text = std::fs::read_to_string(path).unwrap();
    // The kernel's default range: an example must not collide with it.
    let around = Surroundings {
        local_ports: Some(PortRange { first: 32768, last: 60999 }),
        ..Surroundings::none()
    };
    let (config, findings) = parse(name, &text, &around);
    assert!(findings.iter().all(|f| f.severity == Severity::Note), "{findings}");
    config.expect("no error")
}

#[test]
fn every_example() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pkg/examples");
    let names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.len() >= 3);
    for name in names.iter().filter(|name| name.ends_with(".toml")) {
        example(name);
    }
}

#[test]
fn recipe_is_the_recipe() {
    let recipe = example("recipe.toml");
    let rules = recipe.rules(&[]);
    assert_eq!(recipe.sequence.stages, crate::config::Stages::Fixed(vec![888, 555, 222]));
    assert_eq!(recipe.sequence.timeout.as_secs(), 30);
    assert_eq!(rules.mode, Mode::Standalone);
    let service = &recipe.services[0];
    assert_eq!((service.scope.clone(), service.ttl.as_secs()), (Scope::All, 30 * 60));
    let baits: Vec<_> = rules
        .baits
        .iter()
        .map(|b| {
            (
                b.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
                b.ban.as_secs(),
                b.unless_secured,
            )
        })
        .collect();
    assert_eq!(
        baits,
        [
            ("tcp/666".to_owned(), 1000 * 60, false),
            ("tcp/21-23 tcp/8291 tcp/10000-60000".to_owned(), 60, true)
        ]
    );
}
