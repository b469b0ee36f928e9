//! Reads text as PostgreSQL 15 to 18 reads it: the same tokens from the same bytes. Every bypass of a filter that the field has seen was
//! a place where the filter's lexer and the database's disagreed, so what is exact here is exact on purpose: comments nest, `--` ends at
//! CR or LF, `E''` has escapes and goes on over lines, `a$$` is a name and `$$` is a quote, an operator ends where a comment begins.

use super::act::Unreadable;
use super::words::Kw;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Word,
    /// `"name"`
    Quoted,
    /// `U&"name"`
    UnicodeQuoted,
    /// `'…'`, `N'…'`
    Literal,
    /// `E'…'`
    Escaped,
    /// `U&'…'`
    Unicode,
    /// `$tag$…$tag$`
    Dollar,
    /// `B'…'`, `X'…'`
    Bits,
    Number,
    /// `$1`
    Parameter,
    Operator,
    Open,
    Close,
    OpenBracket,
    CloseBracket,
    Comma,
    Dot,
    Semicolon,
    Colon,
    /// `::`
    Cast,
    /// `:=`
    Assign,
    /// A character that PostgreSQL knows no token for.
    Stray,
}

impl Shape {
    /// A literal that says a text.
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Literal | Self::Escaped | Self::Unicode | Self::Dollar)
    }

    /// What stands for a value, whatever that is.
    pub const fn is_value(self) -> bool {
        self.is_text() || matches!(self, Self::Bits | Self::Number | Self::Parameter)
    }
}

/// 16 bytes, because a text can be nothing but tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    pub start: u32,
    pub end: u32,
    /// Of a parenthesis or bracket: where its partner stands among the tokens; itself, if it has none.
    pub pair: u32,
    pub kw: Kw,
    pub shape: Shape,
}

/// Where a text cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Break {
    /// Where what does not end begins.
    pub at: usize,
    pub why: Unreadable,
}

/// What a backslash in a plain literal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backslash {
    Plain,
    Escapes,
}

#[derive(Clone, Debug)]
pub struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Up to here there is nothing but signs, each a token.
    signs: usize,
    backslash: Backslash,
}

impl<'a> Lexer<'a> {
    /// From a place in the text, which must be the start of a character.
    pub fn new(text: &'a str, at: usize, backslash: Backslash) -> Self {
        Self { text, bytes: text.as_bytes(), at, signs: 0, backslash }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn token(&mut self, start: usize, end: usize, shape: Shape) -> Token {
        self.at = end;
        Token { start: offset(start), end: offset(end), pair: 0, kw: Kw::NONE, shape }
    }

    fn broken(&mut self, at: usize, why: Unreadable) -> Break {
        self.at = self.bytes.len();
        Break { at, why }
    }

    /// Blanks and comments.
    fn skip(&mut self) -> Result<(), Break> {
        loop {
            match self.byte(self.at) {
                Some(byte) if is_blank(byte) => self.at += 1,
                Some(b'-') if self.byte(self.at + 1) == Some(b'-') => self.at = line_end(self.bytes, self.at),
                Some(b'/') if self.byte(self.at + 1) == Some(b'*') => match comment_end(self.bytes, self.at) {
                    Some(end) => self.at = end,
                    None => return Err(self.broken(self.at, Unreadable::Comment)),
                },
                _ => return Ok(()),
            }
        }
    }

    /// Behind the comment that begins here, if it ends.
    pub fn after_comment(&self) -> Option<usize> {
        match self.byte(self.at) {
            Some(b'-') => Some(line_end(self.bytes, self.at)),
            _ => comment_end(self.bytes, self.at),
        }
    }

    /// The next token; nothing at the end.
    pub fn next_token(&mut self) -> Result<Option<Token>, Break> {
        self.skip()?;
        let start = self.at;
        let Some(first) = self.byte(start) else { return Ok(None) };
        let token = match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => return self.word(start).map(Some),
            b'0'..=b'9' => self.number(start),
            b'\'' => return self.literal(start, start, Shape::Literal).map(Some),
            b'"' => return self.quoted(start, start, Shape::Quoted).map(Some),
            b'$' => return self.dollar(start).map(Some),
            b'.' if self.byte(start + 1).is_some_and(|byte| byte.is_ascii_digit()) => self.number(start),
            b'(' => self.token(start, start + 1, Shape::Open),
            b')' => self.token(start, start + 1, Shape::Close),
            b'[' => self.token(start, start + 1, Shape::OpenBracket),
            b']' => self.token(start, start + 1, Shape::CloseBracket),
            b',' => self.token(start, start + 1, Shape::Comma),
            b';' => self.token(start, start + 1, Shape::Semicolon),
            b'.' => self.token(start, start + 1, Shape::Dot),
            b':' => match self.byte(start + 1) {
                Some(b':') => self.token(start, start + 2, Shape::Cast),
                Some(b'=') => self.token(start, start + 2, Shape::Assign),
                _ => self.token(start, start + 1, Shape::Colon),
            },
            0 => return Err(self.broken(start, Unreadable::Nul)),
            byte if is_operator(byte) => self.operator(start),
            _ => self.token(start, start + 1, Shape::Stray),
        };
        Ok(Some(token))
    }

    fn word(&mut self, start: usize) -> Result<Token, Break> {
        let (first, second, third) = (self.byte(start).unwrap_or_default(), self.byte(start + 1), self.byte(start + 2));
        match (first, second, third) {
            (b'e' | b'E', Some(b'\''), _) => return self.literal(start, start + 1, Shape::Escaped),
            (b'b' | b'B' | b'x' | b'X', Some(b'\''), _) => return self.literal(start, start + 1, Shape::Bits),
            (b'n' | b'N', Some(b'\''), _) => return self.literal(start, start + 1, Shape::Literal),
            (b'u' | b'U', Some(b'&'), Some(b'\'')) => return self.literal(start, start + 2, Shape::Unicode),
            (b'u' | b'U', Some(b'&'), Some(b'"')) => return self.quoted(start, start + 2, Shape::UnicodeQuoted),
            _ => {}
        }
        let end = word_end(self.bytes, start);
        let kw = self.text.get(start..end).map_or(Kw::NONE, Kw::of);
        Ok(Token { kw, ..self.token(start, end, Shape::Word) })
    }

    /// A literal whose quote stands at `quote`. On a later line it can go on, in its own way of reading.
    fn literal(&mut self, start: usize, quote: usize, shape: Shape) -> Result<Token, Break> {
        let escapes = shape == Shape::Escaped || (shape == Shape::Literal && self.backslash == Backslash::Escapes);
        let mut open = quote;
        loop {
            let end = if escapes { escaped_end(self.bytes, open) } else { quote_end(self.bytes, open, b'\'', shape != Shape::Bits) };
            let Some(end) = end else { return Err(self.broken(start, Unreadable::Literal)) };
            match continuation(self.bytes, end) {
                Some(next) => open = next,
                None => return self.checked(start, end, shape),
            }
        }
    }

    fn quoted(&mut self, start: usize, quote: usize, shape: Shape) -> Result<Token, Break> {
        match quote_end(self.bytes, quote, b'"', true) {
            Some(end) => self.checked(start, end, shape),
            None => Err(self.broken(start, Unreadable::QuotedName)),
        }
    }

    fn dollar(&mut self, start: usize) -> Result<Token, Break> {
        if self.byte(start + 1).is_some_and(|byte| byte.is_ascii_digit()) {
            let end = run(self.bytes, start + 1, |byte| byte.is_ascii_digit());
            return Ok(self.token(start, end, Shape::Parameter));
        }
        let Some(tag) = dollar_tag(self.bytes, start) else { return Ok(self.token(start, start + 1, Shape::Stray)) };
        let body = start + tag.len();
        let rest = self.bytes.get(body..).unwrap_or_default();
        match find_tag(rest, tag) {
            Some(length) => self.checked(start, body + length + tag.len(), Shape::Dollar),
            None => Err(self.broken(start, Unreadable::DollarQuote)),
        }
    }

    /// A NUL ends what the database is sent, wherever it stands.
    fn checked(&mut self, start: usize, end: usize, shape: Shape) -> Result<Token, Break> {
        match self.bytes.get(start..end).unwrap_or_default().contains(&0) {
            true => Err(self.broken(start, Unreadable::Nul)),
            false => Ok(self.token(start, end, shape)),
        }
    }

    fn number(&mut self, start: usize) -> Token {
        let bytes = self.bytes;
        let digits = |at| run(bytes, at, |byte| byte.is_ascii_digit() || byte == b'_');
        if self.byte(start) == Some(b'0') && matches!(self.byte(start + 1), Some(b'x' | b'X' | b'o' | b'O' | b'b' | b'B')) {
            let end = run(bytes, start + 2, |byte| byte.is_ascii_hexdigit() || byte == b'_');
            return self.token(start, end, Shape::Number);
        }
        let mut end = digits(start);
        // `1..9` is two numbers and what stands between them.
        if self.byte(end) == Some(b'.') && self.byte(end + 1) != Some(b'.') {
            end = digits(end + 1);
        }
        if matches!(self.byte(end), Some(b'e' | b'E')) {
            let signed = if matches!(self.byte(end + 1), Some(b'+' | b'-')) { end + 2 } else { end + 1 };
            if self.byte(signed).is_some_and(|byte| byte.is_ascii_digit()) {
                end = digits(signed);
            }
        }
        self.token(start, end, Shape::Number)
    }

    fn operator(&mut self, start: usize) -> Token {
        if start < self.signs {
            return self.token(start, start + 1, Shape::Operator);
        }
        let bytes = self.bytes.get(start..).unwrap_or_default();
        // PostgreSQL takes none that is longer than a name. A cut must not tear a comment's beginning apart.
        let bytes = bytes.get(..OPERATOR_LIMIT).unwrap_or(bytes);
        let mut length = run(bytes, 0, is_operator);
        if length == OPERATOR_LIMIT && bytes.last().is_some_and(|byte| b"-/".contains(byte)) {
            length -= 1;
        }
        let here = bytes.get(..length).unwrap_or_default();
        let here = here.windows(2).position(|pair| pair == b"--" || pair == b"/*").and_then(|comment| here.get(..comment)).unwrap_or(here);
        // A trailing sign belongs to what follows, unless the operator has a character that standard SQL has none of.
        let is_own = here.iter().any(|byte| b"~!@#^&|`?%".contains(byte));
        let unsigned = here.iter().rposition(|byte| !b"+-".contains(byte)).map_or(1, |last| last + 1);
        let length = if is_own { here.len() } else { unsigned };
        self.signs = start + here.len();
        self.token(start, start + length.max(1), Shape::Operator)
    }
}

/// Twice as long as PostgreSQL takes any.
const OPERATOR_LIMIT: usize = 128;

/// Texts longer than this are not lexed at all.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The vertical tab is one from PostgreSQL 16 on, and before that it is an error.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn is_operator(byte: u8) -> bool {
    b"~!@#^&|`?+-*/%<>=".contains(&byte)
}

fn run(bytes: &[u8], from: usize, is_in: impl Fn(u8) -> bool) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| !is_in(*byte)).unwrap_or(rest.len())
}

/// What a word may hold, by its byte: most of a text's bytes are asked for it.
static OF_WORDS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    loop {
        let is_in = byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80;
        if let Some(place) = table.split_at_mut(byte as usize).1.first_mut() {
            *place = is_in;
        }
        if byte == u8::MAX {
            break table;
        }
        byte += 1;
    }
};

pub fn word_end(bytes: &[u8], start: usize) -> usize {
    run(bytes, start, |byte| OF_WORDS.get(usize::from(byte)).is_some_and(|is_in| *is_in))
}

fn line_end(bytes: &[u8], from: usize) -> usize {
    run(bytes, from, |byte| byte != b'\n' && byte != b'\r')
}

/// Comments nest.
fn comment_end(bytes: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut depth) = (start, 0_usize);
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

/// Behind the quote that closes the one at `open`; a doubled one closes nothing, where `doubles`.
fn quote_end(bytes: &[u8], open: usize, quote: u8, doubles: bool) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at = run(bytes, at, |byte| byte != quote);
        bytes.get(at)?;
        if doubles && bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return Some(at + 1);
        }
    }
}

fn escaped_end(bytes: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at = run(bytes, at, |byte| byte != b'\'' && byte != b'\\');
        match (bytes.get(at)?, bytes.get(at + 1)) {
            (b'\\', _) | (b'\'', Some(b'\'')) => at += 2,
            _ => return Some(at + 1),
        }
    }
}

/// Where a literal that closed before `end` goes on: at the next quote, if nothing but blanks with a line break among them, and comments
/// that end with their line, stands between.
fn continuation(bytes: &[u8], end: usize) -> Option<usize> {
    let is_break = |byte: u8| byte == b'\n' || byte == b'\r';
    let mut at = run(bytes, end, |byte| is_blank(byte) && !is_break(byte));
    // A comment may stand before the line break, too.
    if bytes.get(at..)?.starts_with(b"--") {
        at = line_end(bytes, at);
    }
    if !bytes.get(at).copied().is_some_and(is_break) {
        return None;
    }
    loop {
        at = run(bytes, at, is_blank);
        if !bytes.get(at..)?.starts_with(b"--") {
            break;
        }
        at = line_end(bytes, at);
    }
    (bytes.get(at) == Some(&b'\'')).then_some(at)
}

/// `$$` or `$tag$`.
fn dollar_tag(bytes: &[u8], start: usize) -> Option<&[u8]> {
    let first = bytes.get(start + 1)?;
    let end = match first {
        b'$' => start + 1,
        b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => {
            run(bytes, start + 1, |byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80)
        }
        _ => return None,
    };
    (bytes.get(end) == Some(&b'$')).then(|| bytes.get(start..=end)).flatten()
}

/// The tag has no `$` inside, so what does not match can only begin to match at its next `$`.
fn find_tag(bytes: &[u8], tag: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at = run(bytes, at, |byte| byte != b'$');
        let rest = bytes.get(at..)?;
        if rest.is_empty() {
            return None;
        }
        if rest.starts_with(tag) {
            return Some(at);
        }
        at += 1;
    }
}
