//! How literals are put together: side by side, with a plus, by `+=` right behind, by `join`. Who puts them together so hands no one of them
//! to a database, so they are judged as what they come to. Where that is in doubt, each of them is judged as well.

use std::borrow::Cow;

use super::Found;

/// Stands for a value that is put into a literal.
const OPERAND: &str = "{}";

/// What stands between the items of a list that is joined is shorter, or the list is none that anybody joins.
const SEPARATOR: usize = 16;

/// What stands between two literals.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seam {
    None,
    /// What puts them side by side in some language.
    Perhaps,
    /// What does so.
    Side,
    /// That, and a value between them.
    Operand,
}

/// Literals one behind the other.
pub struct Together<'c> {
    brackets: Brackets<'c>,
    run: Option<Run>,
    list: Option<List>,
}

/// Which brackets are open in code. It is rarely asked for, so what was read is only looked at then.
struct Brackets<'c> {
    open: Vec<u8>,
    unread: Vec<&'c str>,
}

impl Brackets<'_> {
    /// Whether what stands here is in brackets in which a line break ends nothing.
    fn go_on(&mut self) -> bool {
        for b in self.unread.drain(..).flat_map(str::bytes) {
            match b {
                b'(' | b'[' | b'{' => self.open.push(b),
                b')' | b']' | b'}' => drop(self.open.pop()),
                _ => {}
            }
        }
        matches!(self.open.last(), Some(b'(' | b'['))
    }
}

/// Literals that are put together, as far as they are read.
struct Run {
    said: String,
    /// Where what each literal but the first says begins and ends in it.
    parts: Vec<(usize, usize)>,
    /// How long the first one is.
    first: usize,
    in_doubt: bool,
    /// The name of what it is kept in.
    name: Option<String>,
    lead: Lead,
}

/// What stands before a literal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lead {
    /// `[`.
    Opening,
    Comma,
    Other,
}

/// The items of a list that may be joined.
struct List {
    items: Vec<String>,
    /// What is put between them, where that is known: in Python it stands before them.
    separator: Option<String>,
    /// What is put between them comes next, as in JavaScript.
    is_joined: bool,
}

impl<'c> Together<'c> {
    pub fn new() -> Self {
        Self { brackets: Brackets { open: Vec::new(), unread: Vec::new() }, run: None, list: None }
    }

    /// The next part of what is neither literal nor comment.
    pub fn code(&mut self, part: &'c str) {
        self.brackets.unread.push(part);
    }

    /// The next literal, and what stands between the last one and this one.
    pub fn literal(&mut self, between: &str, said: &str, found: &mut Found) -> Option<()> {
        let goes_on = || self.brackets.go_on();
        let seam = self.run.as_ref().map_or(Seam::None, |run| seam(between, goes_on, run.name.as_deref()));
        match &mut self.run {
            Some(run) if seam != Seam::None => run.add(seam, said),
            _ => {
                self.end_run(between, found)?;
                self.run = Some(Run::new(between, said));
            }
        }
        Some(())
    }

    /// No literal comes any more.
    pub fn end(&mut self, behind: &str, found: &mut Found) -> Option<()> {
        self.end_run(behind, found)?;
        self.list.take().map_or(Some(()), |list| list.end(found))
    }

    /// The last literal of those that are put together is behind.
    fn end_run(&mut self, behind: &str, found: &mut Found) -> Option<()> {
        let Some(mut run) = self.run.take() else { return Some(()) };
        if run.in_doubt {
            std::iter::once(&(0, run.first))
                .chain(&run.parts)
                .filter_map(|(from, to)| run.said.get(*from..*to))
                .try_for_each(|part| found.push(part))?;
        }
        if added(behind) {
            run.said.push_str(OPERAND);
        }
        let (lead, said) = (run.lead, run.said);
        let after = After::of(behind);
        // Most literals are of no list.
        if self.list.is_none() && matches!(after, After::Other) {
            return found.push(&said);
        }
        let mut list = match self.list.take() {
            Some(List { items, is_joined: true, .. }) => {
                List { items, separator: Some(said), is_joined: true }.end(found)?;
                None
            }
            Some(mut list) if lead == Lead::Comma || list.items.is_empty() => {
                list.items.push(said);
                Some(list)
            }
            list => {
                list.map_or(Some(()), |list| list.end(found))?;
                Some(List { items: vec![said], separator: None, is_joined: false })
            }
        };
        match (after, &mut list) {
            (After::Comma, Some(list)) if lead != Lead::Other || list.separator.is_some() => {}
            (After::JoinsList, Some(list)) if list.separator.is_none() => list.is_joined = true,
            (After::OpensList, Some(last)) if last.separator.is_none() => {
                let separator = last.items.pop();
                list.map_or(Some(()), |list| list.end(found))?;
                list = Some(List { items: Vec::new(), separator, is_joined: false });
            }
            _ => {
                list.map_or(Some(()), |list| list.end(found))?;
                list = None;
            }
        }
        self.list = list;
        Some(())
    }
}

impl Run {
    fn new(before: &str, said: &str) -> Self {
        let lead = match before.trim_end().chars().next_back() {
            Some('[') => Lead::Opening,
            Some(',') if before.trim() == "," => Lead::Comma,
            _ => Lead::Other,
        };
        let name = assigned(before).map(|(name, _)| name.to_owned());
        Self { said: said.to_owned(), parts: Vec::new(), first: said.len(), in_doubt: false, name, lead }
    }

    fn add(&mut self, seam: Seam, said: &str) {
        if seam == Seam::Operand {
            self.said.push_str(OPERAND);
        }
        self.in_doubt |= seam == Seam::Perhaps;
        let start = self.said.len();
        self.said.push_str(said);
        self.parts.push((start, self.said.len()));
    }
}

impl List {
    /// It is not joined any more, or is now.
    fn end(self, found: &mut Found) -> Option<()> {
        match self.separator.filter(|separator| separator.len() <= SEPARATOR) {
            Some(separator) => found.push(&self.items.join(&separator)),
            None => self.items.iter().try_for_each(|item| found.push(item)),
        }
    }
}

/// What stands behind a literal, as far as it says that the literal is of a list.
enum After {
    Comma,
    /// `.join([`, behind what is put between the items.
    OpensList,
    /// `].join(`, before it.
    JoinsList,
    Other,
}

impl After {
    fn of(behind: &str) -> Self {
        let mut rest = behind.trim_start();
        if !rest.starts_with([',', '.', ']']) {
            return Self::Other;
        }
        let mut is_next = |sign: &str| {
            let behind = rest.strip_prefix(sign).map(str::trim_start);
            rest = behind.unwrap_or(rest);
            behind.is_some()
        };
        let comma = is_next(",");
        let closes = is_next("]");
        if !(is_next(".") && is_next("join") && is_next("(")) {
            return if comma && !closes && rest.is_empty() { Self::Comma } else { Self::Other };
        }
        let opens = is_next("[") || is_next("(");
        match (closes, opens && !comma) {
            _ if !rest.is_empty() => Self::Other,
            (true, false) if !opens => Self::JoinsList,
            (false, true) => Self::OpensList,
            _ => Self::Other,
        }
    }
}

fn seam(between: &str, goes_on: impl FnOnce() -> bool, name: Option<&str>) -> Seam {
    let Some(between) = without_comments(between) else { return Seam::None };
    let between = &*between;
    let is_joint = |c: char| c.is_whitespace() || matches!(c, '+' | '\\' | '(' | ')');
    let trimmed = between.trim();
    if trimmed == "." || (name.is_some() && assigned(between).is_some_and(|(of, adds)| adds && Some(of) == name)) {
        return Seam::Side;
    }
    if between.chars().all(is_joint) {
        let is_one_line = !between.replace("\\\r\n", "").replace("\\\n", "").contains('\n');
        return match trimmed.trim_end_matches('\\').is_empty() {
            true if is_one_line || goes_on() => Seam::Side,
            false if trimmed.contains('+') => Seam::Side,
            _ => Seam::Perhaps,
        };
    }
    let inner = trimmed.strip_prefix('+').and_then(|between| between.strip_suffix('+'));
    let is_operand = |c: char| c.is_alphanumeric() || c.is_whitespace() || matches!(c, '_' | '$' | '.' | '(' | ')' | '[' | ']' | '+');
    if inner.is_some_and(|inner| inner.chars().all(is_operand)) { Seam::Operand } else { Seam::None }
}

/// Without the comments of the other tongue: whichever it is, nobody means them as code. Nothing, if one of them goes on behind.
fn without_comments(between: &str) -> Option<Cow<'_, str>> {
    if !between.contains(['#', '/']) {
        return Some(Cow::Borrowed(between));
    }
    let mut out = String::new();
    for line in between.split_inclusive('\n') {
        match [line.find('#'), line.find("//")].into_iter().flatten().min() {
            Some(comment) if line.ends_with('\n') => {
                out.push_str(line.get(..comment)?);
                out.push('\n');
            }
            Some(_) => return None,
            None => out.push_str(line),
        }
    }
    let mut rest = out.as_str();
    let mut code = String::with_capacity(out.len());
    while let Some((before, comment)) = rest.split_once("/*") {
        let Some((_, behind)) = comment.split_once("*/") else { break };
        code.push_str(before);
        code.push(' ');
        rest = behind;
    }
    code.push_str(rest);
    Some(Cow::Owned(code))
}

/// Whether a value is added to what stands before this.
fn added(behind: &str) -> bool {
    let operand = behind.trim_start().strip_prefix('+').map(str::trim_start);
    operand.is_some_and(|operand| operand.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '$')))
}

/// The name that what follows is kept under, or added to: `name =`, `name +=`, and nothing before that on its line but an end.
fn assigned(before: &str) -> Option<(&str, bool)> {
    let before = before.trim_end().trim_end_matches(['(', ' ']).strip_suffix('=')?;
    let (before, adds) = before.strip_suffix('+').map_or((before, false), |before| (before, true));
    let before = before.trim_end();
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.');
    let name = before.get(before.trim_end_matches(is_name).len()..).filter(|name| !name.is_empty())?;
    let line = before.get(..before.len() - name.len())?;
    // What is added to right behind is added to always.
    let is_next = line.chars().all(|c| c.is_whitespace() || matches!(c, ';' | ')'));
    (!adds || is_next).then_some((name, adds))
}
