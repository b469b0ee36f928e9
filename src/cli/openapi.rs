//! `openapi`: the description of the ops listener, without one running. For people in many lines, for machines in one.

use super::Exit;
use super::output::Output;

pub fn run(output: &Output) -> Exit {
    let description = crate::admin::description();
    match (description.to_pretty_json(), serde_json::to_value(&description)) {
        (Ok(text), Ok(value)) => {
            output.say(&text);
            output.value(&value);
            Exit::Fine
        }
        (Err(error), _) | (_, Err(error)) => {
            output.problem(&error.to_string());
            Exit::NotSo
        }
    }
}
