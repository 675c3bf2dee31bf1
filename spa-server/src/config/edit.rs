//! Changing `[server]`'s keys in the configuration, comments kept: in one step, and only to what
//! can be read again.

use std::path::Path;

use toml_edit::{DocumentMut, Item, Table, Value};

use super::clients::EditError;
use super::clients::files::Writer;
use super::{Surroundings, decode_text, find_syntax_error, parse};

/// Sets texts in `[server]`, or takes them out.
///
/// # Errors
/// Reason why the file was not changed.
pub fn set_server(
    path: &Path,
    changes: &[(&str, Option<&str>)],
    around: &Surroundings<'_>,
) -> Result<(), EditError> {
    let shown = path.display().to_string();
    let writer = Writer::lock(path)?;
    let text =
        decode_text(&shown, writer.content().unwrap_or_default()).map_err(EditError::Refused)?;
    let mut document: DocumentMut =
        text.parse().map_err(|_| EditError::Refused(find_syntax_error(&shown, text)))?;
    let server = document.entry("server").or_insert_with(|| Item::Table(Table::new()));
    let server = server.as_table_like_mut().ok_or(EditError::Form)?;
    for (key, value) in changes {
        match value {
            None => drop(server.remove(key)),
            // In place, so that a comment behind the old value stays.
            Some(text) => match server.get_mut(key).and_then(Item::as_value_mut) {
                Some(old) => {
                    let decor = old.decor().clone();
                    *old = Value::from(*text);
                    *old.decor_mut() = decor;
                }
                None => drop(server.insert(key, Item::Value(Value::from(*text)))),
            },
        }
    }
    let new = document.to_string();
    let (config, findings) = parse(&shown, &new, around);
    if config.is_none() {
        return Err(EditError::Refused(findings));
    }
    Ok(writer.replace_as_it_was(new.as_bytes())?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn comments_and_mode_stay_and_what_cannot_be_read_again_is_not_written() {
        let folder = std::env::temp_dir().join(format!("spa-set-server-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("spa-server.toml");
        let text = "# ours\n[server]\nkey = \"/etc/spa/a.key\" # made in May\nack = \
            \"on\"\n\n[sequence]\nports = [888, 555, 222]\n\n[[service]] # hidden\nname = \
            \"ssh\"\nports = [\"tcp/22\"]\n";
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let around = Surroundings::none();
        let both = [("key", Some("/etc/spa/b.key")), ("previous-key", Some("/etc/spa/a.key"))];
        set_server(&path, &both, &around).unwrap();
        let new = std::fs::read_to_string(&path).unwrap();
        let expected = text
            .replace("a.key\"", "b.key\"")
            .replace("ack = \"on\"\n", "ack = \"on\"\nprevious-key = \"/etc/spa/a.key\"\n");
        assert_eq!(new, expected);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        // Taken out, it is as before but for the key.
        set_server(&path, &[("previous-key", None), ("previous-key-until", None)], &around)
            .unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text.replace("a.key\"", "b.key\""));
        for wrong in [("key", Some("relative")), ("previous-key-until", Some("2027-01-31"))] {
            assert!(matches!(set_server(&path, &[wrong], &around), Err(EditError::Refused(_))));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text.replace("a.key\"", "b.key\""));
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
