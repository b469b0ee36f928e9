//! Judging SQL: text in, findings out. Knows nothing of HTTP, of calls, or of where rules are written down.

mod act;
mod decode;
mod finding;
mod head;
mod lexer;
mod outline;
mod prose;
mod read;
pub mod rules;
mod shown;
mod split;
mod tokens;
mod words;

use std::borrow::Cow;
use std::ops::Range;

use act::Unreadable;
use lexer::Backslash;
use prose::Found;
use read::{Deed, Reader};
use rules::{Literals, Rule};
use split::Statements;
use tokens::{Cursor, Tokens};

pub use act::Act;
pub use finding::{Backslashes, Field, Finding, Fingerprint, Judgement, Kind, Name, Statement};
pub use outline::{Outline, first_word, is_unclosed};

/// Findings of one text. One that has more is not read on, which is found as well, so that no exception for the first lets the rest pass.
const FINDINGS: usize = 100;

/// In place of a statement of which nobody can tell what in it is a literal.
const UNSHOWN: &str = "…";

/// Judges a text by what its statements do.
pub fn examine(text: &str, field: Field, backslashes: Backslashes) -> Judgement {
    let mut judgement = read_as(text, field, Backslash::Plain);
    if backslashes == Backslashes::Both && text.contains('\\') {
        // What one reading takes for code is a literal in the other, and nobody knows which one is right.
        judgement.join(read_as(text, field, Backslash::Escapes), |_| UNSHOWN.to_owned());
    }
    // To PostgreSQL these are letters. Whoever tidies a text before it gets there may make blanks of them.
    if let Cow::Owned(tidied) = with_plain_blanks(text) {
        judgement.join(read_as(&tidied, field, Backslash::Plain), |statement| statement);
    }
    judgement
}

/// A statement as patterns see it: on one line, without comments, its literals empty.
pub fn plain(text: &str, span: Range<usize>) -> String {
    shown::plain(text, span, Backslash::Plain)
}

/// A statement as findings show it: `?` for every literal and number, cut to a bound.
pub fn masked(text: &str, span: Range<usize>) -> String {
    shown::part(text, span, Backslash::Plain)
}

/// By what a statement is known again, whatever its literals say.
pub fn fingerprint(text: &str, span: Range<usize>) -> Fingerprint {
    let tokens = Tokens::read(text.get(..span.end).unwrap_or_default(), span.start, usize::MAX, Backslash::Plain);
    shown::fingerprint(tokens.cursor(), Literals::Data)
}

fn read_as(text: &str, field: Field, backslash: Backslash) -> Judgement {
    let mut judgement = Judgement::default();
    let tokens = match prose::find(text, field, backslash) {
        Found::Prose => return judgement,
        Found::Unclear => {
            judgement.unreadable(0..text.len(), Unreadable::TooLong, Fingerprint(0));
            return judgement;
        }
        Found::Sql(tokens) => tokens,
    };
    let mut reader = Reader::new(tokens.list.len(), backslash);
    let mut statements = Statements::of(tokens.cursor());
    while let Some(statement) = statements.next() {
        let broken = tokens.broken.filter(|_| statements.is_end());
        if statement.is_end() && broken.is_none() {
            continue;
        }
        reader.changes_schema = false;
        let kind = reader.whole(statement);
        let mut whole = Whole { text, statement, backslash, known: [None; 2] };
        for deed in reader.deeds.drain(..) {
            judgement.weigh(&mut whole, deed);
        }
        if judgement.findings.len() > FINDINGS {
            judgement.unreadable(statement.span().start..text.len(), Unreadable::TooLong, Fingerprint(0));
            return judgement;
        }
        let kind = if broken.is_some() { Some(Kind::Unreadable) } else { kind };
        let span = statement.span();
        let changes_schema = reader.changes_schema || kind.is_some_and(Kind::is_ddl);
        judgement.statements.extend(kind.map(|kind| Statement { kind, changes_schema, span }));
    }
    if let Some(broken) = tokens.broken {
        let rest = text.get(broken.at..).unwrap_or_default();
        judgement.unreadable(broken.at..text.len(), broken.why, shown::fingerprint_of_unread(tokens.cursor(), rest));
        if judgement.statements.is_empty() {
            judgement.statements.push(Statement { kind: Kind::Unreadable, changes_schema: true, span: broken.at..text.len() });
        }
    }
    judgement
}

/// A statement, and its fingerprints once they were asked for: to take one is to read all of it again.
struct Whole<'a> {
    text: &'a str,
    statement: Cursor<'a>,
    backslash: Backslash,
    known: [Option<Fingerprint>; 2],
}

impl Whole<'_> {
    fn fingerprint(&mut self, literals: Literals) -> Fingerprint {
        let [data, matter] = &mut self.known;
        let known = match literals {
            Literals::Data => data,
            Literals::Matter => matter,
        };
        *known.get_or_insert_with(|| shown::fingerprint(self.statement, literals))
    }
}

impl Judgement {
    /// What any rule says of an act.
    fn weigh(&mut self, whole: &mut Whole<'_>, deed: Deed) {
        for rule in rules::RULES {
            if self.findings.len() > FINDINGS {
                return;
            }
            let Some(why) = (rule.judge)(&deed.act) else { continue };
            if self.knows(rule, &deed.span, &deed.objects) {
                continue;
            }
            // What stands in a body of code is known by all that the body says.
            let literals = if deed.shown.is_some() { Literals::Matter } else { rule.literals };
            self.findings.push(Finding {
                rule,
                kind: deed.kind,
                objects: deed.objects.clone(),
                why,
                span: deed.span.clone(),
                statement: deed.shown.clone().unwrap_or_else(|| shown::part(whole.text, deed.span.clone(), whole.backslash)),
                fingerprint: whole.fingerprint(literals),
            });
        }
    }

    fn unreadable(&mut self, span: Range<usize>, why: Unreadable, fingerprint: Fingerprint) {
        let rule = rules::UNREADABLE;
        let Some(why) = (rule.judge)(&Act::Unreadable(why)) else { return };
        // Where a quote does not close, nobody can tell what is a literal; so nothing of it is shown.
        let finding = Finding { rule, kind: Kind::Unreadable, objects: Vec::new(), why, span, statement: UNSHOWN.to_owned(), fingerprint };
        self.add(finding);
    }

    fn add(&mut self, finding: Finding) {
        if !self.knows(finding.rule, &finding.span, &finding.objects) {
            self.findings.push(finding);
        }
    }

    fn knows(&self, rule: &Rule, span: &Range<usize>, objects: &[Name]) -> bool {
        self.findings.iter().any(|known| known.rule == rule && known.span == *span && known.objects == objects)
    }

    /// Another reading of the same text: what it finds counts as well.
    fn join(&mut self, other: Self, shown: impl Fn(String) -> String) {
        let known = self.statements.len();
        for other in other.statements {
            let own = self.statements.get_mut(..known).unwrap_or_default();
            let mut same = own.iter_mut().filter(|own| own.span.start < other.span.end && other.span.start < own.span.end).peekable();
            // Where the readings part, it is one statement that may be either.
            if same.peek().is_none() {
                self.statements.push(other);
            } else {
                same.for_each(|own| own.changes_schema |= other.changes_schema);
            }
        }
        self.statements.sort_by_key(|statement| statement.span.start);
        for finding in other.findings {
            self.add(Finding { statement: shown(finding.statement), ..finding });
        }
    }
}

/// As long in bytes as it was, so that places in it are places in the text.
fn with_plain_blanks(text: &str) -> Cow<'_, str> {
    let is_blank =
        |c: char| !c.is_ascii() && (c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{180e}'));
    if text.is_ascii() || !text.contains(is_blank) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_blank(c) {
            out.extend(std::iter::repeat_n(' ', c.len_utf8()));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
