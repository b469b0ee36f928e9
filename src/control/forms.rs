//! What lies in the state directory, member by member: readable by people, and refused whole if it is not ours.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::audit::AuditEntry;
use crate::clock::Timestamp;
use crate::enforcement::{GateMode, Ruling};
use crate::verdict::GateName;

/// A file of another version is another program's.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Rulings {
    version: u32,
    rulings: Vec<RulingForm>,
}

#[derive(Serialize, Deserialize)]
struct RulingForm {
    gate: String,
    mode: Option<String>,
    until: Option<String>,
    afterwards: Option<String>,
    reason: String,
    actor: String,
    at: String,
    /// Its end has been told.
    ended: bool,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    version: u32,
    id: String,
    at: String,
    actor: String,
    action: String,
    subject: String,
    reason: Option<String>,
    before: Value,
    after: Value,
}

/// `is_told`: whether the ruling has ended, and its end has been told.
pub(super) fn write_rulings<'r>(rulings: impl Iterator<Item = &'r Ruling>, is_told: impl Fn(&Ruling) -> bool) -> String {
    let mode = |mode: Option<GateMode>| mode.map(|mode| mode.as_str().to_owned());
    let rulings = rulings.map(|ruling| RulingForm {
        gate: ruling.gate.as_str().to_owned(),
        mode: mode(ruling.mode),
        until: ruling.until.map(|until| until.to_string()),
        afterwards: mode(ruling.afterwards),
        reason: ruling.reason.clone(),
        actor: ruling.actor.clone(),
        at: ruling.at.to_string(),
        ended: is_told(ruling),
    });
    pretty(&Rulings { version: VERSION, rulings: rulings.collect() })
}

/// Each ruling, and whether its end has been told.
pub(super) fn read_rulings(text: &str) -> Result<Vec<(Ruling, bool)>, String> {
    let file: Rulings = serde_json::from_str(text).map_err(|error| error.to_string())?;
    of_this_version(file.version)?;
    file.rulings.into_iter().filter_map(|form| ruling(form).transpose()).collect()
}

/// Gates that only a newer gatekeeper has are none of our business: after a way back to an older one, what was said of the others holds.
fn ruling(form: RulingForm) -> Result<Option<(Ruling, bool)>, String> {
    let Some(gate) = GateName::parse(&form.gate) else { return Ok(None) };
    let mode = |text: Option<String>| {
        text.map(|text| GateMode::parse(&text).ok_or_else(|| format!("{text:?} is neither enforce nor observe"))).transpose()
    };
    let ruling = Ruling {
        gate,
        mode: mode(form.mode)?,
        until: form.until.as_deref().map(moment).transpose()?,
        afterwards: mode(form.afterwards)?,
        reason: form.reason,
        actor: form.actor,
        at: moment(&form.at)?,
    };
    Ok(Some((ruling, form.ended)))
}

pub(super) fn write_entry(entry: &AuditEntry) -> String {
    let AuditEntry { id, at, actor, action, subject, reason, before, after } = entry.clone();
    pretty(&Entry { version: VERSION, id: id.to_string(), at: at.to_string(), actor, action, subject, reason, before, after })
}

pub(super) fn read_entry(text: &str) -> Result<AuditEntry, String> {
    let entry: Entry = serde_json::from_str(text).map_err(|error| error.to_string())?;
    of_this_version(entry.version)?;
    let Entry { id, at, actor, action, subject, reason, before, after, .. } = entry;
    let id = Uuid::try_parse(&id).map_err(|error| error.to_string())?;
    Ok(AuditEntry { id, at: moment(&at)?, actor, action, subject, reason, before, after })
}

fn of_this_version(version: u32) -> Result<(), String> {
    if version == VERSION { Ok(()) } else { Err(format!("version {version} is another gatekeeper's")) }
}

fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| format!("{text:?} is no moment"))
}

fn pretty(form: &impl Serialize) -> String {
    // Texts, numbers and options: there is nothing in them that JSON cannot say.
    serde_json::to_string_pretty(form).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Actor, AuditAction};
    use serde_json::json;

    #[test]
    fn rulings_come_back_as_they_were() {
        let at = Timestamp::from_micros(1_772_582_767_123_456);
        let timed = Ruling {
            gate: GateName::SqlFilter,
            mode: Some(GateMode::Observe),
            until: Some(at.plus(std::time::Duration::from_micros(1))),
            afterwards: Some(GateMode::Enforce),
            reason: "INC \"4711\"".into(),
            actor: "alice".into(),
            at,
        };
        let plain = Ruling { gate: GateName::Authenticate, mode: None, until: None, afterwards: None, ..timed.clone() };
        let text = write_rulings([&timed, &plain].into_iter(), |ruling| ruling.gate == timed.gate);
        assert_eq!(read_rulings(&text).unwrap(), [(timed, true), (plain, false)]);
    }

    fn form(gate: &str, mode: &str, at: &str) -> Value {
        json!({ "gate": gate, "mode": mode, "until": null, "afterwards": null, "reason": "", "actor": "", "at": at, "ended": false })
    }

    #[test]
    fn a_gate_that_only_a_newer_gatekeeper_has_takes_no_other_with_it() {
        let now = "2026-03-04T05:06:07Z";
        // Its modes may be new, too.
        let rulings = [form("moat", "half-full", now), form("sql_filter", "observe", now)];
        let read = read_rulings(&json!({ "version": 1, "rulings": rulings }).to_string()).unwrap();
        assert_eq!(read.iter().map(|(ruling, _)| ruling.gate).collect::<Vec<_>>(), [GateName::SqlFilter]);
    }

    #[test]
    fn a_file_that_is_not_ours_is_refused_whole() {
        let now = "2026-03-04T05:06:07Z";
        for (version, rulings) in [
            (2, json!([])),
            (1, json!({})),
            (1, json!([form("sql_filter", "off", now)])),
            (1, json!([form("sql_filter", "observe", "yesterday")])),
            (1, json!([form("sql_filter", "observe", now), {}])),
        ] {
            assert!(read_rulings(&json!({ "version": version, "rulings": rulings }).to_string()).is_err(), "{version} {rulings}");
        }
        assert!(read_rulings("").is_err() && read_entry("{}").is_err());
    }

    #[test]
    fn an_entry_comes_back_as_it_was() {
        let entry =
            AuditEntry::new(Timestamp::from_micros(1_772_582_767_000_001), &Actor::named("bob"), AuditAction::BlockAdded, "10.0.0.0/8")
                .because(Some("flood"))
                .from_to(Value::Null, json!({ "until": null }));
        assert_eq!(read_entry(&write_entry(&entry)).unwrap(), entry);
    }
}
