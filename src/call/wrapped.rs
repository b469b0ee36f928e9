//! What a text says to whoever takes its wrapping off before it gets to a database.

use std::borrow::Cow;

use super::SqlText;
use super::fields::Reading;

/// How models mark code among words.
const FENCE: &str = "```";

/// The text without its wrapping, so that places in it are places in the text; nothing, if it has none.
pub fn unwrapped(text: &SqlText) -> Option<Cow<'_, str>> {
    match text.reading {
        Reading::Sql => text.text.trim_start().starts_with(FENCE).then(|| Cow::Owned(between_fences(&text.text))),
        // Where C takes over, it ends the text. A field of SQL with a NUL in it is unreadable anyway.
        Reading::Text => memchr::memchr(0, text.text.as_bytes()).and_then(|at| text.text.get(..at)).map(Cow::Borrowed),
    }
}

/// Blanks for all that stands in no fenced block, and semicolons between those.
fn between_fences(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut is_code = false;
    for line in text.split_inclusive('\n') {
        let is_fence = line.trim_start().starts_with(FENCE);
        if is_code && !is_fence {
            out.push_str(line);
            continue;
        }
        is_code ^= is_fence;
        let mut blanks = line.bytes().map(|b| if b == b'\n' { '\n' } else { ' ' });
        if is_fence {
            out.extend(blanks.next().map(|_| ';'));
        }
        out.extend(blanks);
    }
    out
}
