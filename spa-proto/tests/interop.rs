//! A client and a server's checks in another language, on another crypto library, written from
//! `docs/protocol.md` alone, make and refuse the same bytes. Needs python3 and, where its
//! `cryptography` is not installed, a package index.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(program: &Path, arguments: &[&str]) -> Result<Output, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    if output.status.success() {
        return Ok(output);
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!(
        "{} {arguments:?}: {}\n{}",
        program.display(),
        output.status,
        String::from_utf8_lossy(&text)
    ))
}

/// A python3 that has `cryptography`: the system's, or one in a virtual environment below the
/// target folder.
fn python(requirements: &str) -> Result<PathBuf, String> {
    let system = PathBuf::from("python3");
    let import = [
        "-c",
        "from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey as k; \
                         k.generate().public_key().public_bytes_raw()",
    ];
    if run(&system, &import).is_ok() {
        return Ok(system);
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interop-venv");
    let inside = folder.join("bin/python3");
    if run(&inside, &import).is_err() {
        run(&system, &["-m", "venv", "--clear", folder.to_str().unwrap()])?;
        run(
            &inside,
            &["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements],
        )?;
        run(&inside, &import)?;
    }
    Ok(inside)
}

#[test]
fn a_python_client_makes_the_same_bytes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interop = root.join("../tests/interop");
    let python = match python(interop.join("requirements.txt").to_str().unwrap()) {
        Ok(python) => python,
        Err(why) if env::var_os("CI").is_none() => {
            eprintln!("NOT RUN, needs python3 with cryptography: {why}");
            return;
        }
        Err(why) => panic!("{why}"),
    };
    let (client, vectors) = (interop.join("vectors.py"), root.join("tests/vectors"));
    let said = run(&python, &["-B", client.to_str().unwrap(), vectors.to_str().unwrap()]);
    let said = said.unwrap_or_else(|why| panic!("{why}"));
    assert!(String::from_utf8_lossy(&said.stdout).contains("agree"));
}
