//! One line of the stream: a JSON object in, the verdict on it out.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::LONGEST;
use super::judge::{Judge, Judged};
use crate::call::Reading;
use crate::call::envelope::invalid_json;

/// Of a text that is all statements, enough to see what they are.
const LISTED: usize = 256;

/// Each as it came: an id is given back so, and what an envelope holds depends on every byte of it.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    r#as: Option<&'a RawValue>,
    #[serde(borrow)]
    envelope: Option<&'a RawValue>,
}

#[derive(Serialize)]
pub struct Answer<'a> {
    id: Option<&'a RawValue>,
    verdict: &'static str,
    findings: Vec<Judged>,
}

/// A line that asks for nothing.
#[derive(Serialize)]
pub struct Wrong<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    line: u64,
    error: String,
}

impl Wrong<'_> {
    pub fn too_long(line: u64) -> Self {
        Self { id: None, line, error: format!("the line is longer than {} MiB", LONGEST >> 20) }
    }
}

impl<'a> Answer<'a> {
    pub fn new(id: Option<&'a RawValue>, mut findings: Vec<Judged>) -> Self {
        let denies = findings.iter().position(Judged::denies);
        if let Some(at) = denies.filter(|at| *at >= LISTED) {
            findings.swap(LISTED - 1, at);
        }
        findings.truncate(LISTED);
        Self { id, verdict: if denies.is_some() { "deny" } else { "allow" }, findings }
    }
}

pub fn answer<'a>(judge: &Judge<'_>, line: &'a [u8], number: u64) -> Result<Answer<'a>, Wrong<'a>> {
    let wrong = |id, error: &str| Wrong { id, line: number, error: error.to_owned() };
    let Line { id, text, r#as, envelope } = read(line).map_err(|(id, why)| wrong(id, &why))?;
    let findings = match (text, r#as, envelope) {
        (Some(text), Some(field), None) => {
            let field = field_of(field).ok_or_else(|| wrong(id, "\"as\" must be \"sql\" or \"string\""))?;
            if !text.get().starts_with('"') {
                return Err(wrong(id, "\"text\" must be a string"));
            }
            match serde_json::from_str::<Text<'_>>(text.get()) {
                Ok(Text(text)) => judge.text(&text, field),
                // Half a character, written as an escape.
                Err(error) => vec![Judged::unfit(&invalid_json(&error))],
            }
        }
        (None, None, Some(envelope)) if envelope.get().starts_with('{') => judge.envelope(envelope),
        (None, None, Some(_)) => return Err(wrong(id, "\"envelope\" must be an object")),
        (Some(_), None, None) => return Err(wrong(id, "\"as\" is missing: \"sql\" or \"string\"")),
        _ => return Err(wrong(id, "give \"text\" and \"as\", or \"envelope\"")),
    };
    Ok(Answer::new(id, findings))
}

/// Fails with the id, as far as there is one, and what is wrong.
fn read(line: &[u8]) -> Result<Line<'_>, (Option<&RawValue>, String)> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
    }
    let object = "the line must be a JSON object".to_owned();
    match line.trim_ascii_start().first() {
        None => return Err((None, "the line is empty".to_owned())),
        Some(b'{') => {}
        // An array's items would pass for members otherwise.
        Some(_) => return Err((None, object)),
    }
    serde_json::from_slice(line).map_err(|error| match error.classify() {
        Category::Data => {
            let id = serde_json::from_slice::<Named<'_>>(line).ok().and_then(|named| named.id);
            (id, "a member stands there more than once".to_owned())
        }
        Category::Syntax | Category::Eof | Category::Io => (None, format!("the line is not JSON: {error}")),
    })
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn field_of(said: &RawValue) -> Option<Reading> {
    match said.get() {
        "\"sql\"" => Some(Reading::Sql),
        "\"string\"" => Some(Reading::Text),
        _ => None,
    }
}
