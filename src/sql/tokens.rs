//! A text as tokens, with its parentheses paired, and a cursor to read statements with.

use std::cell::Cell;

use super::act::Unreadable;
use super::decode;
use super::finding::Name;
use super::lexer::{Backslash, Break, Lexer, Shape, Token};
use super::words::{Class, Kw};

/// Longer texts are not read at all: offsets are kept in 32 bits, and a call's body is bounded far below.
const TEXT_LIMIT: usize = 64 << 20;

/// How many tokens there is room for from the beginning.
const ROOM: usize = 64;

#[derive(Debug)]
pub struct Tokens<'a> {
    pub text: &'a str,
    pub list: Vec<Token>,
    /// Where reading ended before the text did.
    pub broken: Option<Break>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stop {
    Nowhere,
    BehindSemicolon,
}

impl<'a> Tokens<'a> {
    /// Everything from a place on, or the first `most` tokens.
    pub fn read(text: &'a str, from: usize, most: usize, backslash: Backslash) -> Self {
        Self::read_to(text, from, most, Stop::Nowhere, backslash)
    }

    /// The same, and nothing behind the next semicolon.
    pub fn read_statement(text: &'a str, from: usize, most: usize, backslash: Backslash) -> Self {
        Self::read_to(text, from, most, Stop::BehindSemicolon, backslash)
    }

    fn read_to(text: &'a str, from: usize, most: usize, stop: Stop, backslash: Backslash) -> Self {
        // What is not long takes no more room than it needs at most, and does not grow.
        let room = most.min(text.len().saturating_sub(from)).min(ROOM);
        let mut tokens = Self { text, list: Vec::with_capacity(room), broken: None };
        if text.len() > TEXT_LIMIT {
            tokens.broken = Some(Break { at: from, why: Unreadable::TooLong });
            return tokens;
        }
        let mut lexer = Lexer::new(text, from, backslash);
        let mut open: Vec<u32> = Vec::new();
        while tokens.list.len() < most {
            let mut token = match lexer.next_token() {
                Ok(Some(token)) => token,
                Ok(None) => break,
                Err(broken) => {
                    tokens.broken = Some(broken);
                    break;
                }
            };
            let here = u32::try_from(tokens.list.len()).unwrap_or(u32::MAX);
            token.pair = here;
            match token.shape {
                Shape::Open | Shape::OpenBracket => open.push(here),
                Shape::Close | Shape::CloseBracket => {
                    let opening = if token.shape == Shape::Close { Shape::Open } else { Shape::OpenBracket };
                    let partner = open.last().and_then(|at| tokens.list.get_mut(*at as usize)).filter(|other| other.shape == opening);
                    if let Some(partner) = partner {
                        token.pair = partner.pair;
                        partner.pair = here;
                        open.pop();
                    }
                }
                _ => {}
            }
            // Behind a dot any word is a name.
            if tokens.list.last().is_some_and(|before| before.shape == Shape::Dot) {
                token.kw = Kw::NONE;
            }
            if matches!(token.shape, Shape::Literal | Shape::Escaped | Shape::Dollar) && tokens.ends_in_uescape() {
                tokens.list.pop();
                if let Some(named) = tokens.list.last_mut() {
                    named.end = token.end;
                }
                continue;
            }
            tokens.list.push(token);
            if stop == Stop::BehindSemicolon && token.shape == Shape::Semicolon {
                break;
            }
        }
        tokens
    }

    /// `U&"…" UESCAPE` and the literal that is to come are one token.
    fn ends_in_uescape(&self) -> bool {
        match self.list.as_slice() {
            [.., named, word] => word.kw == k::UESCAPE && matches!(named.shape, Shape::UnicodeQuoted | Shape::Unicode),
            _ => false,
        }
    }

    pub fn cursor(&self) -> Cursor<'_> {
        Cursor { text: self.text, tokens: &self.list, at: 0, end: self.list.len(), beyond: None }
    }
}

/// A place among the tokens of a statement, or of a part of one.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'t> {
    pub text: &'t str,
    pub tokens: &'t [Token],
    pub at: usize,
    pub end: usize,
    /// Of a text of which only the beginning was read: is told when somebody asks for what is behind that.
    pub beyond: Option<&'t Cell<bool>>,
}

impl<'t> Cursor<'t> {
    pub fn is_end(&self) -> bool {
        let is_end = self.at >= self.end;
        if is_end {
            self.tell();
        }
        is_end
    }

    fn tell(&self) {
        if let Some(beyond) = self.beyond {
            beyond.set(true);
        }
    }

    /// The token this many places on.
    pub fn peek(&self, ahead: usize) -> Option<&'t Token> {
        let at = self.at + ahead;
        if at < self.end {
            return self.tokens.get(at);
        }
        self.tell();
        None
    }

    pub fn shape(&self, ahead: usize) -> Option<Shape> {
        self.peek(ahead).map(|token| token.shape)
    }

    /// The keyword this many places on.
    pub fn kw(&self, ahead: usize) -> Kw {
        self.peek(ahead).map_or(Kw::NONE, |token| token.kw)
    }

    pub fn text_of(&self, token: &Token) -> &'t str {
        self.text.get(token.start as usize..token.end as usize).unwrap_or_default()
    }

    pub fn word(&self, ahead: usize) -> &'t str {
        self.peek(ahead).map_or("", |token| self.text_of(token))
    }

    pub fn advance(&mut self, by: usize) {
        self.at = (self.at + by).min(self.end);
    }

    pub fn is(&self, kw: Kw) -> bool {
        self.kw(0) == kw
    }

    pub fn eat(&mut self, kw: Kw) -> bool {
        let found = self.is(kw);
        if found {
            self.at += 1;
        }
        found
    }

    /// All of them in this order, or none.
    pub fn eat_all(&mut self, kws: &[Kw]) -> bool {
        let found = kws.iter().enumerate().all(|(ahead, kw)| self.kw(ahead) == *kw);
        if found {
            self.at += kws.len();
        }
        found
    }

    pub fn eat_shape(&mut self, shape: Shape) -> bool {
        let found = self.shape(0) == Some(shape);
        if found {
            self.at += 1;
        }
        found
    }

    pub fn eat_operator(&mut self, operator: &str) -> bool {
        let found = self.is_operator(0, operator);
        if found {
            self.at += 1;
        }
        found
    }

    pub fn is_operator(&self, ahead: usize, operator: &str) -> bool {
        self.shape(ahead) == Some(Shape::Operator) && self.word(ahead) == operator
    }

    /// RECURSIVE of a WITH, which can also be the name of its first CTE.
    pub fn eat_recursive(&mut self) {
        if self.is(k::RECURSIVE) && self.is_name(1) && self.kw(1) != k::AS {
            self.at += 1;
        }
    }

    /// A role: a name, or a word that stands for one.
    pub fn is_role(&self) -> bool {
        self.is_name(0) || matches!(self.kw(0), k::CURRENT_USER | k::CURRENT_ROLE | k::SESSION_USER)
    }

    /// `a.b`, `ONLY a.b`, `ONLY (a.b)`, with or without a `*`.
    pub fn relation(&mut self) -> Option<Name> {
        self.eat(k::ONLY);
        let mut whole = *self;
        let name = match whole.group() {
            Some(mut inside) => {
                let name = inside.name().filter(|_| inside.is_end())?;
                *self = whole;
                name
            }
            None => self.name()?,
        };
        self.eat_operator("*");
        Some(name)
    }

    pub fn if_exists(&mut self) -> bool {
        self.eat_all(&[k::IF, k::EXISTS])
    }

    /// Whether what stands here can be a name: a quoted one, or a word that PostgreSQL does not reserve.
    pub fn is_name(&self, ahead: usize) -> bool {
        match self.peek(ahead) {
            Some(token) => match token.shape {
                Shape::Quoted | Shape::UnicodeQuoted => true,
                Shape::Word => token.kw.class() != Class::Reserved,
                _ => false,
            },
            None => false,
        }
    }

    /// `a`, `a.b`, `"A" . b . c`
    pub fn name(&mut self) -> Option<Name> {
        if !self.is_name(0) {
            return None;
        }
        let mut parts = vec![self.part()?];
        while self.shape(0) == Some(Shape::Dot) && matches!(self.shape(1), Some(Shape::Word | Shape::Quoted | Shape::UnicodeQuoted)) {
            self.at += 1;
            parts.push(self.part()?);
        }
        Some(Name { parts })
    }

    /// The same where nobody asks what it says.
    pub fn eat_name(&mut self) -> bool {
        if !self.is_name(0) {
            return false;
        }
        self.at += 1;
        while self.shape(0) == Some(Shape::Dot) && matches!(self.shape(1), Some(Shape::Word | Shape::Quoted | Shape::UnicodeQuoted)) {
            self.at += 2;
        }
        true
    }

    fn part(&mut self) -> Option<String> {
        let token = self.peek(0)?;
        self.at += 1;
        Some(decode::name(token.shape, self.text_of(token)))
    }

    /// `a, b.c`
    pub fn names(&mut self) -> Option<Vec<Name>> {
        let mut names = vec![self.name()?];
        while self.eat_shape(Shape::Comma) {
            names.push(self.name()?);
        }
        Some(names)
    }

    /// Where this token's partner stands, if it is an opening one that has one in reach.
    fn closing(&self) -> Option<usize> {
        let token = self.peek(0).filter(|token| matches!(token.shape, Shape::Open | Shape::OpenBracket))?;
        let pair = token.pair as usize;
        if pair >= self.end {
            self.tell();
        }
        (pair > self.at && pair < self.end).then_some(pair)
    }

    /// What stands in the parentheses that open here, which are passed.
    pub fn group(&mut self) -> Option<Self> {
        if self.shape(0) != Some(Shape::Open) {
            return None;
        }
        let closing = self.closing()?;
        let inside = Self { at: self.at + 1, end: closing, ..*self };
        self.at = closing + 1;
        Some(inside)
    }

    /// Behind the parentheses that open here; here, if none do or they do not close.
    pub fn group_end(&self) -> usize {
        self.closing().map_or(self.at, |closing| closing + 1)
    }

    /// One token, or parentheses with all that is in them.
    pub fn skip(&mut self) {
        self.at = match self.closing() {
            Some(closing) => closing + 1,
            None => (self.at + 1).min(self.end),
        };
    }

    /// Up to the first of these words outside of parentheses, or to the end. What was passed.
    pub fn until(&mut self, stop: impl Fn(&Self) -> bool) -> Self {
        let from = self.at;
        while !self.is_end() && !stop(self) {
            self.skip();
        }
        Self { at: from, end: self.at.max(from), ..*self }
    }

    /// UTF-8 bytes of the text, from the first token here to the last.
    pub fn span(&self) -> std::ops::Range<usize> {
        self.tell();
        let first = self.tokens.get(self.at..self.end).unwrap_or_default();
        match (first.first(), first.last()) {
            (Some(first), Some(last)) => first.start as usize..last.end as usize,
            _ => 0..0,
        }
    }

    /// Whether this word stands before.
    pub fn is_behind(&self, kw: Kw) -> bool {
        self.at.checked_sub(1).and_then(|before| self.tokens.get(before)).is_some_and(|before| before.kw == kw)
    }

    /// LOOP, which is a word of PL/pgSQL and none of SQL.
    pub fn is_loop(&self) -> bool {
        self.shape(0) == Some(Shape::Word) && self.word(0).eq_ignore_ascii_case("loop")
    }

    pub fn here(&self) -> &'t [Token] {
        self.tell();
        self.tokens.get(self.at..self.end).unwrap_or_default()
    }
}

/// The keywords that something asks for.
pub mod k {
    use super::Kw;

    macro_rules! keywords {
        ($($name:ident)*) => { $(pub const $name: Kw = Kw::named(stringify!($name));)* };
    }

    keywords! {
        ABORT ACCESS ADD ADMIN AGGREGATE ALL ALSO ALTER ANALYSE ANALYZE AND ANY ARRAY AS ASENSITIVE ASYMMETRIC AT ATOMIC ATTACH
        ATTRIBUTE AUTHORIZATION BEGIN BETWEEN BINARY BIT BREADTH BY CACHE CALL CALLED CASCADE CASE CAST CATALOG CHAR CHARACTER
        CHARACTERISTICS CHECKPOINT CLASS CLOSE CLUSTER COLLATE COLLATION COLUMN COMMENT COMMIT CONCURRENTLY CONNECTION
        CONSTRAINT CONSTRAINTS CONTINUE CONVERSION COPY COST CREATE CURRENT CURRENT_CATALOG CURRENT_DATE CURRENT_ROLE
        CURRENT_SCHEMA CURRENT_TIME CURRENT_USER CURSOR CYCLE DATA DATABASE DAY DEALLOCATE DECLARE DEFAULT DEFERRABLE DELETE
        DEPENDS DEPTH DETACH DISABLE DISCARD DISTINCT DO DOMAIN DOUBLE DROP ELSE ENABLE END ESCAPE EVENT EXCEPT EXECUTE EXISTS
        EXPLAIN EXTENSION EXTERNAL FALSE FAMILY FETCH FILTER FIRST FOR FORCE FOREIGN FREEZE FROM FULL FUNCTION GLOBAL GRANT
        GRANTED GROUP HANDLER HAVING HOUR IDENTITY IF ILIKE IMMUTABLE IMPORT IN INCREMENT INDEX INHERIT INSENSITIVE INSERT
        INSTEAD INTERSECT INTERVAL INTO IS ISNULL ISOLATION JOIN JSON LABEL LANGUAGE LARGE LEAKPROOF LIKE LIMIT LISTEN LOAD LOCAL
        LOCALTIME LOCALTIMESTAMP LOCK LOGGED MAPPING MATCHED MATERIALIZED MAXVALUE MERGE METHOD MINUTE MINVALUE MONTH MOVE NAMES
        NATIONAL NCHAR NO NORMALIZED NOT NOTIFY NOTNULL NOWAIT NULL OBJECT OF OFFSET ON ONLY OPERATOR OPTION OPTIONS OR ORDER
        OVER OVERLAPS OVERRIDING OWNED OWNER PARALLEL PARAMETER PLANS POLICY PRECISION PREPARE PREPARED PRIVILEGES PROCEDURAL
        PROCEDURE PROGRAM PUBLICATION READ REASSIGN RECURSIVE REFERENCES REFRESH REINDEX RELEASE RENAME REPACK REPLACE REPLICA
        RESET RESTART RESTRICT RETURNING RETURNS REVOKE ROLE ROLLBACK ROUTINE ROW ROWS RULE SAVEPOINT SCALAR SCHEMA SCROLL
        SEARCH SECOND SECURITY SELECT SEQUENCE SEQUENCES SERVER SESSION SESSION_USER SET SETOF SHOW SIMILAR SKIP SOME SOURCE
        STABLE START STATISTICS STDIN STDOUT STRICT SUBSCRIPTION SUPPORT SYMMETRIC SYSTEM SYSTEM_USER TABLE TABLESPACE TARGET
        TEMP TEMPORARY TEXT THEN TIME TO TRANSACTION TRANSFORM TRIGGER TRUE TRUNCATE TRUSTED TYPE UESCAPE UNION UNIQUE UNKNOWN
        UNLISTEN UNLOGGED UPDATE USER USING VACUUM VALIDATE VALIDATOR VALUE VALUES VARIADIC VARYING VERBOSE VERSION VIEW
        VOLATILE WHEN WHERE WINDOW WITH WITHIN WITHOUT WORK XML YEAR ZONE
    }
}
