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

use super::{Envelope, SqlText, legible};
use crate::identity::{Action, NAME_LIMIT};
use crate::verdict::Failure;

/// How many strings of SQL one call may carry. What they cost beside the body itself is bounded by it.
const SQL_TEXTS: usize = 16_384;

/// How long they may be together, pieces and what they are joined to. Judging takes a thousand times as long as reading.
const SQL_BYTES: usize = 2 << 20;

/// A longer pointer is cut: it is for people, and a body of nothing but names must not grow while it is read.
const POINTER_LIMIT: usize = 256;

/// Names that `serde_json::Value` does not read as names: a value read and written again would be another value.
const RESERVED: &str = "$serde_json::private::";

impl Envelope {
    /// `sql_fields`: the member names whose strings are SQL, in lower case. The envelope's own `operation` always is one.
    pub fn parse(body: Bytes, sql_fields: &[String]) -> Result<Self, Failure> {
        let text = decode(&body)?;
        let mut walk = Walk::new(sql_fields);
        let mut json = serde_json::Deserializer::from_str(text);
        let walked = Node { walk: &mut walk, role: Role::Root, sql: Sql::No }.deserialize(&mut json).and_then(|_| json.end());
        if let Err(error) = walked {
            return Err(walk.failure.unwrap_or_else(|| invalid_json(&error)));
        }
        let Some(target) = walk.target else {
            return Err(invalid("\"target\" is missing"));
        };
        let Members { payload } = serde_json::from_str(text).map_err(|error| invalid_json(&error))?;
        let payload = payload.map(|payload| body.slice_ref(payload.get().as_bytes()));
        Ok(Self { target, action: walk.action, payload, payload_action: walk.payload_action, sql: walk.sql, whole: body })
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
    fields: &'f [String],
    /// The names met in every object that is still open, the outermost first.
    names: Vec<Cow<'de, str>>,
    path: Vec<Step>,
    target: Option<String>,
    action: Option<Action>,
    payload_action: Option<Action>,
    sql: Vec<SqlText>,
    sql_bytes: usize,
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
    fn new(fields: &'f [String]) -> Self {
        Self {
            fields,
            names: Vec::new(),
            path: Vec::new(),
            target: None,
            action: None,
            payload_action: None,
            sql: Vec::new(),
            sql_bytes: 0,
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
        let mut out = String::new();
        for step in &self.path {
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
            if out.len() > POINTER_LIMIT {
                break;
            }
        }
        legible(&out, POINTER_LIMIT)
    }

    fn collect<E: de::Error>(&mut self, text: String, joined: bool) -> Result<(), E> {
        if self.sql.len() == SQL_TEXTS {
            return Err(self.fail(Failure::InvalidEnvelope { what: format!("more than {SQL_TEXTS} strings of SQL") }));
        }
        self.hold(text.len())?;
        let pointer = self.pointer();
        self.sql.push(SqlText { pointer, text, joined });
        Ok(())
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
        self.collect(joined, true)?;
        by_lines.map_or(Ok(()), |text| self.collect(text, true))
    }

    fn names_sql(&self, name: &str) -> bool {
        self.fields.iter().any(|field| {
            name.eq_ignore_ascii_case(field) || (!name.is_ascii() && name.chars().flat_map(char::to_lowercase).eq(field.chars()))
        })
    }

    /// Closes the object whose names begin at `mark`.
    fn close_object<E: de::Error>(&mut self, mark: usize) -> Result<(), E> {
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
    Payload,
    PayloadAction,
    Other,
}

/// Whether a value stands in a SQL-bearing field, at whatever depth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sql {
    Yes,
    No,
}

/// One value of the body, about to be read.
struct Node<'w, 'de, 'f> {
    walk: &'w mut Walk<'de, 'f>,
    role: Role,
    sql: Sql,
}

impl Node<'_, '_, '_> {
    /// A value that is no string stands where the envelope asks for one, or no object where it asks for that.
    fn check<E: de::Error>(self, fits: impl FnOnce(Role) -> bool) -> Result<(), E> {
        let what = match self.role {
            role if fits(role) => return Ok(()),
            Role::Root => "the body must be a JSON object",
            Role::Target => "\"target\" must be a string",
            Role::Action => "\"action\" must be a string or null",
            Role::Payload | Role::PayloadAction | Role::Other => return Ok(()),
        };
        Err(self.walk.fail(invalid(what)))
    }

    fn child(&self, name: &str) -> (Role, Sql) {
        let role = match (self.role, name) {
            (Role::Root, "target") => return (Role::Target, Sql::No),
            (Role::Root, "action") => return (Role::Action, Sql::No),
            (Role::Root, "operation") => return (Role::Other, Sql::Yes),
            (Role::Root, "payload") => Role::Payload,
            (Role::Payload, "action") => Role::PayloadAction,
            _ => Role::Other,
        };
        // Members that the envelope does not know are judged as well: a target that gets the envelope whole gets them too.
        let sql = if self.sql == Sql::Yes || self.walk.names_sql(name) { Sql::Yes } else { Sql::No };
        (role, sql)
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
            Role::Payload | Role::Other => {}
        }
        if self.sql == Sql::No || text.trim().is_empty() {
            return Ok(());
        }
        walk.pieces.push(walk.sql.len());
        walk.collect(text.to_owned(), false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { walk, role, sql } = self;
        Node { walk: &mut *walk, role, sql }.check(|_| false)?;
        let mark = walk.pieces.len();
        for index in 0.. {
            walk.path.push(Step::Item(index));
            let item = items.next_element_seed(Node { walk: &mut *walk, role: Role::Other, sql })?;
            walk.path.pop();
            if item.is_none() {
                break;
            }
        }
        walk.collect_joined(mark)?;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { walk, role, sql } = self;
        Node { walk: &mut *walk, role, sql }.check(|role| role == Role::Root)?;
        let (mark, pieces) = (walk.names.len(), walk.pieces.len());
        while let Some(Name(name)) = members.next_key()? {
            let (role, sql) = Node { walk: &mut *walk, role, sql }.child(&name);
            let reserved = name.starts_with(RESERVED);
            walk.path.push(Step::Member(walk.names.len()));
            walk.names.push(name);
            if reserved {
                let what = format!("the member at {} has a reserved name", walk.pointer());
                return Err(walk.fail(ambiguous(what)));
            }
            members.next_value_seed(Node { walk: &mut *walk, role, sql })?;
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
