//! Lines of the peers' files: `NAME value;` (fwknop) and `name = value` under `[section]` (knockd).

use super::report::{ImportError, PeerFile, Remarks, SourceLine};

/// Directive of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// File and line of the directive.
    pub(super) place: SourceLine,
    /// Name of the directive, in capitals.
    pub(super) name: String,
    /// Value without spaces around it; empty for knockd's switches.
    pub(super) value: &'a str,
}

/// A directive or the head of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Section(SourceLine, &'a str),
    Line(Line<'a>),
}

impl Line<'_> {
    /// Tells whether the value is fwknop's yes: the letter, whatever follows it.
    pub(super) fn is_yes(&self) -> bool {
        self.value.starts_with(['y', 'Y'])
    }

    /// Reads the value as a number.
    pub(super) fn parse_number(&self) -> Result<u32, ImportError> {
        self.value.parse().map_err(|_| self.make_error("the value is not a number"))
    }

    /// Makes an error about this directive.
    pub(super) fn make_error(&self, text: &str) -> ImportError {
        ImportError { place: self.place.clone(), text: format!("{}: {text}", self.name) }
    }
}

/// fwknop's files (server/config_init.c, server/access.c, client/config_init.c): a comment begins a
/// line with `#`, a value ends at `;`; with `sections`, `[name]` is a stanza of .fwknoprc, whose
/// values are one word.
pub(super) fn parse_fwknop<'a>(
    input: &'a PeerFile,
    sections: bool,
    remarks: &mut Remarks,
) -> Result<Vec<Item<'a>>, ImportError> {
    let mut items = Vec::new();
    for (place, line) in number_lines(input, &['#', ';']) {
        if let (true, Some(head)) = (sections, line.strip_prefix('[')) {
            items.push(Item::Section(place.clone(), parse_section(&place, head)?));
            continue;
        }
        let (name, rest) =
            line.split_once(char::is_whitespace).unwrap_or((line.trim_end_matches(';'), ""));
        let name = parse_name(&place, name.trim_end_matches(':'))?;
        let end = rest.find(|c| c == ';' || (sections && c == '#')).unwrap_or(rest.len());
        let (value, after) = rest.split_at(end);
        let value = value.trim();
        let (value, more) = match value.split_once(char::is_whitespace) {
            Some((word, more)) if sections => (word, more),
            _ => (value, ""),
        };
        let after = after.trim_start_matches(';').trim();
        if !more.is_empty() || !(after.is_empty() || after.starts_with('#')) {
            remarks.warn(
                &place,
                format!("{name}: fwknop ignores what follows the value, and so does this"),
            );
        }
        let line = Line { place, name, value };
        if value.is_empty() {
            return Err(line.make_error("a value is missing; fwknop would not take this line"));
        }
        items.push(Item::Line(line));
    }
    Ok(items)
}

/// knockd's file (src/knockd.c, parseconfig): a comment begins a line with `#`, everything stands
/// in a section.
pub(super) fn parse_knockd(input: &PeerFile) -> Result<Vec<Item<'_>>, ImportError> {
    let mut items = Vec::new();
    for (place, line) in number_lines(input, &['#']) {
        if let Some(head) = line.strip_prefix('[') {
            items.push(Item::Section(place.clone(), parse_section(&place, head)?));
            continue;
        }
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        let name = parse_name(&place, name.trim_end())?;
        if items.is_empty() {
            let text = format!(
                "{name}: a directive before the first [section]; knockd would not start with it"
            );
            return Err(ImportError { place, text });
        }
        items.push(Item::Line(Line { place, name, value: value.trim() }));
    }
    Ok(items)
}

/// Lists the lines that are neither empty nor comments, with their places.
fn number_lines<'a>(
    input: &'a PeerFile,
    comments: &'a [char],
) -> impl Iterator<Item = (SourceLine, &'a str)> {
    let lines = (1..).zip(input.text.expose().lines().map(str::trim));
    lines
        .filter(move |(_, line)| !line.is_empty() && !line.starts_with(comments))
        .map(|(line, text)| (SourceLine { file: input.name.clone(), line }, text))
}

fn parse_section<'a>(place: &SourceLine, head: &'a str) -> Result<&'a str, ImportError> {
    let wrong = |text: &str| ImportError { place: place.clone(), text: text.to_owned() };
    let (name, after) = head.split_once(']').ok_or_else(|| wrong("a section without its `]`"))?;
    match (name.trim(), after.trim()) {
        ("", _) => Err(wrong("a section without a name")),
        (_, after) if !after.is_empty() && !after.starts_with('#') => {
            Err(wrong("something stands behind the `]` of a section"))
        }
        (name, _) => Ok(name),
    }
}

/// Reads a directive's name. Anything else is not shown: half a key may have slipped into a line of
/// its own.
fn parse_name(place: &SourceLine, word: &str) -> Result<String, ImportError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '%';
    if !word.is_empty() && word.len() <= 40 && word.chars().all(fine) {
        Ok(word.to_ascii_uppercase())
    } else {
        let text = "this is no directive; the line is not shown, as it may hold a key".to_owned();
        Err(ImportError { place: place.clone(), text })
    }
}
