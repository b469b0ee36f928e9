//! The original's client, as its callers use it: `invoke(target, action, payload)` and the answer read its way, quirks included.

use serde_json::Value;

use super::house::{House, KEY, Reply};

pub struct Client<'h> {
    pub house: &'h House,
    /// What it says it is; `None` sends no `x-eliza-source`.
    pub source: Option<&'h str>,
    pub key: &'h str,
}

/// What a caller of the client gets to see.
#[derive(Debug)]
pub struct Read {
    pub success: bool,
    pub data: Value,
    pub error: Option<String>,
    pub reply: Reply,
}

impl<'h> Client<'h> {
    pub fn of(house: &'h House, source: &'h str) -> Self {
        Self { house, source: Some(source), key: KEY }
    }

    /// Members that are absent are not sent, as `JSON.stringify` has it.
    pub async fn invoke(&self, target: &str, action: Option<&str>, payload: Option<&Value>) -> Read {
        let mut call = self.house.nameless_call().header("x-eliza-key", self.key).to(target);
        if let Some(source) = self.source {
            call = call.header("x-eliza-source", source);
        }
        if let Some(action) = action {
            call = call.action(action);
        }
        if let Some(payload) = payload {
            call = call.payload(payload.clone());
        }
        Read::of(call.send().await)
    }
}

impl Read {
    pub fn of(reply: Reply) -> Self {
        let body = reply.json();
        if !(200..300).contains(&reply.status) {
            let error = body["error"].as_str().unwrap_or_else(|| panic!("an error without a string `error`: {body}"));
            return Self { success: false, data: Value::Null, error: Some(error.to_owned()), reply };
        }
        let data = if truthy(&body["data"]) { body["data"].clone() } else { body };
        Self { success: true, data, error: None, reply }
    }
}

/// As JavaScript's `||` sees it.
fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(bool) => *bool,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}
