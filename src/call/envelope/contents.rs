//! Reading a direct call: the strings of its body, where that is JSON or a form, and of its query. Its target gets every byte as it came,
//! and reads them as loosely as it likes; so what is no strict JSON but reads like it is judged as well.

use std::borrow::Cow;

use super::super::fields::{Fields, Under};
use super::super::{Contents, SqlText, as_legible};
use super::pieces::Bare;
use super::roles::Role;
use super::text::Text;
use super::walk::Walk;
use super::{MARKS, Wrong, ambiguous, embedded, read};
use crate::identity::{Action, NAME_LIMIT};
use crate::verdict::Failure;

/// How many members a form may have: each costs far more than its bytes while it is read.
const PAIRS: usize = 16_384;

/// What a direct call brings that is judged.
#[derive(Clone, Copy, Debug)]
pub struct Brought<'a> {
    pub body: &'a [u8],
    /// Whether its content type says that it is a form.
    pub is_form: bool,
    pub query: Option<&'a str>,
}

impl Contents {
    /// `target`: code is code for some targets only.
    pub fn read(brought: Brought<'_>, target: &str, fields: &Fields) -> Result<Self, Failure> {
        let mut contents = Self::default();
        if let Some(query) = brought.query {
            let mut walk = Walk::of_body(query.as_bytes(), fields);
            pairs(&mut walk, query.as_bytes())?;
            contents.take(walk, target, |pointer| format!("?{}", pointer.trim_start_matches('/')))?;
        }
        let mut walk = Walk::of_body(brought.body, fields);
        json(&mut walk, brought.body)?;
        if brought.is_form {
            pairs(&mut walk, brought.body)?;
        }
        contents.take(walk, target, |pointer| pointer)?;
        Ok(contents)
    }

    fn take(&mut self, mut walk: Walk<'_, '_>, target: &str, place: impl Fn(String) -> String) -> Result<(), Failure> {
        walk.read_code(target).map_err(in_words_of_a_body)?;
        self.sql.extend(walk.sql.into_iter().map(|text| SqlText { pointer: place(text.pointer), ..text }));
        self.actions.extend(walk.payload_action.filter(|action| !self.actions.contains(action)));
        Ok(())
    }
}

fn json<'de>(walk: &mut Walk<'de, '_>, body: &'de [u8]) -> Result<(), Failure> {
    if let Some(disguise) = disguise(body) {
        return Err(ambiguous(disguise.to_owned()));
    }
    // Most of what is no JSON says so at once.
    let begins = |byte: &u8| matches!(byte, b'{' | b'[' | b'"' | b'-' | b't' | b'f' | b'n') || byte.is_ascii_digit();
    if !body.iter().find(|byte| !is_between(char::from(**byte))).is_some_and(begins) {
        return Ok(());
    }
    if let Ok(text) = Text::of(body) {
        match read(walk, text, Role::Payload) {
            Ok(()) => return Ok(()),
            Err(Wrong::Refused(failure)) => return Err(in_words_of_a_body(failure)),
            Err(Wrong::NoJson(_)) => walk.start_over(),
        }
        return loosely(walk, text.as_str()).map_err(in_words_of_a_body);
    }
    // Whoever decodes it without complaint puts such marks in the place of what is no UTF-8, too.
    loosely(walk, &String::from_utf8_lossy(body)).map_err(in_words_of_a_body)
}

/// Value by value, as far as there are any: some take the first and leave the rest, and some take line after line.
fn loosely(walk: &mut Walk<'_, '_>, text: &str) -> Result<(), Failure> {
    let mut rest = text;
    loop {
        rest = behind_scalars(rest);
        if !opens(rest) {
            return Ok(());
        }
        let start = walk.mark();
        match embedded::value(walk, rest, Under::Nothing)? {
            Some(behind) => rest = behind,
            None => {
                walk.back_to(&start);
                return Ok(());
            }
        }
    }
}

fn opens(text: &str) -> bool {
    text.starts_with(['{', '[', '"'])
}

/// Numbers and words hold nothing, but there may be more behind them.
fn behind_scalars(text: &str) -> &str {
    let mut rest = text.trim_start_matches(is_between);
    loop {
        // What is no word has no end that could be looked for: values may follow each other with nothing between them, up to the end.
        if opens(rest) {
            return rest;
        }
        let (word, behind) = rest.split_at_checked(rest.find(is_between).unwrap_or(rest.len())).unwrap_or((rest, ""));
        if word != "null" && Bare::parse(word).is_none() {
            return rest;
        }
        rest = behind.trim_start_matches(is_between);
    }
}

/// What stands between values: blanks, and the mark of RFC 7464.
fn is_between(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{1e}')
}

/// Names and values, as a form and a query have them. Values of one name are the items of an array.
fn pairs(walk: &mut Walk<'_, '_>, text: &[u8]) -> Result<(), Failure> {
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = form_urlencoded::parse(text).take(PAIRS + 1).collect();
    if pairs.len() > PAIRS {
        return Err(Failure::UnjudgeableBody { what: format!("more than {PAIRS} members") });
    }
    // In their order under each name.
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    for same in pairs.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((name, last)) = same.last() else { continue };
        if name == "action" && !last.is_empty() {
            walk.payload_action = Action::parse(&as_legible(last, NAME_LIMIT));
        }
        value_of(walk, name, same).map_err(in_words_of_a_body)?;
    }
    Ok(())
}

/// `payload[sql]` and `payload.sql` are members of members.
fn value_of(walk: &mut Walk<'_, '_>, name: &str, values: &[(Cow<'_, str>, Cow<'_, str>)]) -> Result<(), Failure> {
    let start = walk.mark();
    let mut under = Under::Nothing;
    for step in name.split(['[', ']', '.']).filter(|step| !step.is_empty()) {
        walk.open_object();
        under = walk.enter_member(step.as_bytes(), under);
    }
    if let [(_, only)] = values {
        walk.string(only, under)?;
    } else {
        let under = walk.open_array(under);
        for (_, value) in values {
            walk.string(value, under)?;
            walk.next_item();
        }
        walk.close_array().map_err(|failure| *failure)?;
    }
    walk.leave(&start);
    Ok(())
}

/// JSON in another encoding than its bytes seem to have, which one reader decodes and another does not. What begins and ends as JSON
/// does, without its mark and its NULs, is taken for that.
fn disguise(body: &[u8]) -> Option<&'static str> {
    let mark = MARKS.iter().find(|mark| body.starts_with(mark));
    if mark.is_none() && !body.iter().take(4).any(|byte| *byte == 0) {
        return None;
    }
    let bare = body.get(mark.map_or(0, |mark| mark.len())..).unwrap_or_default();
    let is_said = |byte: &&u8| **byte != 0 && !byte.is_ascii_whitespace();
    let is_json = matches!(
        (bare.iter().find(is_said), bare.iter().rfind(is_said)),
        (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']')) | (Some(b'"'), Some(b'"'))
    );
    match mark {
        _ if !is_json => None,
        Some(_) => Some("it is JSON behind a byte order mark; send UTF-8 without one"),
        None => Some("it is JSON in what looks like UTF-16 or UTF-32; send UTF-8"),
    }
}

/// A direct call has no envelope that anything could be wrong with.
fn in_words_of_a_body(failure: Failure) -> Failure {
    match failure {
        Failure::InvalidEnvelope { what } => Failure::UnjudgeableBody { what },
        other => other,
    }
}
