//! Bodies of code: DO blocks, functions, rules, and what EXECUTE runs in them.

use super::language::{Language, named};
use super::{Reader, head};
use crate::sql::act::{Act, Hidden, Unreadable};
use crate::sql::decode;
use crate::sql::finding::Kind;
use crate::sql::lexer::{Shape, Token};
use crate::sql::prose;
use crate::sql::shown;
use crate::sql::tokens::{Cursor, Tokens, k};

impl Reader {
    pub(super) fn do_block(&mut self, cursor: Cursor<'_>) -> Option<Kind> {
        let mut rest = cursor;
        rest.advance(1);
        let mut code = None;
        let mut language = Language::Read;
        while !head::ends(&rest) {
            if rest.eat(k::LANGUAGE) {
                language = named(rest);
                rest.advance(1);
            } else {
                code = code.or(rest.peek(0).filter(|token| token.shape.is_text()));
                rest.advance(1);
            }
        }
        if let Some(code) = code {
            self.code(cursor, code, &language);
        }
        Some(Kind::Run)
    }

    pub(super) fn create(&mut self, cursor: Cursor<'_>) -> Option<Kind> {
        let mut rest = cursor;
        rest.advance(1);
        rest.until(|c| head::kind_of_object(c).is_some());
        let words = head::kind_of_object(&rest).unwrap_or_default();
        let kind = rest.kw(0);
        rest.advance(words);
        match kind {
            k::FUNCTION | k::PROCEDURE => self.function(cursor, rest),
            k::OPERATOR | k::AGGREGATE | k::CAST | k::TYPE | k::CONVERSION => self.made_of_functions(cursor),
            k::EXTENSION | k::LANGUAGE | k::PROCEDURAL | k::TRUSTED => self.language(cursor, rest),
            k::ROLE | k::GROUP => return self.create_role(cursor, rest),
            k::USER if words == 1 => return self.create_role(cursor, rest),
            k::RULE => {
                rest.until(|c| c.is(k::DO));
                rest.advance(1);
                if matches!(rest.kw(0), k::ALSO | k::INSTEAD) {
                    rest.advance(1);
                }
                let mut group = rest;
                match group.group() {
                    Some(actions) => self.statements(actions),
                    None => {
                        self.statement(rest);
                    }
                }
            }
            k::SCHEMA => {
                // What it creates in the schema can only be created; but rights can be given, too.
                while !rest.is_end() {
                    rest.until(|c| c.is(k::GRANT));
                    if rest.is(k::GRANT) {
                        let mut grant = rest;
                        grant.advance(1);
                        grant.until(|c| matches!(c.kw(0), k::CREATE | k::GRANT));
                        self.rights(Cursor { end: grant.at, ..rest });
                    }
                    rest.advance(1);
                }
            }
            _ => {}
        }
        Some(Kind::Create)
    }

    fn function(&mut self, cursor: Cursor<'_>, mut rest: Cursor<'_>) {
        let name = rest.name();
        rest.group();
        let mut language = Language::Read;
        let mut bodies: Vec<&Token> = Vec::new();
        let mut settings = rest;
        while !rest.is_end() {
            match rest.kw(0) {
                k::LANGUAGE => {
                    rest.advance(1);
                    language = named(rest);
                    rest.advance(1);
                }
                k::AS => {
                    rest.advance(1);
                    while let Some(body) = rest.peek(0).filter(|token| token.shape.is_text()) {
                        bodies.push(body);
                        rest.advance(1);
                        if !rest.eat_shape(Shape::Comma) {
                            break;
                        }
                    }
                }
                k::BEGIN if rest.kw(1) == k::ATOMIC => {
                    settings.end = rest.at;
                    rest.advance(2);
                    self.block(rest);
                    break;
                }
                _ => rest.skip(),
            }
        }
        match language {
            Language::Compiled => {
                let said: Vec<_> = bodies.iter().map(|body| decode::literal(body.shape, cursor.text_of(body))).collect();
                self.compiled(cursor, &said, name.as_ref());
            }
            Language::Internal => {
                let symbol = bodies.first().map(|body| decode::literal(body.shape, cursor.text_of(body)));
                self.symbol(cursor, symbol.as_deref());
            }
            Language::Read | Language::Other => {
                for body in bodies {
                    self.code(cursor, body, &language);
                }
            }
        }
        self.function_settings(cursor, settings);
    }

    fn code(&mut self, cursor: Cursor<'_>, body: &Token, language: &Language) {
        match language {
            Language::Read => self.apart(body, cursor, |reader, tokens| {
                let inner = tokens.cursor();
                reader.block(inner);
                reader.inside(inner);
                IsSql::Yes
            }),
            Language::Compiled | Language::Internal => {}
            Language::Other => self.note(Act::Dynamic(Hidden::Language), Kind::Run, Vec::new(), cursor),
        }
    }

    /// SQL that a function is given as text, if it is nothing but SQL.
    pub(super) fn carried(&mut self, literal: &Token, cursor: Cursor<'_>) {
        self.apart(literal, cursor, |reader, tokens| {
            if tokens.broken.is_some() || !prose::is_all_sql(tokens) {
                return IsSql::No;
            }
            reader.statements(tokens.cursor());
            IsSql::Yes
        });
    }

    /// Reads what a literal says as a text of its own. Acts in it stand where they stand in the literal, if it is written as it is said.
    fn apart(&mut self, literal: &Token, cursor: Cursor<'_>, read: impl FnOnce(&mut Self, &Tokens<'_>) -> IsSql) {
        if self.depth > DEPTH_OF_CODE {
            self.unreadable(Unreadable::TooDeep, cursor);
            return;
        }
        let written = cursor.text_of(literal);
        let said = decode::literal(literal.shape, written);
        if !self.may_look(said.len() / 4) {
            self.unreadable(Unreadable::TooDeep, cursor);
            return;
        }
        let whole = literal.start as usize..literal.end as usize;
        // Where what is said begins in what is written.
        let offset = match literal.shape {
            Shape::Dollar => Some((written.len() - said.len()) / 2),
            _ => written.find(said.as_ref()),
        };
        let tokens = Tokens::read(&said, 0, usize::MAX, self.backslash);
        let before = self.deeds.len();
        self.depth += DEPTH_OF_CODE / 8;
        let is_sql = read(self, &tokens);
        self.depth -= DEPTH_OF_CODE / 8;
        if let Some(broken) = tokens.broken.filter(|_| is_sql == IsSql::Yes) {
            self.note_at(Act::Unreadable(broken.why), Kind::Unreadable, Vec::new(), broken.at..said.len());
        }
        for deed in self.deeds.get_mut(before..).unwrap_or_default() {
            deed.shown.get_or_insert_with(|| shown::part(&said, deed.span.clone(), self.backslash));
            deed.span = match offset {
                Some(offset) => whole.start + offset + deed.span.start..whole.start + offset + deed.span.end,
                None => whole.clone(),
            };
        }
    }

    /// Statements between semicolons.
    pub(super) fn statements(&mut self, mut cursor: Cursor<'_>) {
        while !cursor.is_end() {
            let statement = cursor.until(|c| c.shape(0) == Some(Shape::Semicolon));
            cursor.advance(1);
            self.statement(statement);
            self.inside(statement);
        }
    }

    /// A block of PL/pgSQL, or a body of SQL: wherever a statement can stand, what stands there is read.
    fn block(&mut self, mut cursor: Cursor<'_>) {
        // Behind IN, a loop's query ends at its LOOP.
        let mut place = Place::Statement;
        while !cursor.is_end() {
            let executes = cursor.is(k::EXECUTE) && !matches!(cursor.kw(1), k::FUNCTION | k::PROCEDURE);
            if place != Place::Within && (executes || !is_control(cursor) && head::is_verb(cursor.kw(0))) {
                let statement = if place == Place::Query { query_of_loop(cursor) } else { up_to_semicolon(cursor) };
                if !self.may_look(statement.here().len()) {
                    self.unreadable(Unreadable::TooDeep, cursor);
                    return;
                }
                if executes {
                    self.executed(statement);
                    cursor.at = statement.end;
                } else if self.statement_of_block(statement).is_some() {
                    cursor.at = statement.end;
                }
            }
            place = match cursor.peek(0) {
                Some(token) if token.shape == Shape::Semicolon => Place::Statement,
                Some(token) if token.shape == Shape::Operator && cursor.text_of(token) == ">>" => Place::Statement,
                Some(token) if token.kw == k::IN => Place::Query,
                Some(token)
                    if matches!(token.kw, k::BEGIN | k::THEN | k::ELSE | k::ATOMIC | k::FOR | k::DECLARE)
                        || ["loop", "query"].iter().any(|word| cursor.text_of(token).eq_ignore_ascii_case(word)) =>
                {
                    Place::Statement
                }
                _ => Place::Within,
            };
            cursor.skip();
        }
    }

    /// PL/pgSQL takes `INTO x` out of a statement, wherever it stands, before it runs it.
    fn statement_of_block(&mut self, statement: Cursor<'_>) -> Option<Kind> {
        match without_into(statement) {
            Some(tokens) => self.statement(Cursor { text: statement.text, tokens: &tokens, at: 0, end: tokens.len(), beyond: None }),
            None => self.statement(statement),
        }
    }

    /// EXECUTE in PL/pgSQL: of one literal, which is read, or of anything else, which cannot be.
    fn executed(&mut self, statement: Cursor<'_>) {
        let mut rest = statement;
        rest.advance(1);
        let literal = rest.peek(0).filter(|token| token.shape.is_text());
        rest.advance(1);
        let ends = rest.is_end() || matches!(rest.kw(0), k::INTO | k::USING);
        let Some(literal) = literal.filter(|_| ends) else {
            self.note(Act::Dynamic(Hidden::Executed), Kind::Run, Vec::new(), statement);
            return;
        };
        let mut harmless = true;
        self.apart(literal, statement, |reader, tokens| {
            let mut cursor = tokens.cursor();
            while !cursor.is_end() {
                let inner = cursor.until(|c| c.shape(0) == Some(Shape::Semicolon));
                cursor.advance(1);
                let kind = reader.statement(inner);
                reader.inside(inner);
                harmless &= inner.is_end()
                    || kind.is_some_and(|kind| !matches!(kind, Kind::Copy | Kind::Run | Kind::Transaction | Kind::Unreadable));
            }
            IsSql::Yes
        });
        if !harmless {
            self.note(Act::Dynamic(Hidden::Executed), Kind::Run, Vec::new(), statement);
        }
    }
}

/// Where in a block of code something stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Statement,
    /// Behind IN.
    Query,
    Within,
}

fn up_to_semicolon(mut cursor: Cursor<'_>) -> Cursor<'_> {
    cursor.until(|c| c.shape(0) == Some(Shape::Semicolon))
}

/// Up to the LOOP that ends the query. LOOP is no reserved word of SQL: as long as what stands before it is no statement, it is a name.
fn query_of_loop(cursor: Cursor<'_>) -> Cursor<'_> {
    let whole = up_to_semicolon(cursor);
    let mut rest = whole;
    for _ in 0..NAMED_LOOP {
        rest.until(|c| c.is_loop());
        let query = Cursor { end: rest.at, ..whole };
        if rest.is_end() || whole.is(k::EXECUTE) || head::begins(&query) {
            return query;
        }
        rest.advance(1);
    }
    whole
}

/// Tables, columns and so on called `loop` in the head of one query.
const NAMED_LOOP: usize = 8;

/// The tokens of a statement without `INTO [STRICT] x, y.z`, if that stands in it and does not say where to insert.
fn without_into(statement: Cursor<'_>) -> Option<Vec<Token>> {
    let mut rest = statement;
    loop {
        let before = rest.until(|c| c.is(k::INTO)).here().last().map(|token| token.kw);
        if rest.is_end() {
            return None;
        }
        if !before.is_none_or(|kw| matches!(kw, k::INSERT | k::MERGE)) {
            break;
        }
        rest.advance(1);
    }
    let from = rest.at;
    rest.advance(1);
    if rest.word(0).eq_ignore_ascii_case("strict") {
        rest.advance(1);
    }
    while rest.name().is_some() && rest.eat_shape(Shape::Comma) {}
    let (first, cut) = (statement.at, rest.at - from);
    // Parentheses know where their partners stand.
    let moved =
        |pair: usize| u32::try_from(if pair >= rest.at { pair - cut - first } else { pair.saturating_sub(first) }).unwrap_or(u32::MAX);
    let kept = (statement.at..from).chain(rest.at..statement.end);
    Some(kept.filter_map(|at| statement.tokens.get(at)).map(|token| Token { pair: moved(token.pair as usize), ..*token }).collect())
}

/// Whether what a literal says is meant to be run as SQL.
#[derive(Clone, Copy, PartialEq, Eq)]
enum IsSql {
    Yes,
    No,
}

/// Literals that hold code hold no more than seven others, one in the other.
const DEPTH_OF_CODE: usize = 48;

/// `BEGIN`, `END IF` and the like are words of the block, not statements.
fn is_control(cursor: Cursor<'_>) -> bool {
    matches!(cursor.kw(0), k::BEGIN | k::END | k::DECLARE)
}
