//! Rule for sources that are not Markdown: at most 100 columns.
//! A word that cannot be broken, a row of a table and the contents of a text may be wider.

/// Longest line, in characters.
const MAX_COLUMNS: usize = 100;
/// Length in characters from which on a word without spaces may make a line wider.
const UNBROKEN_WORD: usize = 60;

/// Returns true for files that the rule is for, by their name.
#[must_use]
pub fn is_source(name: &str) -> bool {
    let ends = [".rs", ".sh", ".py", ".toml", ".service", ".socket", "Makefile", ".ci/run"];
    ends.iter().any(|end| name.ends_with(end))
}

/// Finds the lines that are too wide, as number of the line and its columns.
#[must_use]
pub fn find_wide_lines(name: &str, text: &str) -> Vec<(usize, usize)> {
    let inside = if name.ends_with(".rs") { lines_inside_texts(text) } else { Vec::new() };
    let numbered = (1..).zip(text.lines());
    numbered
        .map(|(number, line)| (number, line, line.chars().count()))
        .filter(|(number, line, columns)| {
            *columns > MAX_COLUMNS && !inside.contains(number) && !may_be_wide(line)
        })
        .map(|(number, _, columns)| (number, columns))
        .collect()
}

fn may_be_wide(line: &str) -> bool {
    let is_row = line.trim_start().trim_start_matches(['/', '!', '#', ' ']).starts_with('|');
    is_row || line.split_whitespace().any(|word| word.chars().count() > UNBROKEN_WORD)
}

/// Numbers of the lines of a Rust file that begin inside a string literal.
fn lines_inside_texts(text: &str) -> Vec<usize> {
    let Ok(stream) = text.parse::<proc_macro2::TokenStream>() else { return Vec::new() };
    let (mut lines, mut left) = (Vec::new(), vec![stream]);
    while let Some(stream) = left.pop() {
        for token in stream {
            match token {
                proc_macro2::TokenTree::Group(group) => left.push(group.stream()),
                proc_macro2::TokenTree::Literal(literal) => {
                    let span = literal.span();
                    lines.extend(span.start().line + 1..=span.end().line);
                }
                _ => {}
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_is_wide_and_exceptions_are_none() {
        let wide = "word ".repeat(21);
        assert_eq!(find_wide_lines("a.sh", &format!("x\n{wide}\n")), [(2, 105)]);
        assert_eq!(find_wide_lines("a.rs", &format!("// {wide}")), [(1, 108)]);
        assert_eq!(find_wide_lines("a.rs", &format!("const A: &str = \"{wide}\";")), [(1, 124)]);
        assert!(find_wide_lines("a.rs", &format!("const A: &str = \"\n{wide}\";")).is_empty());
        assert!(find_wide_lines("a.rs", &format!("//! | {wide} |")).is_empty());
        assert!(find_wide_lines("a.sh", &format!("{} {wide}", "x".repeat(61))).is_empty());
        assert!(find_wide_lines("a.sh", &"word ".repeat(20)).is_empty());
    }
}
