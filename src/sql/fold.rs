//! Folding: SQL reduced to what a rule should see. Text is read as PostgreSQL reads it (`standard_conforming_strings` on) and comes
//! out as statements without comments, with literals emptied and every gap a single blank.
//!
//! Two things are read beyond that, because a filter that agrees with the database only on valid SQL is easily led astray:
//!
//! - What opens and never closes is read both ways: as if it closed at the end, and as a stray character with the rest in plain sight.
//!   So neither an apostrophe in prose nor a broken statement hides what follows.
//! - An apostrophe inside a word (`what's`) is read both as the quote PostgreSQL takes it for and as a letter.
//!
//! Bodies of `DO` and of functions are read too: the statements in them come out as statements.

/// How deep bodies may lie in bodies. Each is read again for every body around it, so this bounds the work, too.
const NESTING: usize = 8;

/// One statement, folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub text: String,
    pub reading: Reading,
}

/// How the text had to be read for this statement to come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As PostgreSQL reads it.
    Plain,
    /// A quote or comment was taken for ordinary characters, so what a literal holds may stand in the text.
    Loose,
}

/// Never longer in all than a small multiple of the text, in time linear in it.
pub fn fold(text: &str) -> Vec<Statement> {
    let mut out = Vec::new();
    let mut strict = Fold::new(text, &mut out, Level::Top, Apostrophes::Quote);
    strict.run();
    if strict.inside_word {
        Fold::new(text, &mut out, Level::Top, Apostrophes::LetterInsideWords).run();
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Apostrophes {
    Quote,
    LetterInsideWords,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Top,
    /// Inside the body of a `DO` or a function, this deep.
    Body(usize),
}

/// What may turn out never to be closed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Quote {
    Literal,
    Identifier,
    Dollar,
    Comment,
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
    /// `CREATE`, and up to this many words more until the kind of object must have been named.
    PerhapsBody(usize),
    Body,
    Data,
}

struct Fold<'t, 'o> {
    text: &'t str,
    at: usize,
    out: &'o mut Vec<Statement>,
    level: Level,
    apostrophes: Apostrophes,
    /// An apostrophe opened a literal inside a word: the other reading is worth having.
    inside_word: bool,
    /// Kinds that were found never to close: from there on they are ordinary characters, so each end is searched in vain only once.
    stray: Vec<Quote>,
    statement: String,
    gap: bool,
    last: Piece,
    literals: Literals,
}

impl<'t, 'o> Fold<'t, 'o> {
    fn new(text: &'t str, out: &'o mut Vec<Statement>, level: Level, apostrophes: Apostrophes) -> Self {
        Self {
            text,
            at: 0,
            out,
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
                '/' if self.rest().starts_with("/*") && self.minds(Quote::Comment) => self.comment(),
                '\'' if self.minds(Quote::Literal) => self.literal(0, plain_end),
                '"' if self.minds(Quote::Identifier) => self.identifier(),
                '$' => self.dollar(),
                ';' => {
                    self.at += 1;
                    self.finish();
                }
                c if is_blank(c) => {
                    self.at += c.len_utf8();
                    self.gap = true;
                }
                c if begins_word(c) => self.word(),
                '.' if matches!(self.last, Piece::Word | Piece::Quoted) => {
                    self.at += 1;
                    self.push(Piece::Dot, ".");
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

    fn minds(&self, quote: Quote) -> bool {
        !self.stray.contains(&quote)
    }

    fn reading(&self) -> Reading {
        match (self.stray.is_empty(), self.apostrophes) {
            (true, Apostrophes::Quote) => Reading::Plain,
            _ => Reading::Loose,
        }
    }

    fn finish(&mut self) {
        let text = std::mem::take(&mut self.statement);
        if !text.is_empty() {
            self.out.push(Statement { text, reading: self.reading() });
        }
        self.gap = false;
        self.last = Piece::Other;
        self.literals = Literals::Unknown;
    }

    /// Words and quoted things never touch (`FROM"users"` is two of them), names around a dot always do (`public . users` is one).
    fn push(&mut self, piece: Piece, text: &str) {
        let touch = matches!((self.last, piece), (Piece::Quoted, Piece::Word | Piece::Quoted) | (Piece::Word, Piece::Quoted));
        let dotted = piece == Piece::Dot || (self.last == Piece::Dot);
        if (self.gap || touch) && !dotted && !self.statement.is_empty() {
            self.statement.push(' ');
        }
        self.statement.push_str(text);
        self.gap = false;
        self.last = piece;
    }

    /// What opens here has no end. As if it ended with the text, the statement would be this one; it is judged so, and
    /// then read on with the opening as an ordinary character.
    fn never_ends(&mut self, quote: Quote, stands_for: &str, opening: &str) {
        let as_if_ended = format!("{}{stands_for}", self.statement);
        self.out.push(Statement { text: as_if_ended.trim().to_owned(), reading: self.reading() });
        self.stray.push(quote);
        self.at += opening.len();
        self.push(Piece::Other, opening);
    }

    fn comment(&mut self) {
        match comment_end(self.rest()) {
            Some(end) => {
                self.at += end;
                self.gap = true;
            }
            None => self.never_ends(Quote::Comment, "", "/*"),
        }
    }

    /// A literal whose quote stands `prefix` bytes ahead.
    fn literal(&mut self, prefix: usize, end: fn(&str) -> Option<usize>) {
        let rest = self.rest();
        let body = rest.get(prefix + 1..).unwrap_or_default();
        if prefix == 0 && self.last == Piece::Word && !self.gap && body.starts_with(char::is_alphabetic) {
            self.inside_word = true;
        }
        match end(body) {
            Some(len) => {
                let inner = body.get(..len.saturating_sub(1)).unwrap_or_default();
                self.at += prefix + 1 + len;
                self.push(Piece::Quoted, "''");
                self.read_body(&inner.replace("''", "'").replace('\\', ""));
            }
            None => self.never_ends(Quote::Literal, " ''", rest.get(..=prefix).unwrap_or_default()),
        }
    }

    fn identifier(&mut self) {
        match quoted_end(self.rest().get(1..).unwrap_or_default(), b'"') {
            Some(len) => {
                // A name is one thing, whatever is in it: without blanks it cannot be taken for words.
                let name: String =
                    self.rest().chars().scan(0, |seen, c| (*seen <= len).then(|| (*seen += c.len_utf8(), c).1)).map(join_name).collect();
                self.at += 1 + len;
                self.push(Piece::Quoted, &name);
            }
            None => self.never_ends(Quote::Identifier, " \"\"", "\""),
        }
    }

    fn dollar(&mut self) {
        let rest = self.rest();
        let Some(tag) = dollar_tag(rest).filter(|_| self.minds(Quote::Dollar)) else {
            // A parameter is taken whole, lest `$1E'…'` be two things less than it is.
            let digits = rest.bytes().skip(1).take_while(u8::is_ascii_digit).count();
            self.at += 1 + digits;
            return self.push(Piece::Other, rest.get(..=digits).unwrap_or("$"));
        };
        let body = rest.get(tag.len()..).unwrap_or_default();
        match body.find(tag) {
            Some(len) => {
                self.at += tag.len() + len + tag.len();
                self.push(Piece::Quoted, "''");
                self.read_body(body.get(..len).unwrap_or_default());
            }
            None => self.never_ends(Quote::Dollar, " ''", tag),
        }
    }

    fn word(&mut self) {
        let rest = self.rest();
        let mut len = word_len(rest);
        if self.apostrophes == Apostrophes::LetterInsideWords && len > 1 {
            while let Some(more) = rest.get(len..).and_then(|rest| rest.strip_prefix('\'')).map(word_len).filter(|more| *more > 0) {
                len += 1 + more;
            }
        }
        let word = rest.get(..len).unwrap_or_default();
        let next = rest.get(len..).unwrap_or_default();
        if self.minds(Quote::Literal) && next.starts_with('\'') && word.eq_ignore_ascii_case("e") {
            return self.literal(1, escaped_end);
        }
        if word.eq_ignore_ascii_case("u") && next.starts_with("&'") && self.minds(Quote::Literal) {
            return self.literal(2, plain_end);
        }
        self.at += len;
        self.push(Piece::Word, word);
        if word.eq_ignore_ascii_case("u") && next.starts_with("&\"") {
            // Part of the name that follows; left alone it would be a word of its own.
            self.at += 1;
            self.statement.push('&');
            self.last = Piece::Other;
            return;
        }
        self.note(word);
    }

    /// Follows what the statement's words say about its literals, and where in a body statements begin.
    fn note(&mut self, word: &str) {
        let is = |list: &[&str]| list.iter().any(|one| word.eq_ignore_ascii_case(one));
        let in_body = self.level != Level::Top;
        self.literals = match self.literals {
            Literals::Unknown if is(&["do"]) || (in_body && is(&["execute"])) => Literals::Body,
            // OR REPLACE and the kind.
            Literals::Unknown if is(&["create"]) => Literals::PerhapsBody(3),
            Literals::PerhapsBody(_) if is(&["function", "procedure"]) => Literals::Body,
            Literals::PerhapsBody(left @ 2..) => Literals::PerhapsBody(left - 1),
            Literals::Body => Literals::Body,
            Literals::Unknown | Literals::PerhapsBody(_) | Literals::Data => Literals::Data,
        };
        let begins_statements = is(&["atomic"]) && self.literals == Literals::Body;
        if begins_statements || (in_body && is(&["begin", "then", "else", "loop", "atomic"])) {
            self.finish();
        }
    }

    fn read_body(&mut self, body: &str) {
        let depth = match self.level {
            Level::Top => 1,
            Level::Body(depth) => depth + 1,
        };
        if self.literals == Literals::Body && depth <= NESTING {
            Fold::new(body, self.out, Level::Body(depth), self.apostrophes).run();
        }
    }
}

/// PostgreSQL's blanks, and whatever else a reader between us and it may take for one, or drop.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '\u{200B}'..='\u{200D}' | '\u{2060}' | '\u{FEFF}')
}

fn join_name(c: char) -> char {
    if is_blank(c) || c == ';' { '_' } else { c }
}

fn begins_word(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn word_len(text: &str) -> usize {
    let mut end = text.len();
    for (at, c) in text.char_indices() {
        let belongs = (begins_word(c) && !is_blank(c)) || (at > 0 && (c.is_ascii_digit() || c == '$'));
        if !belongs {
            end = at;
            break;
        }
    }
    end
}

/// `$$` or `$tag$` at the start of the text.
fn dollar_tag(text: &str) -> Option<&str> {
    let body = text.strip_prefix('$')?;
    let len = body.find('$')?;
    let tag = body.get(..len)?;
    let is_tag = !tag.starts_with(|c: char| c.is_ascii_digit()) && tag.chars().all(|c| begins_word(c) || c.is_ascii_digit());
    if is_tag { text.get(..len + 2) } else { None }
}

/// Comments nest. The length up to the end of the one that begins the text.
fn comment_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'/', Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (b'*', Some(b'/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
}

/// The length up to and with the closing quote; a doubled quote is none.
fn quoted_end(text: &str, quote: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        match (*bytes.get(at)? == quote, bytes.get(at + 1) == Some(&quote)) {
            (true, true) => at += 2,
            (true, false) => return Some(at + 1),
            (false, _) => at += 1,
        }
    }
}

fn plain_end(text: &str) -> Option<usize> {
    quoted_end(text, b'\'')
}

/// The end of a literal with backslash escapes. If another literal follows on a later line it is part of this one, and the
/// backslashes in it are escapes too.
fn escaped_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'\\', _) | (b'\'', Some(b'\'')) => at += 2,
            (b'\'', _) => match continued(text.get(at + 1..)?) {
                Some(gap) => at += 1 + gap,
                None => return Some(at + 1),
            },
            _ => at += 1,
        }
    }
}

/// The length of the gap between two parts of one literal, with the quote that opens the second: blanks and comments, and a new line.
fn continued(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut line) = (0, false);
    loop {
        match bytes.get(at)? {
            b'\n' | b'\r' => {
                line = true;
                at += 1;
            }
            b' ' | b'\t' | 0x0B | 0x0C => at += 1,
            b'-' if bytes.get(at + 1) == Some(&b'-') => at += text.get(at..)?.find(['\n', '\r'])?,
            b'\'' if line => return Some(at + 1),
            _ => return None,
        }
    }
}
