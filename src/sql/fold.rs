//! Folding: SQL reduced to what a rule should see. Text is read as PostgreSQL reads it (`standard_conforming_strings` on) and comes
//! out as statements without comments, with literals emptied and every gap a single blank.
//!
//! A filter that agrees with the database on valid SQL alone is easily led astray, so some things are read in two ways:
//!
//! - What opens and never closes: as if it closed at the end, and as a stray character with the rest in plain sight. So neither an
//!   apostrophe in prose nor a broken statement hides what follows.
//! - An apostrophe inside a word (`what's`): as the quote PostgreSQL takes it for, and as a letter.
//!
//! Bodies of `DO` and of functions are read too: the statements in them come out as statements.

use super::quotes::{comment_end, dollar_tag, escaped_end, plain_end, quoted_end, unescape};

/// How deep bodies may lie in bodies. Each is read again for every body around it, so this bounds the work, too.
const NESTING: usize = 8;

/// How the text had to be read for a statement to come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As PostgreSQL reads it.
    Plain,
    /// A quote or comment was taken for ordinary characters, so what a literal holds may stand in the statement.
    Loose,
}

/// Hands over each statement as soon as it is complete: a text of nothing but semicolons must not become a list of them.
pub fn fold(text: &str, each: &mut dyn FnMut(&str, Reading)) {
    let mut strict = Fold::new(text, each, Level::Top, Apostrophes::Quote);
    strict.run();
    if strict.inside_word {
        Fold::new(text, each, Level::Top, Apostrophes::LetterInsideWords).run();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Top,
    /// Inside the body of a `DO` or a function, this deep.
    Body(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Apostrophes {
    Quote,
    LetterInsideWords,
}

/// What may turn out never to be closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opening {
    Literal,
    Identifier,
    Dollar,
    Comment,
}

/// The kinds of literal between apostrophes, and the length of what stands before the first.
#[derive(Clone, Copy)]
enum Literal {
    Plain,
    /// `U&'…'`: its backslashes do not escape the quote.
    Unicode,
    /// `E'…'`
    Escaped,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Word,
    /// A literal or a quoted identifier.
    Quoted,
    /// A dot between names.
    Dot,
    Other,
}

/// Whether a statement's literals are programs, as far as its words have told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Literals {
    /// No word yet.
    Unknown,
    /// `CREATE`; within so many words the kind of object must be named.
    PerhapsBodies(usize),
    Bodies,
    Data,
}

struct Fold<'t, 'e> {
    text: &'t str,
    at: usize,
    each: &'e mut dyn FnMut(&str, Reading),
    level: Level,
    apostrophes: Apostrophes,
    /// An apostrophe stood inside a word: the other reading is worth having.
    inside_word: bool,
    /// What was found never to close is ordinary from there on, so each kind of end is searched in vain only once.
    stray: Vec<Opening>,
    statement: String,
    gap: bool,
    last: Piece,
    literals: Literals,
}

impl<'t, 'e> Fold<'t, 'e> {
    fn new(text: &'t str, each: &'e mut dyn FnMut(&str, Reading), level: Level, apostrophes: Apostrophes) -> Self {
        Self {
            text,
            at: 0,
            each,
            level,
            apostrophes,
            inside_word: false,
            stray: Vec::new(),
            statement: String::new(),
            gap: false,
            last: Piece::Other,
            literals: Literals::Unknown,
        }
    }

    fn run(&mut self) {
        while let Some(c) = self.rest().chars().next() {
            match c {
                '-' if self.rest().starts_with("--") => {
                    self.at += self.rest().find(['\n', '\r']).unwrap_or(self.rest().len());
                    self.gap = true;
                }
                '/' if self.rest().starts_with("/*") && self.opens(Opening::Comment) => self.comment(),
                '\'' if self.opens(Opening::Literal) => self.literal(Literal::Plain),
                '"' if self.opens(Opening::Identifier) => self.identifier(),
                '$' => self.dollar(),
                ';' => {
                    self.at += 1;
                    self.finish();
                }
                '.' if matches!(self.last, Piece::Word | Piece::Quoted) => {
                    self.at += 1;
                    self.push(Piece::Dot, ".");
                }
                c if belongs_to_word(c) => self.word(),
                c if is_blank(c) => {
                    self.at += c.len_utf8();
                    self.gap = true;
                }
                c => {
                    self.at += c.len_utf8();
                    self.push(Piece::Other, c.encode_utf8(&mut [0; 4]));
                }
            }
        }
        self.finish();
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn opens(&self, opening: Opening) -> bool {
        !self.stray.contains(&opening)
    }

    fn hand_over(&mut self) {
        let plain = self.stray.is_empty() && self.apostrophes == Apostrophes::Quote;
        if !self.statement.is_empty() {
            (self.each)(self.statement.trim_start(), if plain { Reading::Plain } else { Reading::Loose });
        }
    }

    fn finish(&mut self) {
        self.hand_over();
        self.statement.clear();
        self.gap = false;
        self.last = Piece::Other;
        self.literals = Literals::Unknown;
    }

    /// Words and quoted things never touch (`FROM"users"` is two of them), names around a dot always do (`public . users` is one).
    fn push(&mut self, piece: Piece, text: &str) {
        let quoted_beside = matches!((self.last, piece), (Piece::Quoted, Piece::Word) | (Piece::Quoted | Piece::Word, Piece::Quoted));
        let dotted = self.last == Piece::Dot || piece == Piece::Dot;
        if (self.gap || quoted_beside) && !dotted && !self.statement.is_empty() {
            self.statement.push(' ');
        }
        self.statement.push_str(text);
        self.gap = false;
        self.last = piece;
    }

    /// What opens here has no end. The statement is handed over as if it ended with the text, then read on.
    fn never_ends(&mut self, opening: Opening, stands_for: &str, text: &str) {
        let so_far = self.statement.len();
        self.statement.push_str(stands_for);
        self.hand_over();
        self.statement.truncate(so_far);
        self.stray.push(opening);
        self.at += text.len();
        self.push(Piece::Other, text);
    }

    fn comment(&mut self) {
        match comment_end(self.rest()) {
            Some(end) => {
                self.at += end;
                self.gap = true;
            }
            None => self.never_ends(Opening::Comment, "", "/*"),
        }
    }

    fn literal(&mut self, kind: Literal) {
        let (open, end): (usize, fn(&str) -> Option<usize>) = match kind {
            Literal::Plain => (1, plain_end),
            Literal::Escaped => (2, escaped_end),
            Literal::Unicode => (3, plain_end),
        };
        let rest = self.rest();
        let inner = rest.get(open..).unwrap_or_default();
        let Some(len) = end(inner) else {
            return self.never_ends(Opening::Literal, " ''", rest.get(..open).unwrap_or_default());
        };
        self.at += open + len;
        self.push(Piece::Quoted, "''");
        if self.literals == Literals::Bodies {
            let inner = inner.get(..len.saturating_sub(1)).unwrap_or_default();
            self.body(&match kind {
                Literal::Escaped => unescape(inner),
                Literal::Plain | Literal::Unicode => inner.replace("''", "'"),
            });
        }
    }

    fn identifier(&mut self) {
        let rest = self.rest();
        let Some(len) = quoted_end(rest.get(1..).unwrap_or_default(), b'"') else {
            return self.never_ends(Opening::Identifier, " \"\"", "\"");
        };
        // A name is one thing, whatever is in it: without blanks it cannot be taken for words.
        let one = |c| if is_blank(c) || c == ';' { '_' } else { c };
        let name: String = rest.get(..=len).unwrap_or_default().chars().map(one).collect();
        self.at += 1 + len;
        self.push(Piece::Quoted, &name);
    }

    fn dollar(&mut self) {
        let rest = self.rest();
        let Some(tag) = dollar_tag(rest).filter(|_| self.opens(Opening::Dollar)) else {
            // A parameter is taken whole, so that `$1$a$` does not end where `$a$` begins.
            let digits = rest.bytes().skip(1).take_while(u8::is_ascii_digit).count();
            self.at += 1 + digits;
            return self.push(Piece::Other, rest.get(..=digits).unwrap_or("$"));
        };
        let inner = rest.get(tag.len()..).unwrap_or_default();
        let Some(len) = inner.find(tag) else {
            return self.never_ends(Opening::Dollar, " ''", "$");
        };
        self.at += tag.len() + len + tag.len();
        self.push(Piece::Quoted, "''");
        if self.literals == Literals::Bodies {
            self.body(inner.get(..len).unwrap_or_default());
        }
    }

    fn word(&mut self) {
        let rest = self.rest();
        let mut len = word_len(rest);
        let mut word = rest.get(..len).unwrap_or_default();
        let next = rest.get(len..).unwrap_or_default();
        let is = |one: &str| word.eq_ignore_ascii_case(one);
        if self.opens(Opening::Literal) {
            if is("e") && next.starts_with('\'') {
                return self.literal(Literal::Escaped);
            }
            if is("u") && next.starts_with("&'") {
                return self.literal(Literal::Unicode);
            }
        }
        let goes_on = |len: usize| rest.get(len..).and_then(|rest| rest.strip_prefix('\'')).map(word_len).filter(|more| *more > 0);
        if !(is("b") || is("n") || is("x")) {
            match self.apostrophes {
                Apostrophes::Quote => self.inside_word |= goes_on(len).is_some(),
                Apostrophes::LetterInsideWords => {
                    while let Some(more) = goes_on(len) {
                        len += 1 + more;
                    }
                    word = rest.get(..len).unwrap_or_default();
                }
            }
        }
        self.at += len;
        // To PostgreSQL a blank beyond ASCII is a letter like any other, so it ends no word; to other readers it may be a gap.
        for part in word.split(is_blank) {
            if part.is_empty() {
                self.gap = true;
                continue;
            }
            self.push(Piece::Word, part);
            self.note(part);
            self.gap = true;
        }
        self.gap = word.ends_with(is_blank);
    }

    /// Follows what the statement's words say about its literals, and where in a body statements begin.
    fn note(&mut self, word: &str) {
        let is = |list: &[&str]| list.iter().any(|one| word.eq_ignore_ascii_case(one));
        let in_body = self.level != Level::Top;
        self.literals = match self.literals {
            Literals::Unknown if is(&["do"]) || (in_body && is(&["execute"])) => Literals::Bodies,
            // OR REPLACE and the kind.
            Literals::Unknown if is(&["create"]) => Literals::PerhapsBodies(3),
            Literals::PerhapsBodies(_) if is(&["function", "procedure"]) => Literals::Bodies,
            Literals::PerhapsBodies(words @ 2..) => Literals::PerhapsBodies(words - 1),
            Literals::Bodies => Literals::Bodies,
            Literals::Unknown | Literals::PerhapsBodies(_) | Literals::Data => Literals::Data,
        };
        let atomic = self.literals == Literals::Bodies && is(&["atomic"]);
        if atomic || (in_body && is(&["begin", "then", "else", "loop"])) {
            self.finish();
        }
    }

    fn body(&mut self, text: &str) {
        let depth = match self.level {
            Level::Top => 1,
            Level::Body(depth) => depth + 1,
        };
        if depth <= NESTING {
            Fold::new(text, self.each, Level::Body(depth), self.apostrophes).run();
        }
    }
}

/// ASCII's blanks and control characters, and beyond it whatever a reader between us and the database may take for a blank, or drop.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{FEFF}')
}

fn belongs_to_word(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn word_len(text: &str) -> usize {
    let inside = |c: char| belongs_to_word(c) || c.is_ascii_digit() || c == '$';
    if text.starts_with(belongs_to_word) { text.find(|c| !inside(c)).unwrap_or(text.len()) } else { 0 }
}
