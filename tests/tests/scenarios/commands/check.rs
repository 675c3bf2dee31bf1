//! `spa-server check`.

use super::*;

#[test]
fn check_is_content_with_every_example() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pkg/examples");
    let mut checked = 0;
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        checked += 1;
        let folder = TempDir::new();
        let here = folder.path().display().to_string();
        let made = run(Command::new(binary("spa"))
            .args(["keygen", "--server", "-o"])
            .arg(folder.join("server.key")));
        assert_eq!(made.0, Some(0), "{made:?}");
        // Its own paths are those of an installed server.
        let paths = format!("key = \"{here}/server.key\"\nclients = \"{here}/clients.toml\"\n");
        let text = fs::read_to_string(&path).unwrap();
        let text: String = text
            .lines()
            .filter(|line| !line.starts_with("key = ") && !line.starts_with("clients = "))
            .map(|line| format!("{line}\n"))
            .collect();
        let text = match text.contains("[server]\n") {
            true => text.replacen("[server]\n", &format!("[server]\n{paths}"), 1),
            false => format!("[server]\n{paths}{text}"),
        };
        let file = folder.write("server.toml", text);
        let (code, out, err) = run(Command::new(binary("spa-server")).arg("check").arg(&file));
        assert_eq!((code, err.as_str()), (Some(0), ""), "{}: {out}", path.display());
        let complaints = out.lines().filter(|line| line.contains(" error: ") || line.contains(" warning: "));
        let complaints: Vec<_> =
            complaints.filter(|line| !line.contains("there are no clients yet")).collect();
        assert!(complaints.is_empty(), "{}: {complaints:#?}", path.display());
        assert!(out.contains(": good: "), "{out}");
    }
    assert!(checked >= 3, "{checked} examples");
}
