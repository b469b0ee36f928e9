//! Feature flags: rows of the operators' own table, changed here or by an UPDATE of theirs.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Control, ControlError, lock, outbox};
use crate::audit::{Actor, AuditAction, AuditEntry};
use crate::call::legible;
use crate::store::StoreError;
use crate::store::control::FlagChange;
use crate::switches::{Flag, Governs, Switches};

/// In characters.
const LONGEST_NAME: usize = 128;
const WORDS: usize = 1024;

impl Control {
    pub async fn flags(&self) -> Result<Vec<Flag>, ControlError> {
        Ok(self.store.flags().await?)
    }

    /// What the flag was, if it was there, and what it is.
    pub async fn set_flag(&self, change: &FlagChange, reason: Option<&str>, by: &Actor) -> Result<(Option<Flag>, Flag), ControlError> {
        let name = &change.name;
        if !(1..=LONGEST_NAME).contains(&name.chars().count()) || legible(name.trim(), WORDS) != *name {
            return Err(ControlError::Invalid(format!("name: must be 1 to {LONGEST_NAME} characters that can be read")));
        }
        if change.rollout_percentage.is_some_and(|percent| percent > 100) {
            return Err(ControlError::Invalid("rollout_percentage: must be from 0 to 100".into()));
        }
        let entry = AuditEntry::new(self.now(), by, AuditAction::FlagChanged, name).because(reason);
        let _turn = self.turns.flags.lock().await;
        let (before, after) = self.store.set_flag(change, &entry).await?;
        let mut flags = lock(&self.flags).clone();
        flags.retain(|flag| flag.name != after.name);
        flags.push(after.clone());
        self.take_flags(flags);
        outbox::tell(&entry.from_to(before.as_ref().map_or(serde_json::Value::Null, said), said(&after)));
        Ok((before, after))
    }

    /// Reads what the database keeps.
    pub(super) async fn reread_flags(&self) -> Result<(), StoreError> {
        let _turn = self.turns.flags.lock().await;
        let flags = self.store.flags().await?;
        for (flag, was) in changes(&lock(&self.flags), &flags) {
            tracing::warn!(flag = flag.name, is = %said(&flag), was = %was.as_ref().map(said).unwrap_or_default(), "a feature flag has changed");
        }
        self.take_flags(flags);
        Ok(())
    }

    fn take_flags(&self, flags: Vec<Flag>) {
        let switches = Arc::new(Switches::of(flags.iter().cloned()));
        *lock(&self.flags) = flags;
        self.pipeline.live.change(|snapshot| snapshot.switches = switches);
        self.show_enforcement();
    }
}

/// The flags of ours that are not as they were, and how they were. One that is gone is as if it had never been there: on.
fn changes(before: &[Flag], after: &[Flag]) -> Vec<(Flag, Option<Flag>)> {
    let on = |name: &str| Flag { name: name.to_owned(), enabled: true, kill_switch: false, rollout_percentage: 100 };
    let was: HashMap<&str, &Flag> = before.iter().map(|flag| (flag.name.as_str(), flag)).collect();
    let is: HashMap<&str, &Flag> = after.iter().map(|flag| (flag.name.as_str(), flag)).collect();
    let gone = before.iter().filter(|flag| !is.contains_key(flag.name.as_str())).map(|flag| (on(&flag.name), Some(flag.clone())));
    let there = after.iter().map(|flag| (flag.clone(), was.get(flag.name.as_str()).map(|was| (*was).clone())));
    there.chain(gone).filter(|(flag, was)| flag.governs() != Governs::Nothing && was.as_ref().unwrap_or(&on(&flag.name)) != flag).collect()
}

fn said(flag: &Flag) -> serde_json::Value {
    serde_json::json!({ "enabled": flag.enabled, "kill_switch": flag.kill_switch, "rollout_percentage": flag.rollout_percentage })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_something_is_told() {
        let flag = |name: &str, kill_switch| Flag { name: name.to_owned(), enabled: true, kill_switch, rollout_percentage: 100 };
        let before = [flag("target:a", false), flag("target:b", true), flag("target:c", true), flag("feature:x", false)];
        let after =
            [flag("target:a", true), flag("target:c", true), flag("feature:x", true), flag("stage:sql_filter", false), flag("d", true)];
        let changed: Vec<_> =
            changes(&before, &after).into_iter().map(|(flag, was)| (flag.name, flag.kill_switch, was.is_some())).collect();
        assert_eq!(changed, [("target:a".to_owned(), true, true), ("d".to_owned(), true, false), ("target:b".to_owned(), false, true)]);
    }
}
