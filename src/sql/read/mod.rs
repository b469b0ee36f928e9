//! What each statement does, told from its tokens: [`Act`]s, with what they touch and where they stand. Whatever a statement carries
//! inside (a CTE, a body of code, what EXPLAIN ANALYZE or PREPARE is given) is read like a statement of its own.

mod calls;
mod catalog;
mod code;
mod condition;
mod language;
mod rights;
mod rows;
mod schema;
mod session;

use std::ops::Range;

use super::act::{Act, Unreadable};
use super::decode;
use super::finding::{Kind, Name};
use super::head;
use super::lexer::{Backslash, Shape};
use super::rules::RULES;
use super::tokens::{Cursor, k};
use super::words::Kw;

/// Code in code in code, and parentheses in conditions: nobody writes more, and PostgreSQL itself stops somewhere.
const DEPTH: usize = 64;

/// Acts of one text. Where there are more, the text is not read on, and that is found.
const ACTS: usize = 200;

/// How often a token may be looked at beyond what reading a text once needs.
const LOOKS_PER_TOKEN: usize = 24;
const LOOKS: usize = 20_000;

/// One act, with what it touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deed {
    pub act: Act,
    pub kind: Kind,
    pub objects: Vec<Name>,
    /// UTF-8 bytes of the text.
    pub span: Range<usize>,
    /// What stands there without comments and with its literals masked, where the span is of another text: of a body of code.
    pub shown: Option<String>,
}

/// Reads the statements of one text.
#[derive(Debug)]
pub struct Reader {
    pub deeds: Vec<Deed>,
    /// Whether any statement that was read since this was last unset changes what the database is made of, or may.
    pub changes_schema: bool,
    depth: usize,
    looks: usize,
    backslash: Backslash,
}

impl Reader {
    pub fn new(tokens: usize, backslash: Backslash) -> Self {
        Self { deeds: Vec::new(), changes_schema: false, depth: 0, looks: LOOKS + tokens.saturating_mul(LOOKS_PER_TOKEN), backslash }
    }

    /// A statement of a text, with all that it carries.
    pub fn whole(&mut self, cursor: Cursor<'_>) -> Option<Kind> {
        let kind = self.statement(cursor)?;
        if !is_only_explained(cursor) {
            self.inside(cursor);
        }
        Some(kind)
    }

    /// What begins here, if anything does: its kind, and its own acts.
    fn statement(&mut self, cursor: Cursor<'_>) -> Option<Kind> {
        if !head::begins(&cursor) {
            return None;
        }
        if self.depth > DEPTH {
            self.unreadable(Unreadable::TooDeep, cursor);
            return Some(Kind::Unreadable);
        }
        self.depth += 1;
        let kind = self.by_verb(cursor);
        self.depth -= 1;
        self.changes_schema |= kind.is_some_and(Kind::is_ddl);
        kind
    }

    fn by_verb(&mut self, cursor: Cursor<'_>) -> Option<Kind> {
        let mut rest = cursor;
        rest.advance(1);
        Some(match cursor.kw(0) {
            k::WITH => return self.with(cursor),
            k::DELETE | k::UPDATE | k::MERGE => {
                let kind = self.rows(cursor)?;
                self.catalog(cursor, kind);
                kind
            }
            k::INSERT => {
                self.catalog(cursor, Kind::Insert);
                Kind::Insert
            }
            k::TRUNCATE | k::DROP | k::ALTER => return self.schema(cursor),
            k::CREATE => return self.create(cursor),
            k::GRANT | k::REVOKE => return self.rights(cursor),
            k::COPY => return self.copy(cursor),
            k::EXPLAIN => return self.explain(cursor),
            k::PREPARE => return Some(self.prepare(rest)),
            k::DECLARE => {
                rest.until(|c| c.is(k::FOR));
                rest.advance(1);
                self.statement(rest);
                Kind::Session
            }
            k::DO => return self.do_block(cursor),
            k::CALL | k::EXECUTE => Kind::Run,
            k::SET | k::RESET | k::DISCARD => self.setting(cursor),
            k::LOAD => self.load(cursor),
            k::DEALLOCATE | k::LISTEN | k::UNLISTEN | k::NOTIFY | k::CLOSE => Kind::Session,
            k::BEGIN | k::START | k::COMMIT | k::END | k::ROLLBACK | k::ABORT | k::SAVEPOINT | k::RELEASE | k::LOCK => Kind::Transaction,
            k::CHECKPOINT | k::VACUUM | k::ANALYZE | k::ANALYSE | k::CLUSTER | k::REPACK | k::REINDEX | k::REFRESH => Kind::Maintain,
            k::REASSIGN => Kind::Alter,
            k::COMMENT | k::SECURITY | k::IMPORT => Kind::Create,
            k::SELECT if makes_a_table(cursor) => Kind::Create,
            _ if cursor.shape(0) == Some(Shape::Open) => carried(cursor).unwrap_or(Kind::Read),
            _ => Kind::Read,
        })
    }

    /// `WITH x AS (…), y AS (…)` and the statement they are for. What stands in the parentheses is found by [`Self::inside`].
    fn with(&mut self, cursor: Cursor<'_>) -> Option<Kind> {
        let main = main_statement(cursor)?;
        let own = self.statement(main)?;
        // A statement that changes something in its CTE is none that only reads.
        if own != Kind::Read {
            return Some(own);
        }
        Some(carried(cursor).unwrap_or(Kind::Read))
    }

    /// Only what runs counts: a plain EXPLAIN runs nothing.
    fn explain(&mut self, cursor: Cursor<'_>) -> Option<Kind> {
        if is_only_explained(cursor) {
            return Some(Kind::Read);
        }
        self.statement(explained(cursor))
    }

    fn prepare(&mut self, mut rest: Cursor<'_>) -> Kind {
        if rest.is(k::TRANSACTION) {
            return Kind::Transaction;
        }
        rest.name();
        rest.group();
        if rest.eat(k::AS) {
            self.statement(rest);
        }
        Kind::Session
    }

    /// What stands in parentheses anywhere in a statement, and the functions it calls: one look at every token.
    fn inside(&mut self, cursor: Cursor<'_>) {
        let mut ends: Vec<usize> = vec![cursor.end];
        let mut here = cursor;
        let mut before = here.at;
        while !here.is_end() {
            while ends.len() > 1 && ends.last().is_some_and(|end| here.at >= *end) {
                ends.pop();
            }
            let end = ends.last().copied().unwrap_or(cursor.end);
            match here.shape(0) {
                Some(Shape::Open) => {
                    let mut group = here;
                    if let Some(inside) = group.group() {
                        ends.push(inside.end);
                        if matches!(inside.kw(0), k::DELETE | k::UPDATE | k::MERGE | k::INSERT) {
                            self.statement(inside);
                        }
                        if here.at > before {
                            self.call(cursor, here.at, inside);
                        }
                    }
                }
                Some(Shape::Word) if here.is(k::WITH) && here.at > cursor.at => {
                    let main = main_statement(Cursor { end, ..here });
                    if let Some(main) = main.filter(|main| matches!(main.kw(0), k::DELETE | k::UPDATE | k::MERGE | k::INSERT)) {
                        self.statement(main);
                    }
                }
                _ => {}
            }
            before = cursor.at;
            here.at += 1;
        }
    }

    fn note(&mut self, act: Act, kind: Kind, objects: Vec<Name>, part: Cursor<'_>) {
        self.note_at(act, kind, objects, part.span());
    }

    fn note_at(&mut self, act: Act, kind: Kind, objects: Vec<Name>, span: Range<usize>) {
        self.changes_schema |= matches!(act, Act::Dynamic(_) | Act::Unreadable(_));
        // What no rule minds need not be kept.
        if !RULES.iter().any(|rule| (rule.judge)(&act).is_some()) {
            return;
        }
        if self.deeds.len() < ACTS {
            self.deeds.push(Deed { act, kind, objects, span, shown: None });
        } else if self.deeds.len() == ACTS {
            self.deeds.push(Deed {
                act: Act::Unreadable(Unreadable::TooLong),
                kind: Kind::Unreadable,
                objects: Vec::new(),
                span,
                shown: None,
            });
        }
    }

    fn unreadable(&mut self, why: Unreadable, part: Cursor<'_>) {
        self.note(Act::Unreadable(why), Kind::Unreadable, Vec::new(), part);
    }

    /// Counts looks at tokens; false once there were too many.
    fn may_look(&mut self, tokens: usize) -> bool {
        self.looks = self.looks.saturating_sub(tokens);
        self.looks > 0
    }
}

/// What the CTEs of a WITH change, if any of them changes rows: those of its own first, and then those in them.
fn carried(cursor: Cursor<'_>) -> Option<Kind> {
    let of = |kw: Kw| match kw {
        k::DELETE => Some(Kind::Delete),
        k::UPDATE => Some(Kind::Update),
        k::MERGE => Some(Kind::Merge),
        k::INSERT => Some(Kind::Insert),
        _ => None,
    };
    let mut own = cursor;
    while !own.is_end() {
        let mut group = own;
        if let Some(inside) = group.group() {
            let main = if inside.is(k::WITH) { main_statement(inside).unwrap_or(inside) } else { inside };
            if let Some(kind) = of(main.kw(0)).filter(|_| head::begins(&main)) {
                return Some(kind);
            }
        }
        own.skip();
    }
    (cursor.at..cursor.end)
        .filter(|at| cursor.tokens.get(*at).is_some_and(|token| token.shape == Shape::Open))
        .map(|open| Cursor { at: open + 1, ..cursor })
        .find_map(|inside| of(inside.kw(0)).filter(|_| head::begins(&inside)))
}

/// What a list of CTEs is for.
fn main_statement(mut cursor: Cursor<'_>) -> Option<Cursor<'_>> {
    if !head::begins(&cursor) {
        return None;
    }
    cursor.eat(k::WITH);
    cursor.eat_recursive();
    loop {
        cursor.name()?;
        cursor.group();
        cursor.eat(k::AS).then_some(())?;
        cursor.eat(k::NOT);
        cursor.eat(k::MATERIALIZED);
        cursor.group()?;
        search_and_cycle(&mut cursor)?;
        if !cursor.eat_shape(Shape::Comma) {
            return (!cursor.is_end()).then_some(cursor);
        }
    }
}

/// `SEARCH DEPTH FIRST BY a, b SET c` and `CYCLE a, b SET c TO … DEFAULT … USING d` behind a CTE: any of their names can be a verb.
fn search_and_cycle(cursor: &mut Cursor<'_>) -> Option<()> {
    let names = |cursor: &mut Cursor<'_>| {
        while cursor.name().is_some() && cursor.eat_shape(Shape::Comma) {}
        cursor.eat(k::SET).then_some(())?;
        cursor.name()
    };
    if cursor.is(k::SEARCH) && matches!(cursor.kw(1), k::DEPTH | k::BREADTH) {
        cursor.advance(2);
        cursor.eat_all(&[k::FIRST, k::BY]).then_some(())?;
        names(cursor)?;
    }
    if cursor.eat(k::CYCLE) {
        names(cursor)?;
        cursor.until(|c| matches!(c.kw(0), k::USING | k::WITH | k::SELECT));
        cursor.eat(k::USING).then_some(())?;
        cursor.name()?;
    }
    Some(())
}

/// SELECT … INTO, outside of parentheses.
fn makes_a_table(mut cursor: Cursor<'_>) -> bool {
    while !cursor.is_end() {
        match cursor.kw(0) {
            // What a column is called may be any word, and DISTINCT FROM compares.
            k::AS | k::DISTINCT => cursor.skip(),
            k::INTO => return true,
            k::FROM | k::WHERE => return false,
            _ => {}
        }
        cursor.skip();
    }
    false
}

/// What EXPLAIN is to explain.
fn explained(mut cursor: Cursor<'_>) -> Cursor<'_> {
    cursor.eat(k::EXPLAIN);
    head::explain_options(&mut cursor);
    while matches!(cursor.kw(0), k::ANALYZE | k::ANALYSE | k::VERBOSE) {
        cursor.advance(1);
    }
    cursor
}

fn is_only_explained(mut cursor: Cursor<'_>) -> bool {
    if !cursor.eat(k::EXPLAIN) {
        return false;
    }
    if let Some(mut options) = head::explain_options(&mut cursor) {
        while !options.is_end() {
            let mut option = options.until(|c| c.shape(0) == Some(Shape::Comma));
            options.advance(1);
            let named = option.peek(0).map(|token| decode::name(token.shape, option.text_of(token)));
            option.advance(1);
            if matches!(named.as_deref(), Some("analyze" | "analyse")) {
                let is_off = matches!(option.word(0).to_ascii_lowercase().as_str(), "off" | "false" | "0" | "'off'" | "'false'");
                if !is_off {
                    return false;
                }
            }
        }
        return true;
    }
    !(matches!(cursor.kw(0), k::ANALYZE | k::ANALYSE) || matches!(cursor.kw(1), k::ANALYZE | k::ANALYSE) && cursor.is(k::VERBOSE))
}

#[cfg(test)]
mod tests;
