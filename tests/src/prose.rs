//! Rules for Markdown: one sentence per line, at most 100 columns, sentences of fewer than 25
//! words. Tables, code blocks, headings and HTML are left out.

/// Longest line, in characters. Only a link may make one longer.
const MAX_COLUMNS: usize = 100;
/// Number of words from which on a sentence is too long; a code span or a link counts as one.
const TOO_MANY_WORDS: usize = 25;
/// Words whose period ends no sentence.
const ABBREVIATIONS: [&str; 8] =
    ["e.g.", "i.e.", "vs.", "cf.", "etc.", "approx.", "incl.", "resp."];

/// A line that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Number of the line, from 1; of the first one for a long sentence.
    pub line: usize,
    /// The rule, and what breaks it.
    pub what: String,
}

/// Finds what breaks the rules in a document.
#[must_use]
pub fn find_breaches(text: &str) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for block in prose_blocks(text) {
        for (line, shown) in &block {
            let columns = without_link_targets(shown).chars().count();
            if columns > MAX_COLUMNS {
                breaches.push(Breach { line: *line, what: format!("{columns} columns wide") });
            }
            if split_sentences(&mask_spans(shown)).len() > 1 {
                let what = "more than one sentence on a line".to_owned();
                breaches.push(Breach { line: *line, what });
            }
        }
        let Some((first, _)) = block.first() else { continue };
        let joined: Vec<&str> = block.iter().map(|(_, line)| line.trim()).collect();
        for sentence in split_sentences(&mask_spans(&joined.join(" "))) {
            let has_text = |word: &&str| word.contains(|c: char| c.is_alphanumeric());
            let words = sentence.split_whitespace().filter(has_text).count();
            if words >= TOO_MANY_WORDS {
                let start: String = sentence.chars().take(60).collect();
                let what = format!("a sentence of {words} words: {start}…");
                breaches.push(Breach { line: *first, what });
            }
        }
    }
    breaches
}

/// Collects paragraphs and list items, each as its lines with their numbers.
fn prose_blocks(text: &str) -> Vec<Vec<(usize, &str)>> {
    let (mut blocks, mut block, mut in_code) = (Vec::new(), Vec::new(), false);
    for (index, line) in text.lines().enumerate() {
        let start = line.trim_start();
        let is_fence = start.starts_with("```") || start.starts_with("~~~");
        let is_prose =
            !in_code && !is_fence && !start.is_empty() && !start.starts_with(['|', '#', '<']);
        in_code ^= is_fence;
        if (!is_prose || is_list_item(start)) && !block.is_empty() {
            blocks.push(std::mem::take(&mut block));
        }
        if is_prose {
            block.push((index + 1, line));
        }
    }
    blocks.push(block);
    blocks
}

fn is_list_item(line: &str) -> bool {
    let after_number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    let numbered = after_number.len() < line.len() && after_number.starts_with(['.', ')']);
    numbered || ["- ", "* ", "+ "].iter().any(|mark| line.starts_with(mark))
}

/// Removes the targets of links, `](…)`.
fn without_link_targets(line: &str) -> String {
    let mut parts = line.split("](");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        kept.push(']');
        kept.push_str(part.split_once(')').map_or("", |(_, behind)| behind));
    }
    kept
}

/// Replaces code spans and links by one word each, so that what is in them counts for nothing.
fn mask_spans(text: &str) -> String {
    let mut masked = String::new();
    for (index, part) in text.split('`').enumerate() {
        masked.push_str(if index % 2 == 1 { "Code" } else { part });
    }
    let mut linked = String::new();
    let mut rest = masked.as_str();
    while let Some((before, link)) = rest.split_once('[') {
        linked.push_str(before);
        match link.split_once("](").and_then(|(_, target)| target.split_once(')')) {
            Some((_, behind)) => {
                linked.push_str("Link");
                rest = behind;
            }
            None => {
                linked.push('[');
                rest = link;
            }
        }
    }
    linked + rest
}

/// Splits at ends of sentences: `.`, `!` or `?`, perhaps a closing mark, white space, and a capital
/// letter, a digit or an opening mark. Not within parentheses.
fn split_sentences(text: &str) -> Vec<&str> {
    let (mut sentences, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    let bytes: Vec<(usize, char)> = text.char_indices().collect();
    for (at, (offset, c)) in bytes.iter().enumerate() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let is_space = c.is_whitespace();
        let before = text.get(start..*offset).unwrap_or_default().trim_end();
        let core = before.trim_end_matches(['"', '”', ')', ']', '*', '_']);
        let ends = core.ends_with(['.', '!', '?']) && !core.ends_with("...");
        let last_word = core.rsplit(char::is_whitespace).next().unwrap_or_default();
        let is_short = ABBREVIATIONS.contains(&last_word)
            || last_word.trim_end_matches('.').parse::<u32>().is_ok()
                && start == 0
                && before == last_word;
        let next = bytes.get(at + 1).map(|(_, next)| *next);
        let begins = next.is_some_and(|next| {
            next.is_uppercase() || next.is_ascii_digit() || "\"“(*_[".contains(next)
        });
        if is_space && depth == 0 && ends && !is_short && begins {
            sentences.push(before);
            start = *offset + 1;
        }
    }
    sentences.push(text.get(start..).unwrap_or_default().trim());
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        find_breaches(text).into_iter().map(|breach| breach.line).collect()
    }

    #[test]
    fn rules_are_kept() {
        let good = "# A heading. With two sentences. And many more of them\n\
                    One sentence, e.g. this one.\nAnother (with. Two. In it).\n\n\
                    - `a. B` and version 1.2 of it.\n  See [a. B](x).\n1. A step.\n\n\
                    ```\nA. B. C.\n```\n| A. B. | C. D. |\n";
        assert_eq!(lines(good), [0_usize; 0]);
    }

    #[test]
    fn breaches_are_found() {
        assert_eq!(lines("One. Two.\n"), [1]);
        assert_eq!(lines("- One.\n- A thing! And one.\n"), [2]);
        assert_eq!(lines(&format!("\n{}\n", "ab".repeat(51))), [2]);
        assert_eq!(lines(&"word ".repeat(25).replace("d w", "d\nw")), [1]);
        assert_eq!(lines(&format!("[{}](x)\n", "ab".repeat(50))), [1]);
        assert_eq!(lines(&format!("[ab]({})\n", "ab".repeat(50))), [0_usize; 0]);
        assert_eq!(lines("See `x`. `y` is next.\n"), [1]);
        assert_eq!(find_breaches(&"word ".repeat(19)), []);
    }
}
