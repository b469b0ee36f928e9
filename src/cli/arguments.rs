//! Arguments that several commands take, read before anybody is asked: what is wrong with one is said at once.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::clock::{Clock, Timestamp};
use crate::policy::values;
use crate::verdict::GateName;

/// What lasts longer needs no end.
const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

/// Until when a change holds.
#[derive(Debug, Args)]
pub struct Term {
    /// For how long, such as 30m or 24h; it ends by itself.
    #[arg(long = "for", value_name = "WHILE", value_parser = a_while, conflicts_with = "until")]
    length: Option<While>,
    /// Until when, such as 2027-01-01T00:00:00Z; it ends by itself.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Timestamp>,
}

/// As it was written, and how long that is.
#[derive(Clone, Debug)]
pub struct While {
    text: String,
    length: Duration,
}

impl Term {
    pub fn has_end(&self) -> bool {
        self.length.is_some() || self.until.is_some()
    }

    pub fn ends(&self, now: Timestamp) -> Option<Timestamp> {
        self.until.or_else(|| Some(now.plus(self.length.as_ref()?.length)))
    }

    /// As the admin API takes it: how long something lasts is counted by the gatekeeper's clock.
    pub fn put(&self, order: &mut Map<String, Value>) {
        if let Some(length) = &self.length {
            order.insert("for".into(), json!(length.text));
        }
        if let Some(until) = &self.until {
            order.insert("until".into(), json!(until.to_string()));
        }
    }
}

fn a_while(text: &str) -> Result<While, String> {
    values::duration_up_to(LONGEST)(text).map(|length| While { text: text.to_owned(), length })
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let at = Timestamp::parse_rfc3339(text).ok_or("write a time such as 2027-01-01T00:00:00Z")?;
    if at <= Clock::system().now() { Err("that is over already".into()) } else { Ok(at) }
}

pub fn gate(text: &str) -> Result<GateName, String> {
    GateName::parse(text).ok_or_else(|| format!("the gates are {}", GateName::ALL.map(GateName::as_str).join(", ")))
}

/// What somebody or something goes by.
pub fn name(text: &str) -> Result<String, String> {
    legible(text, 128)
}

/// Somebody's reason or note.
pub fn words(text: &str) -> Result<String, String> {
    legible(text, 500)
}

fn legible(text: &str, most: usize) -> Result<String, String> {
    let text = text.trim();
    let fits = (1..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    if fits { Ok(text.to_owned()) } else { Err(format!("write 1 to {most} characters, none of them a control character")) }
}
