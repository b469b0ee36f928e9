//! Feature flags as the gatekeeper heeds them: each may switch a target or a gate off, whatever policy says. They live in the
//! operators' own table, so one UPDATE of theirs is enough.

use std::collections::HashMap;

use crate::identity::Place;
use crate::sha256::Sha256;
use crate::verdict::GateName;

/// A row of `feature_flags`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    pub name: String,
    pub enabled: bool,
    pub kill_switch: bool,
    /// From 0 to 100: for how many of a hundred sources it is on.
    pub rollout_percentage: u8,
}

/// What a flag is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Governs<'a> {
    /// `target:NAME`, or the bare name.
    Target(&'a str),
    /// `stage:GATE`.
    Gate(GateName),
    /// Somebody else's flag: kept, and none of our business.
    Nothing,
}

impl Flag {
    pub fn governs(&self) -> Governs<'_> {
        match self.name.split_once(':') {
            Some(("target", name)) => Governs::Target(name),
            Some(("stage", gate)) => GateName::parse(gate).map_or(Governs::Nothing, Governs::Gate),
            Some(_) => Governs::Nothing,
            None => Governs::Target(&self.name),
        }
    }

    /// The kill switch wins over `enabled`, and that over the share of those it is rolled out to.
    pub fn is_on_for(&self, who: &str) -> bool {
        !self.kill_switch && self.enabled && self.bucket(who) < self.rollout_percentage
    }

    /// Where the row is.
    pub fn place(&self) -> Place {
        Place::new(&format!("feature_flags: {}", self.name))
    }

    /// From 0 to 99, the same for the same name whoever asks, wherever and whenever.
    fn bucket(&self, who: &str) -> u8 {
        if self.rollout_percentage >= 100 {
            return 0;
        }
        let hash = Sha256::new().chain(&self.name).chain([0]).chain(who).finish();
        let number = hash.iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        u8::try_from(number % 100).unwrap_or(0)
    }
}

/// The flags of one moment that switch anything off.
#[derive(Clone, Debug, Default)]
pub struct Switches {
    targets: HashMap<String, Vec<Flag>>,
    gates: Vec<(GateName, Flag)>,
}

impl Switches {
    pub fn of(flags: impl IntoIterator<Item = Flag>) -> Self {
        let mut switches = Self::default();
        for flag in flags {
            let is_on = flag.enabled && !flag.kill_switch;
            match flag.governs() {
                Governs::Target(name) if !is_on || flag.rollout_percentage < 100 => {
                    switches.targets.entry(name.to_owned()).or_default().push(flag);
                }
                Governs::Gate(gate) if !is_on => switches.gates.push((gate, flag)),
                Governs::Target(_) | Governs::Gate(_) | Governs::Nothing => {}
            }
        }
        switches
    }

    /// The flag that keeps this source from this target, if any does.
    pub fn against(&self, target: &str, source: &str) -> Option<&Flag> {
        self.targets.get(target)?.iter().find(|flag| !flag.is_on_for(source))
    }

    /// The flag that switches a gate off, if any does. A gate is on or off as a whole: its rollout says nothing.
    pub fn against_gate(&self, gate: GateName) -> Option<&Flag> {
        self.gates.iter().find(|(off, _)| *off == gate).map(|(_, flag)| flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flag(name: &str) -> Flag {
        Flag { name: name.to_owned(), enabled: true, kill_switch: false, rollout_percentage: 100 }
    }

    #[test]
    fn the_kill_switch_wins_over_enabled_and_that_over_the_rollout() {
        let cases = [
            (flag("target:brain"), false),
            (Flag { kill_switch: true, ..flag("target:brain") }, true),
            (Flag { enabled: false, ..flag("target:brain") }, true),
            (Flag { rollout_percentage: 0, ..flag("target:brain") }, true),
            (Flag { kill_switch: true, ..flag("brain") }, true),
            (Flag { kill_switch: true, ..flag("target:other") }, false),
            (Flag { kill_switch: true, ..flag("stage:brain") }, false),
            (Flag { kill_switch: true, ..flag("feature:brain") }, false),
        ];
        for (flag, off) in cases {
            assert_eq!(Switches::of([flag.clone()]).against("brain", "gemini-chat").is_some(), off, "{flag:?}");
        }
    }

    #[test]
    fn a_gate_is_switched_off_by_its_name() {
        let switches = Switches::of([Flag { kill_switch: true, ..flag("stage:sql_filter") }, flag("stage:source_limit")]);
        assert!(switches.against_gate(GateName::SqlFilter).is_some());
        assert!(switches.against_gate(GateName::SourceLimit).is_none());
    }

    #[test]
    fn a_rollout_takes_its_share_and_always_the_same_sources() {
        let quarter = Flag { rollout_percentage: 25, ..flag("target:brain") };
        let on: Vec<bool> = (0..10_000).map(|n| quarter.is_on_for(&format!("source-{n}"))).collect();
        let share = on.iter().filter(|on| **on).count();
        assert!((2300..=2700).contains(&share), "{share}");
        assert!((0..10_000).all(|n| quarter.is_on_for(&format!("source-{n}")) == on[n]));
    }
}
