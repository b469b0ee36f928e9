//! What is wrong with policy files, and where. Compiling goes on past a problem, so that an operator mends a file once, not once per mistake.

use std::fmt;
use std::ops::Range;

use toml::Spanned;

use super::file::Moment;
use super::values;
use crate::clock::Timestamp;
use crate::identity::Place;

/// One policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub name: String,
    pub text: String,
}

/// One thing that is wrong, and what to do about it. Ordered by file, line, column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub file: String,
    /// Counted from one; `None` if the file as a whole is meant.
    pub line: Option<usize>,
    /// In characters, counted from one.
    pub column: Option<usize>,
    pub message: String,
}

impl Problem {
    pub fn of_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, column: None, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        for number in [self.line, self.column].into_iter().flatten() {
            write!(f, ":{number}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Every problem of a set of files, in file and line order; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `None` if nothing is wrong.
    pub fn of(mut problems: Vec<Problem>) -> Option<Self> {
        problems.sort();
        problems.dedup();
        (!problems.is_empty()).then_some(Self(problems))
    }

    pub fn one(file: &str, message: &str) -> Self {
        Self(vec![Problem::of_file(file, message)])
    }

    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }

    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self.0.sort();
        self
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// The files being compiled, laid end to end: a span alone then says file, line and column, wherever a value travels.
pub(super) struct Texts<'a> {
    files: Vec<Laid<'a>>,
}

pub(super) struct Laid<'a> {
    pub file: &'a File,
    pub base: usize,
    line_starts: Vec<usize>,
}

impl<'a> Texts<'a> {
    pub fn of(files: impl IntoIterator<Item = &'a File>) -> Self {
        let mut base = 0;
        let files = files.into_iter().map(|file| {
            let ends = file.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            let laid = Laid { file, base, line_starts: std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect() };
            // One apart, so that the end of one file is not the start of the next.
            base += file.text.len() + 1;
            laid
        });
        Self { files: files.collect() }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Laid<'a>> {
        self.files.iter()
    }

    fn locate(&self, at: usize) -> Option<(&'a File, usize, usize)> {
        let laid = self.files.get(self.files.partition_point(|laid| laid.base <= at).checked_sub(1)?)?;
        let offset = at - laid.base;
        let line = laid.line_starts.partition_point(|start| *start <= offset);
        let start = *laid.line_starts.get(line.checked_sub(1)?)?;
        let before = laid.file.text.as_bytes().get(start..offset.min(laid.file.text.len())).unwrap_or_default();
        Some((laid.file, line, String::from_utf8_lossy(before).chars().count() + 1))
    }
}

/// Where problems and doubts are gathered while compiling goes on.
pub(super) struct Report<'a> {
    texts: &'a Texts<'a>,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl<'a> Report<'a> {
    pub fn on(texts: &'a Texts<'a>) -> Self {
        Self { texts, problems: Vec::new(), warnings: Vec::new() }
    }

    pub fn problem(&mut self, span: Range<usize>, message: impl Into<String>) {
        let message = message.into();
        self.problems.push(match self.texts.locate(span.start) {
            Some((file, line, column)) => Problem { file: file.name.clone(), line: Some(line), column: Some(column), message },
            None => Problem::of_file("policies", message),
        });
    }

    pub fn warn(&mut self, warning: impl Into<String>) {
        let warning = warning.into();
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// `file:line`, to name one place in a message about another.
    pub fn place(&self, span: Range<usize>) -> String {
        self.texts.locate(span.start).map_or_else(String::new, |(file, line, _)| format!("{}:{line}", file.name))
    }

    /// The same, for verdicts to name.
    pub fn line(&self, span: Range<usize>) -> Place {
        Place::new(&self.place(span))
    }

    /// The value a text stands for; if it stands for none, that is a problem where the text is.
    pub fn parsed<T>(&mut self, text: &Spanned<String>, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        parse(text.get_ref()).map_err(|message| self.problem(text.span(), message)).ok()
    }

    pub fn moment(&mut self, moment: &Moment) -> Option<Timestamp> {
        values::moment(moment.get_ref()).map_err(|message| self.problem(moment.span(), message)).ok()
    }

    /// `who` says who misses it.
    pub fn not_empty(&mut self, text: &Spanned<String>, key: &str, who: &str) {
        if text.get_ref().trim().is_empty() {
            self.problem(text.span(), format!("`{key}` is empty: {who}"));
        }
    }

    /// The doubts, if nothing is wrong.
    pub fn finish(self) -> Result<Vec<String>, Problems> {
        Problems::of(self.problems).map_or(Ok(self.warnings), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_says_file_line_and_column() {
        let files =
            [("a.toml", "x = 1\ny = 'é' # z\n"), ("b.toml", "z = 1")].map(|(name, text)| File { name: name.into(), text: text.into() });
        let texts = Texts::of(&files);
        let at = |offset| texts.locate(offset).map(|(file, line, column)| (file.name.as_str(), line, column));
        let second = files[0].text.len() + 1;
        assert_eq!(at(0), Some(("a.toml", 1, 1)));
        assert_eq!(at(6), Some(("a.toml", 2, 1)));
        assert_eq!(at(files[0].text.find('#').unwrap()), Some(("a.toml", 2, 9)));
        assert_eq!(at(second - 1), Some(("a.toml", 3, 1)));
        assert_eq!(at(second + 4), Some(("b.toml", 1, 5)));
        assert_eq!(at(second + 99), Some(("b.toml", 1, 6)));
    }

    #[test]
    fn problems_come_in_file_and_line_order_once() {
        let problem =
            |file: &str, line, message: &str| Problem { file: file.into(), line: Some(line), column: Some(1), message: message.into() };
        let problems = Problems::of(vec![problem("b", 1, "x"), problem("a", 10, "x"), problem("a", 9, "y"), problem("b", 1, "x")]).unwrap();
        assert_eq!(problems.to_string(), "a:9:1: y\na:10:1: x\nb:1:1: x");
        assert_eq!(Problems::of(Vec::new()), None);
    }
}
