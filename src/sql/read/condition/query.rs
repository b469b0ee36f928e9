//! Queries within a condition: whether what they come to can differ from row to row of the statement that they stand in.

use super::expression::Expression;
use super::value::{FIXED, ROW, Value};
use super::{is_named, looks_at_something};
use crate::sql::decode;
use crate::sql::lexer::{Shape, Token};
use crate::sql::tokens::{Cursor, k};
use crate::sql::words::Kw;

impl<'t> Expression<'t, '_> {
    /// A query that reads a table may be another's row; one without FROM is what it selects.
    pub(super) fn query(&mut self, group: Cursor<'t>) -> Value<'t> {
        if !self.reader.may_look(group.here().len() * 2) {
            self.too_deep = true;
            return FIXED;
        }
        if group.here().iter().any(|token| matches!(token.kw, k::FROM | k::TABLE)) {
            return if Sources::of(group).are_all_it_asks() { FIXED } else { ROW };
        }
        let mut select = group;
        while select.eat_shape(Shape::Open) {}
        if select.eat(k::SELECT) {
            let mut item = select;
            item.end = group.end;
            if let Some(value) = self.all_of(item) {
                return if matches!(value, Value::Truth(_)) { value } else { FIXED };
            }
        }
        if looks_at_something(group) { ROW } else { FIXED }
    }
}

pub(super) fn is_query(mut group: Cursor<'_>) -> bool {
    loop {
        // VALUES can also be the name of a table.
        if matches!(group.kw(0), k::SELECT | k::WITH | k::TABLE) || group.is(k::VALUES) && group.shape(1) == Some(Shape::Open) {
            return true;
        }
        // In parentheses of its own, and maybe with another behind it.
        let Some(inside) = group.group() else { return false };
        let goes_on = matches!(group.kw(0), k::UNION | k::INTERSECT | k::EXCEPT | k::ORDER | k::LIMIT | k::OFFSET | k::FETCH | k::FOR);
        if !(group.is_end() || goes_on) {
            return false;
        }
        group = inside;
    }
}

/// Where a query has its rows from, and what it asks of them.
#[derive(Default)]
struct Sources {
    /// It reads a table, whose columns nobody knows here.
    table: bool,
    /// Tables by what they are called here, and columns that are given names.
    known: Vec<String>,
    /// `t.` of `t.a`, outside of FROM.
    qualifiers: Vec<String>,
    /// Columns that are named without a table: in conditions, and anywhere.
    asked: bool,
    bare: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Select,
    /// Where a table, a function or a query is to come.
    Source,
    /// Behind one: what it is called, and its columns.
    Called,
    Condition,
}

impl Sources {
    fn of(group: Cursor<'_>) -> Self {
        let mut found = Self::default();
        // For every parenthesis that is open: where it ends, and what goes on behind it.
        let mut open: Vec<(usize, Part)> = Vec::new();
        let mut part = Part::Select;
        let mut c = group;
        while !c.is_end() {
            while let Some((_, outer)) = open.pop_if(|(end, _)| c.at >= *end) {
                part = if outer == Part::Source { Part::Called } else { outer };
            }
            let Some(token) = c.peek(0) else { break };
            let before = c.at.checked_sub(1).filter(|at| *at >= group.at).and_then(|at| c.tokens.get(at));
            match (token.shape, token.kw) {
                (Shape::Open, _) => {
                    let inside = Cursor { at: c.at + 1, ..c };
                    open.push((c.group_end().max(c.at + 1), part));
                    part = match part {
                        _ if is_query(inside) => Part::Select,
                        // A join in parentheses, or the columns of what is called so.
                        Part::Source | Part::Called => part,
                        other => other,
                    };
                }
                (_, k::TABLE) => found.table = true,
                (_, k::FROM) if part != Part::Condition && before.is_none_or(|before| before.kw != k::DISTINCT) => part = Part::Source,
                (_, k::JOIN) if part == Part::Called => part = Part::Source,
                (Shape::Comma, _) if part == Part::Called && !open.last().is_some_and(|(_, outer)| *outer == Part::Called) => {
                    part = Part::Source;
                }
                (_, k::WHERE | k::HAVING) => part = Part::Condition,
                (_, k::ON) if part == Part::Called => part = Part::Condition,
                (_, k::GROUP | k::ORDER | k::LIMIT | k::UNION | k::INTERSECT | k::EXCEPT) => part = Part::Select,
                _ if part == Part::Source => found.source(&mut c, &mut part),
                _ => found.named(c, token, before, part),
            }
            c.advance(1);
        }
        found
    }

    /// At what FROM or JOIN names: passes all of it but its last token.
    fn source(&mut self, c: &mut Cursor<'_>, part: &mut Part) {
        if matches!(c.kw(0), k::ONLY) || c.word(0).eq_ignore_ascii_case("lateral") || c.kw(0) == k::ROWS {
            return;
        }
        let mut rest = *c;
        if let Some(name) = rest.name() {
            let is_function = rest.shape(0) == Some(Shape::Open);
            self.table |= !is_function;
            self.known.extend(name.parts.last().cloned());
            c.at = rest.at.saturating_sub(1);
            *part = Part::Called;
        }
    }

    fn named(&mut self, c: Cursor<'_>, token: &Token, before: Option<&Token>, part: Part) {
        if !is_named(c.here(), 0, c) || before.is_some_and(|before| matches!(before.shape, Shape::Dot | Shape::Cast)) {
            return;
        }
        let name = decode::name(token.shape, c.text_of(token));
        if part == Part::Called || before.is_some_and(|before| before.kw == k::AS) {
            self.known.push(name);
        } else if c.shape(1) == Some(Shape::Dot) {
            self.asked |= part == Part::Condition;
            self.qualifiers.push(name);
        } else {
            self.asked |= part == Part::Condition;
            self.bare.push(name);
        }
    }

    /// Whether it looks at nothing but what it reads itself, as far as that can be told.
    fn are_all_it_asks(&self) -> bool {
        let is_known = |name: &String| self.known.contains(name);
        self.qualifiers.iter().all(is_known) && if self.table { !self.asked } else { self.bare.iter().all(is_known) }
    }
}

/// Functions whose arguments are told apart by words.
const WORDED: [&str; 15] = [
    "normalize",
    "xmlelement",
    "xmlpi",
    "xmlforest",
    "xmlparse",
    "xmlserialize",
    "xmlexists",
    "xmlroot",
    "json",
    "json_scalar",
    "json_serialize",
    "json_object",
    "json_array",
    "json_value",
    "json_query",
];

/// Of the arguments of such a function: whether any of them looks at something. None for any other function.
pub(super) fn worded_arguments(function: &str, arguments: Cursor<'_>) -> Option<bool> {
    let forms = ["nfc", "nfd", "nfkc", "nfkd"];
    if !WORDED.iter().any(|worded| function.eq_ignore_ascii_case(worded)) {
        return None;
    }
    let tokens = arguments.here();
    let looks = |at: usize, token: &Token| match token.shape {
        Shape::Parameter | Shape::Stray => true,
        Shape::Word | Shape::Quoted | Shape::UnicodeQuoted => {
            let before = at.checked_sub(1).and_then(|before| tokens.get(before));
            let names = before.is_some_and(|before| {
                before.kw == k::AS || before.shape == Shape::Cast || arguments.text_of(before).eq_ignore_ascii_case("name")
            });
            let is_form = forms.iter().any(|form| arguments.text_of(token).eq_ignore_ascii_case(form));
            (token.shape != Shape::Word || token.kw == Kw::NONE) && !names && !is_form && is_named(tokens, at, arguments)
        }
        _ => false,
    };
    Some(tokens.iter().enumerate().any(|(at, token)| looks(at, token)))
}

/// Whether a condition speaks of the rows of a table that is called so, where others are joined with it. A column that is named without
/// its table may be one of it, unless what is joined gives that name to a column of its own.
pub(in crate::sql::read) fn speaks_of(condition: Cursor<'_>, called: &str, joined: Cursor<'_>) -> bool {
    let sources = Sources::of_joined(joined);
    let tokens = condition.here();
    (0..tokens.len()).any(|at| {
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        if !is_named(tokens, at, condition) || before.is_some_and(|before| matches!(before.shape, Shape::Dot | Shape::Cast)) {
            return false;
        }
        let mut name = Cursor { at: condition.at + at, ..condition };
        let Some(name) = name.name() else { return false };
        match name.parts.as_slice() {
            [.., table, _] => table == called,
            [column] => sources.table || !sources.known.contains(column),
            [] => false,
        }
    })
}

impl Sources {
    fn of_joined(joined: Cursor<'_>) -> Self {
        let mut found = Self::default();
        let mut c = joined;
        let mut comes = true;
        while !c.is_end() {
            let token = c.peek(0);
            match c.shape(0) {
                Some(Shape::Comma) => comes = true,
                Some(Shape::Open) if !comes => {
                    let mut columns = c;
                    if let Some(columns) = columns.group() {
                        let named = columns.here().iter().filter(|token| matches!(token.shape, Shape::Word | Shape::Quoted));
                        found.known.extend(named.map(|token| decode::name(token.shape, columns.text_of(token))));
                    }
                }
                Some(Shape::Open) => {
                    // A query: what it calls its columns is known, what it takes over as it is called is not.
                    let mut inside = c;
                    if let Some(inside) = inside.group() {
                        let here = inside.here();
                        let called = here.windows(2).filter(|two| two.first().is_some_and(|first| first.kw == k::AS));
                        found
                            .known
                            .extend(called.filter_map(|two| two.last()).map(|token| decode::name(token.shape, inside.text_of(token))));
                    }
                    comes = false;
                }
                Some(Shape::Word | Shape::Quoted | Shape::UnicodeQuoted) if comes && token.is_some_and(|token| token.kw != k::ONLY) => {
                    c.name();
                    found.table |= c.shape(0) != Some(Shape::Open);
                    comes = false;
                    continue;
                }
                _ => comes |= token.is_some_and(|token| token.kw == k::JOIN),
            }
            c.skip();
        }
        found
    }
}
