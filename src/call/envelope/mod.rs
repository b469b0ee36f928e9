//! Reading an envelope: strictly, in bounds, and so that whoever reads the same bytes after us cannot read another call out of them.
//!
//! One pass over the body checks everything and gathers what the gates ask for, without building a tree; a second, which only
//! skips, finds the payload's own bytes. Failures name a place, never what stands there: a body may hold secrets.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use bytes::Bytes;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::code::literals;
use super::fields::{Fields, Reading, Way, is_named};
use super::{Envelope, SqlText, legible};
use crate::identity::{Action, NAME_LIMIT};
use crate::verdict::Failure;

/// How many strings that may be SQL one call may carry. What they cost beside the body itself is bounded by it.
const SQL_TEXTS: usize = 16_384;

/// How long they may be together, pieces and what they are joined to. Judging holds sixteen bytes for each token of the longest.
const SQL_BYTES: usize = 4 << 20;

/// JSON in a string in JSON, and so on: what stands deeper is a string like any other.
const EMBEDDED: usize = 4;

/// A longer pointer is cut: it is for people, and a body of nothing but names must not grow while it is read.
const POINTER_LIMIT: usize = 256;

/// Names that `serde_json::Value` does not read as names: a value read and written again would be another value.
const RESERVED: &str = "$serde_json::private::";

impl Envelope {
    /// `fields`: which strings are judged how. The envelope's own `operation` always is SQL.
    pub fn parse(body: Bytes, fields: &Fields) -> Result<Self, Failure> {
        let text = decode(&body)?;
        let mut walk = Walk::new(fields, 0);
        let mut json = serde_json::Deserializer::from_str(text);
        let walked = Node { walk: &mut walk, role: Role::Root, under: Under::Nothing }.deserialize(&mut json).and_then(|_| json.end());
        if let Err(error) = walked {
            return Err(walk.failure.unwrap_or_else(|| invalid_json(&error)));
        }
        let Some(target) = walk.target.take() else {
            return Err(invalid("\"target\" is missing"));
        };
        walk.read_code(&target)?;
        let Members { payload } = serde_json::from_str(text).map_err(|error| invalid_json(&error))?;
        let payload = payload.map(|payload| body.slice_ref(payload.get().as_bytes()));
        let Walk { action, payload_action, sql, .. } = walk;
        Ok(Self { target, action, payload, payload_action, sql, whole: body })
    }
}

#[derive(serde::Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

/// The text of a body that claims to be JSON.
pub fn decode(body: &[u8]) -> Result<&str, Failure> {
    const MARKS: [&[u8]; 4] = [b"\xEF\xBB\xBF", b"\xFE\xFF", b"\xFF\xFE", b"\0\0\xFE\xFF"];
    if MARKS.iter().any(|mark| body.starts_with(mark)) {
        return Err(ambiguous("the body begins with a byte order mark; send UTF-8 without one".to_owned()));
    }
    // Every JSON text begins with ASCII, so UTF-16 and UTF-32 show a NUL at once; UTF-8 has none.
    if body.iter().take(4).any(|byte| *byte == 0) {
        return Err(ambiguous("the body looks like UTF-16 or UTF-32; send UTF-8".to_owned()));
    }
    if body.trim_ascii().is_empty() {
        return Err(Failure::InvalidJson { what: "the body is empty".to_owned() });
    }
    std::str::from_utf8(body).map_err(|error| Failure::InvalidJson { what: format!("not UTF-8 from byte {} on", error.valid_up_to()) })
}

/// What is wrong with it, and where: never what stands there.
pub fn invalid_json(error: &serde_json::Error) -> Failure {
    let text = error.to_string();
    let phrase = match error.classify() {
        // Fixed phrases; all others may quote what they found.
        Category::Syntax | Category::Eof => text.rsplit_once(" at line ").map_or("not JSON", |(phrase, _)| phrase),
        Category::Data | Category::Io => "not JSON",
    };
    Failure::InvalidJson { what: format!("{phrase} at line {}, column {}", error.line(), error.column()) }
}

fn invalid(what: &str) -> Failure {
    Failure::InvalidEnvelope { what: what.to_owned() }
}

fn ambiguous(what: String) -> Failure {
    Failure::AmbiguousBody { what }
}

/// What is known of the body so far.
struct Walk<'de, 'f> {
    fields: &'f Fields,
    /// How many strings of JSON this one stands in.
    embedded: usize,
    /// Where it stands, if in any.
    prefix: String,
    /// The names met in every object that is still open, the outermost first.
    names: Vec<Cow<'de, str>>,
    path: Vec<Step>,
    target: Option<String>,
    action: Option<Action>,
    payload_action: Option<Action>,
    sql: Vec<SqlText>,
    sql_bytes: usize,
    /// Code, with the place of what says so in the list of code fields; for which targets it counts is known at the end.
    code: Vec<(usize, SqlText)>,
    /// Which of them stand in the arrays that are still open, at any depth of them.
    pieces: Vec<usize>,
    /// Why the walk ended early, if it was not the JSON.
    failure: Option<Failure>,
}

enum Step {
    /// The name at this place in `names`.
    Member(usize),
    Item(usize),
}

impl<'f> Walk<'_, 'f> {
    fn new(fields: &'f Fields, embedded: usize) -> Self {
        Self {
            fields,
            embedded,
            prefix: String::new(),
            names: Vec::new(),
            path: Vec::new(),
            target: None,
            action: None,
            payload_action: None,
            sql: Vec::new(),
            sql_bytes: 0,
            code: Vec::new(),
            pieces: Vec::new(),
            failure: None,
        }
    }

    fn fail<E: de::Error>(&mut self, failure: Failure) -> E {
        self.failure = Some(failure);
        E::custom("refused")
    }

    /// RFC 6901.
    fn pointer(&self) -> String {
        let mut out = self.prefix.clone();
        for step in &self.path {
            if out.len() > POINTER_LIMIT {
                break;
            }
            out.push('/');
            match step {
                Step::Item(index) => {
                    let _ = write!(out, "{index}");
                }
                Step::Member(at) => {
                    for c in self.names.get(*at).map_or("", |name| name).chars().take(POINTER_LIMIT) {
                        match c {
                            '~' => out.push_str("~0"),
                            '/' => out.push_str("~1"),
                            c => out.push(c),
                        }
                    }
                }
            }
        }
        legible(&out, POINTER_LIMIT)
    }

    fn collect<E: de::Error>(&mut self, text: String, reading: Reading, joined: bool) -> Result<(), E> {
        if self.sql.len() + self.code.len() >= SQL_TEXTS {
            return Err(self.fail(Failure::InvalidEnvelope { what: format!("more than {SQL_TEXTS} strings of SQL") }));
        }
        self.hold(text.len())?;
        let pointer = self.pointer();
        self.sql.push(SqlText { pointer, text, reading, joined });
        Ok(())
    }

    /// A string that stands under this.
    fn string<E: de::Error>(&mut self, text: &str, under: Under) -> Result<(), E> {
        if under == Under::Prose {
            return Ok(());
        }
        if self.embedded < EMBEDDED && is_json(text) && self.walk_embedded(text, under)? {
            return Ok(());
        }
        match under {
            Under::Sql if !text.trim().is_empty() => {
                self.pieces.push(self.sql.len());
                self.collect(text.to_owned(), Reading::Sql, false)
            }
            Under::Code(field) if text.contains(['\'', '"', '`']) => {
                self.hold(text.len())?;
                let pointer = self.pointer();
                self.code.push((field, SqlText { pointer, text: text.to_owned(), reading: Reading::Text, joined: false }));
                Ok(())
            }
            Under::Nothing | Under::Code(_) if begins_as_sql(text) => self.collect(text.to_owned(), Reading::Text, false),
            Under::Nothing | Under::Code(_) | Under::Sql | Under::Prose => Ok(()),
        }
    }

    /// What is JSON as a whole is walked as the body is, but that a name may stand there twice: whoever reads it may take either value,
    /// so both are judged. Whether it is JSON.
    fn walk_embedded<E: de::Error>(&mut self, text: &str, under: Under) -> Result<bool, E> {
        let mut inner = Walk::new(self.fields, self.embedded + 1);
        inner.prefix = self.pointer();
        inner.sql_bytes = self.sql_bytes;
        let mut json = serde_json::Deserializer::from_str(text);
        let walked = Node { walk: &mut inner, role: Role::Other, under }.deserialize(&mut json).and_then(|()| json.end());
        match (walked, inner.failure.take()) {
            (_, Some(failure)) => Err(self.fail(failure)),
            (Err(_), None) => Ok(false),
            (Ok(()), None) => {
                if self.sql.len() + inner.sql.len() + inner.code.len() > SQL_TEXTS {
                    return Err(self.fail(Failure::InvalidEnvelope { what: format!("more than {SQL_TEXTS} strings of SQL") }));
                }
                self.sql_bytes = inner.sql_bytes;
                self.sql.append(&mut inner.sql);
                self.code.append(&mut inner.code);
                Ok(true)
            }
        }
    }

    /// Now that the target is known.
    fn read_code(&mut self, target: &str) -> Result<(), Failure> {
        for (field, code) in std::mem::take(&mut self.code) {
            if !self.fields.code.get(field).is_some_and(|field| field.is_for(target)) {
                if begins_as_sql(&code.text) {
                    self.sql.push(code);
                }
                continue;
            }
            for text in literals(&code.text).into_iter().filter(|text| begins_as_sql(text)) {
                if self.sql.len() >= SQL_TEXTS {
                    return Err(Failure::InvalidEnvelope { what: format!("more than {SQL_TEXTS} strings of SQL") });
                }
                self.sql.push(SqlText { pointer: code.pointer.clone(), text, reading: Reading::Text, joined: false });
            }
        }
        Ok(())
    }

    /// What stands under the member or the item that the path has come to.
    fn under(&self, outer: Under) -> Under {
        if outer == Under::Sql {
            return outer;
        }
        let way = || {
            self.path.iter().rev().map(|step| match step {
                Step::Member(at) => Way::Member(self.names.get(*at).map_or("", |name| name)),
                Step::Item(_) => Way::Item,
            })
        };
        if let Some(Step::Member(at)) = self.path.last()
            && self.names.get(*at).is_some_and(|name| self.fields.sql.iter().any(|field| is_named(name, field)))
        {
            return Under::Sql;
        }
        if self.fields.prose.iter().any(|path| path.ends(way())) {
            return Under::Prose;
        }
        self.fields.code.iter().position(|field| field.path.ends(way())).map_or(outer, Under::Code)
    }

    fn hold<E: de::Error>(&mut self, bytes: usize) -> Result<(), E> {
        self.sql_bytes += bytes;
        if self.sql_bytes > SQL_BYTES { Err(self.too_much_sql()) } else { Ok(()) }
    }

    fn too_much_sql<E: de::Error>(&mut self) -> E {
        self.fail(Failure::InvalidEnvelope { what: format!("more than {} MiB of SQL", SQL_BYTES >> 20) })
    }

    /// The items of an array, and of arrays in it, may be the pieces of one statement: those from `mark` on. A blank between them is how
    /// they are mostly put together; where an item has a comment, the next line is another reading of what follows.
    fn collect_joined<E: de::Error>(&mut self, mark: usize) -> Result<(), E> {
        let items = self.pieces.get(mark..).unwrap_or_default();
        if items.len() < 2 {
            return Ok(());
        }
        // Arrays in arrays are joined at every depth; what they come to is counted before it is made.
        let length: usize = items.iter().filter_map(|at| self.sql.get(*at)).map(|piece| piece.text.len() + 1).sum();
        if self.sql_bytes + length > SQL_BYTES {
            return Err(self.too_much_sql());
        }
        let pieces: Vec<&str> = items.iter().filter_map(|at| self.sql.get(*at)).map(|piece| piece.text.as_str()).collect();
        let by_lines = pieces.iter().any(|piece| piece.contains("--")).then(|| pieces.join("\n"));
        let joined = pieces.join(" ");
        self.collect(joined, Reading::Sql, true)?;
        by_lines.map_or(Ok(()), |text| self.collect(text, Reading::Sql, true))
    }

    /// Closes the object whose names begin at `mark`.
    fn close_object<E: de::Error>(&mut self, mark: usize) -> Result<(), E> {
        if self.embedded > 0 {
            self.names.truncate(mark);
            return Ok(());
        }
        let names = self.names.get_mut(mark..).unwrap_or_default();
        names.sort_unstable();
        let twice = names.windows(2).position(|pair| matches!(pair, [a, b] if a == b));
        if let Some(at) = twice {
            self.path.push(Step::Member(mark + at));
            let what = format!("the member at {} stands there more than once", self.pointer());
            return Err(self.fail(ambiguous(what)));
        }
        self.names.truncate(mark);
        Ok(())
    }
}

/// Which part of the envelope a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Root,
    Target,
    Action,
    Operation,
    Payload,
    PayloadAction,
    Other,
}

/// What a value stands in, at whatever depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Under {
    Nothing,
    Sql,
    Prose,
    /// The field in the list of code fields.
    Code(usize),
}

/// Whether a text may be JSON and no mere number or word.
fn is_json(text: &str) -> bool {
    let text = text.trim_ascii();
    matches!((text.as_bytes().first(), text.as_bytes().last()), (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')))
}

/// The words that statements begin with.
const VERBS: [&str; 51] = [
    "ABORT",
    "ALTER",
    "ANALYSE",
    "ANALYZE",
    "BEGIN",
    "CALL",
    "CHECKPOINT",
    "CLOSE",
    "CLUSTER",
    "COMMENT",
    "COMMIT",
    "COPY",
    "CREATE",
    "DEALLOCATE",
    "DECLARE",
    "DELETE",
    "DISCARD",
    "DO",
    "DROP",
    "END",
    "EXECUTE",
    "EXPLAIN",
    "FETCH",
    "GRANT",
    "IMPORT",
    "INSERT",
    "LISTEN",
    "LOAD",
    "LOCK",
    "MERGE",
    "MOVE",
    "NOTIFY",
    "PREPARE",
    "REASSIGN",
    "REFRESH",
    "REINDEX",
    "RELEASE",
    "REPACK",
    "RESET",
    "REVOKE",
    "ROLLBACK",
    "SAVEPOINT",
    "SECURITY",
    "SELECT",
    "SET",
    "SHOW",
    "START",
    "TABLE",
    "TRUNCATE",
    "UNLISTEN",
    "UPDATE",
];
const MORE_VERBS: [&str; 3] = ["VACUUM", "VALUES", "WITH"];

/// Whether the first word of a text, past blanks, comments, parentheses and semicolons, begins statements. Most strings of a call have
/// another, and are not looked at again.
pub fn begins_as_sql(text: &str) -> bool {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| {
            c.is_whitespace() || c.is_control() || matches!(c, '(' | ';' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{180e}')
        });
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.find(['\n', '\r']).and_then(|end| comment.get(end..)).unwrap_or_default();
        } else if rest.starts_with("/*") {
            // Where it does not end, or nests, is for whoever judges to say.
            return true;
        } else {
            break;
        }
    }
    let length = rest.bytes().take(12).take_while(u8::is_ascii_alphabetic).count();
    let word = rest.get(..length).unwrap_or_default();
    length > 1 && VERBS.iter().chain(&MORE_VERBS).any(|verb| verb.eq_ignore_ascii_case(word))
}

/// One value of the body, about to be read.
struct Node<'w, 'de, 'f> {
    walk: &'w mut Walk<'de, 'f>,
    role: Role,
    under: Under,
}

impl Node<'_, '_, '_> {
    /// A value that is no string stands where the envelope asks for one, or no object where it asks for that.
    fn check<E: de::Error>(self, fits: impl FnOnce(Role) -> bool) -> Result<(), E> {
        let what = match self.role {
            role if fits(role) => return Ok(()),
            Role::Root => "the body must be a JSON object",
            Role::Target => "\"target\" must be a string",
            Role::Action => "\"action\" must be a string or null",
            Role::Operation | Role::Payload | Role::PayloadAction | Role::Other => return Ok(()),
        };
        Err(self.walk.fail(invalid(what)))
    }

    fn child(&self, name: &str) -> Role {
        match (self.role, name) {
            (Role::Root, "target") => Role::Target,
            (Role::Root, "action") => Role::Action,
            (Role::Root, "operation") => Role::Operation,
            (Role::Root, "payload") => Role::Payload,
            (Role::Payload, "action") => Role::PayloadAction,
            _ => Role::Other,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_, 'de, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, 'de, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.check(|role| role == Role::Action)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.check(|_| false)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        self.check(|_| false)
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        self.check(|_| false)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.check(|_| false)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        let walk = self.walk;
        match self.role {
            Role::Root => return Err(walk.fail(invalid("the body must be a JSON object"))),
            Role::Target if text.is_empty() => return Err(walk.fail(invalid("\"target\" must not be empty"))),
            Role::Target => walk.target = Some(legible(text, NAME_LIMIT)),
            Role::Action if text.is_empty() => {}
            Role::Action => match Action::parse(text) {
                Some(action) => walk.action = Some(action),
                None => return Err(walk.fail(invalid("\"action\" must be at most 128 bytes without control characters"))),
            },
            // To most targets this is just data, so it is not refused; what is no action is marked, and so names none that is listed.
            Role::PayloadAction => walk.payload_action = Action::parse(&legible(text, NAME_LIMIT)),
            Role::Operation | Role::Payload | Role::Other => {}
        }
        match self.role {
            // It names a target, or the call goes nowhere.
            Role::Target => Ok(()),
            _ => walk.string(text, self.under),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { walk, role, under } = self;
        Node { walk: &mut *walk, role, under }.check(|_| false)?;
        let mark = walk.pieces.len();
        for index in 0.. {
            walk.path.push(Step::Item(index));
            let under = walk.under(under);
            let item = items.next_element_seed(Node { walk: &mut *walk, role: Role::Other, under })?;
            walk.path.pop();
            if item.is_none() {
                break;
            }
        }
        walk.collect_joined(mark)?;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { walk, role, under } = self;
        Node { walk: &mut *walk, role, under }.check(|role| role == Role::Root)?;
        let (mark, pieces) = (walk.names.len(), walk.pieces.len());
        while let Some(Name(name)) = members.next_key()? {
            let role = Node { walk: &mut *walk, role, under }.child(&name);
            let reserved = walk.embedded == 0 && name.starts_with(RESERVED);
            walk.path.push(Step::Member(walk.names.len()));
            walk.names.push(name);
            if reserved {
                let what = format!("the member at {} has a reserved name", walk.pointer());
                return Err(walk.fail(ambiguous(what)));
            }
            let under = if role == Role::Operation { Under::Sql } else { walk.under(under) };
            members.next_value_seed(Node { walk: &mut *walk, role, under })?;
            walk.path.pop();
        }
        walk.pieces.truncate(pieces);
        walk.close_object(mark)
    }
}

/// A member's name, unescaped; borrowed from the body where nothing was escaped.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Read)
    }
}
