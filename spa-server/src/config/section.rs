//! One table of the TOML text, read key by key. Every misfit becomes a finding and reading goes on.

use std::collections::HashSet;
use std::fmt::Display;
use std::ops::RangeInclusive;

use spa_keys::did_you_mean;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::findings::{Report, ValueError};
use super::span::{Located, NO_SPAN, Span};

/// A table, and which of its keys were asked for. Reading ends with [`Section::finish`].
pub(super) struct Section<'d> {
    /// As messages call it: `[server]`.
    title: String,
    /// The header, for findings about what is missing.
    pub(super) span: Span,
    table: Option<&'d DeTable<'d>>,
    known: Vec<&'static str>,
}

type Value<'d> = &'d Spanned<DeValue<'d>>;

impl<'d> Section<'d> {
    /// The top level of a document.
    pub(super) fn root(table: &'d DeTable<'d>) -> Self {
        Self {
            title: "the top level".to_owned(),
            span: NO_SPAN,
            table: Some(table),
            known: Vec::new(),
        }
    }

    /// Returns true when the table was written at all.
    pub(super) fn is_present(&self) -> bool {
        self.table.is_some()
    }

    /// Returns true when the key is written, whatever its value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Returns true when the key holds one text rather than an array.
    pub(super) fn is_text(&self, key: &str) -> bool {
        self.table.and_then(|table| table.get(key)).is_some_and(|v| v.get_ref().is_str())
    }

    /// Returns true when the key holds an array without items.
    pub(super) fn is_empty_array(&self, key: &str) -> bool {
        self.table
            .and_then(|table| table.get(key))
            .and_then(|v| v.get_ref().as_array())
            .is_some_and(|a| a.is_empty())
    }

    /// Place at which a key is written, or else of the header.
    pub(super) fn span_of(&self, key: &str) -> Span {
        self.table
            .and_then(|t| t.get_key_value(key))
            .map_or_else(|| self.span.clone(), |(k, _)| k.span())
    }

    fn value(&mut self, key: &'static str) -> Option<Value<'d>> {
        self.known.push(key);
        self.table?.get(key)
    }

    /// Keys that were not asked for because they are not there.
    pub(super) fn mark_known(&mut self, keys: &[&'static str]) {
        self.known.extend(keys);
    }

    /// A key that must be there.
    pub(super) fn require(&self, report: &mut Report<'_>, key: &str, example: &str) {
        if !self.has(key) {
            report.error(
                &self.span,
                format!("{} lacks `{key}`: write {key} = {example}", self.title),
            );
        }
    }

    /// The table `[key]`; an empty one when it is not written.
    pub(super) fn table(&mut self, report: &mut Report<'_>, key: &'static str) -> Section<'d> {
        let value = self.value(key);
        let table = value.and_then(|v| v.get_ref().as_table());
        if let (Some(v), None) = (value, table) {
            let wanted = match v.get_ref() {
                DeValue::Array(_) => {
                    format!("`{key}` is written once: write [{key}], not [[{key}]]")
                }
                other => format!("`{key}` is {}: write a table [{key}]", describe_kind(other)),
            };
            report.error(&self.span_of(key), wanted);
        }
        let span = value.map_or(self.span.clone(), |v| v.span());
        Section { title: format!("[{key}]"), span, table, known: Vec::new() }
    }

    /// The tables `[[key]]`.
    pub(super) fn read_tables(
        &mut self,
        report: &mut Report<'_>,
        key: &'static str,
    ) -> Vec<Section<'d>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let title = format!("[[{key}]]");
        let Some(array) = value.get_ref().as_array() else {
            report.error(
                &self.span_of(key),
                format!("there can be several of `{key}`: write {title} above each"),
            );
            return Vec::new();
        };
        let mut sections = Vec::new();
        for item in array.iter() {
            match item.get_ref().as_table() {
                Some(table) => {
                    sections.push(Section {
                        title: title.clone(),
                        span: item.span(),
                        table: Some(table),
                        known: Vec::new(),
                    });
                }
                None => report.error(
                    &item.span(),
                    format!(
                        "`{key}` holds {}: write {title} above each",
                        describe_kind(item.get_ref())
                    ),
                ),
            }
        }
        sections
    }

    /// A text that `parse` makes a value of. A TOML date counts as the text that it is written as.
    pub(super) fn text<T, E: Display>(
        &mut self,
        report: &mut Report<'_>,
        key: &'static str,
        example: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Located<T>> {
        let value = self.value(key)?;
        let parsed = match value.get_ref() {
            DeValue::String(text) => parse(text).map_err(|e| e.to_string()),
            DeValue::Datetime(moment) => parse(&moment.to_string()).map_err(|e| e.to_string()),
            other => Err(format!("`{key}` is {}: write {key} = {example}", describe_kind(other))),
        };
        keep_or_report(report, value.span(), parsed)
    }

    /// An array of texts. Items that do not parse are findings and left out.
    pub(super) fn read_texts<T, E: Display>(
        &mut self,
        report: &mut Report<'_>,
        key: &'static str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<Located<Vec<Located<T>>>> {
        self.read_items(report, key, example, |value| match value {
            DeValue::String(text) => parse(text).map_err(|e| e.to_string()),
            other => {
                Err(format!("`{key}` holds {}: write {key} = {example}", describe_kind(other)))
            }
        })
    }

    /// Notes the first text that an array of texts has twice.
    pub(super) fn note_double(&self, report: &mut Report<'_>, key: &str) {
        let array =
            self.table.and_then(|table| table.get(key)).and_then(|v| v.get_ref().as_array());
        let mut seen = HashSet::new();
        for item in array.into_iter().flat_map(|array| array.iter()) {
            let Some(text) = item.get_ref().as_str() else { continue };
            if !seen.insert(text) {
                let text = text.escape_debug();
                report.note(&item.span(), format!("`{text}` is there twice: take one out"));
                return;
            }
        }
    }

    /// An array of whatever `parse` understands.
    pub(super) fn read_items<T, E: Display>(
        &mut self,
        report: &mut Report<'_>,
        key: &'static str,
        example: &str,
        parse: impl Fn(&DeValue<'_>) -> Result<T, E>,
    ) -> Option<Located<Vec<Located<T>>>> {
        let value = self.value(key)?;
        let Some(array) = value.get_ref().as_array() else {
            report.error(
                &value.span(),
                format!("`{key}` is {}: write {key} = {example}", describe_kind(value.get_ref())),
            );
            return None;
        };
        let mut items = Vec::with_capacity(array.len());
        for item in array.iter() {
            items.extend(keep_or_report(report, item.span(), parse(item.get_ref())));
        }
        Some(Located { value: items, span: value.span() })
    }

    /// One of a few words.
    pub(super) fn read_choice<T: Copy>(
        &mut self,
        report: &mut Report<'_>,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<Located<T>> {
        let words = || join_choices(choices.iter().map(|(word, _)| *word));
        let value = self.value(key)?;
        let parsed = match value.get_ref() {
            DeValue::String(text) => {
                choices.iter().find(|(word, _)| word == text).map(|(_, t)| *t).ok_or_else(|| {
                    let near = did_you_mean(text, choices.iter().map(|(word, _)| *word));
                    format!(
                        "`{}` is not a value of `{key}`: write {}{near}",
                        text.escape_debug(),
                        words()
                    )
                })
            }
            other => Err(format!("`{key}` is {}: write {}", describe_kind(other), words())),
        };
        keep_or_report(report, value.span(), parsed)
    }

    /// A whole number within bounds.
    pub(super) fn number(
        &mut self,
        report: &mut Report<'_>,
        key: &'static str,
        bounds: RangeInclusive<u32>,
    ) -> Option<Located<u32>> {
        let value = self.value(key)?;
        keep_or_report(report, value.span(), number(value.get_ref(), key, &bounds))
    }

    /// `true` or `false`.
    pub(super) fn read_boolean(
        &mut self,
        report: &mut Report<'_>,
        key: &'static str,
    ) -> Option<Located<bool>> {
        let value = self.value(key)?;
        let parsed = match value.get_ref() {
            DeValue::Boolean(word) => Ok(*word),
            other => Err(format!(
                "`{key}` is {}: write true or false, without quotes",
                describe_kind(other)
            )),
        };
        keep_or_report(report, value.span(), parsed)
    }

    /// Ends reading: keys that nobody asked for are findings.
    pub(super) fn finish(self, report: &mut Report<'_>) {
        for (key, _) in self.table.into_iter().flatten() {
            let name = key.get_ref();
            if !self.known.contains(&name.as_ref()) {
                let near = did_you_mean(name, self.known.iter().copied());
                let near = if near.is_empty() {
                    format!("; it knows {}", self.known.join(", "))
                } else {
                    near
                };
                report.error(
                    &key.span(),
                    format!("unknown key `{}` in {}{near}", name.escape_debug(), self.title),
                );
            }
        }
    }
}

/// A whole number within bounds, as an item of an array or alone.
pub(super) fn number(
    value: &DeValue<'_>,
    key: &str,
    bounds: &RangeInclusive<u32>,
) -> Result<u32, ValueError> {
    let wanted = || format!("write a whole number from {} to {}", bounds.start(), bounds.end());
    match value {
        DeValue::Integer(n) => u32::from_str_radix(n.as_str(), n.radix())
            .ok()
            .filter(|n| bounds.contains(n))
            .ok_or_else(|| format!("{n} does not fit `{key}`: {}", wanted()).into()),
        other => Err(format!("`{key}` has {}: {}", describe_kind(other), wanted()).into()),
    }
}

fn keep_or_report<T, E: Display>(
    report: &mut Report<'_>,
    span: Span,
    parsed: Result<T, E>,
) -> Option<Located<T>> {
    match parsed {
        Ok(value) => Some(Located { value, span }),
        Err(error) => {
            report.error(&span, error.to_string());
            None
        }
    }
}

/// Names the kind of a value, with its article.
fn describe_kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a bare number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// `"a", "b" or "c"`.
fn join_choices<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let quoted: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}
