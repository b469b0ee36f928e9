//! Whether denials stand, per gate: what the gatekeeper started with, and what operators have said since.
//!
//! A ruling may end by itself. That is judged by the time of the call, so it ends to the microsecond, whoever was asleep meanwhile.

use crate::clock::Timestamp;
use crate::verdict::{Denial, GateName, Verdict};

const GATES: usize = GateName::ALL.len();

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateMode {
    /// Denials end the call.
    Enforce,
    /// Denials are noted, and the call goes on.
    Observe,
}

impl GateMode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Enforce, Self::Observe].into_iter().find(|mode| mode.as_str() == text)
    }
}

/// What an operator has said about one gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    pub gate: GateName,
    /// `None`: as the gatekeeper was started.
    pub mode: Option<GateMode>,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// What holds after that; `None`: as the gatekeeper was started.
    pub afterwards: Option<GateMode>,
    pub reason: String,
    pub actor: String,
    /// When it was made. Of two rulings about a gate the later counts, wherever each was heard.
    pub at: Timestamp,
}

impl Ruling {
    fn mode_at(&self, now: Timestamp) -> Option<GateMode> {
        if self.has_ended(now) { self.afterwards } else { self.mode }
    }

    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| now >= until)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforcement {
    start: GateMode,
    rulings: [Option<Ruling>; GATES],
}

impl Enforcement {
    pub const fn starting(start: GateMode) -> Self {
        Self { start, rulings: [const { None }; GATES] }
    }

    pub fn start(&self) -> GateMode {
        self.start
    }

    /// The environment was read again.
    pub fn start_with(&mut self, start: GateMode) {
        self.start = start;
    }

    pub fn mode_at(&self, gate: GateName, now: Timestamp) -> GateMode {
        self.ruling(gate).and_then(|ruling| ruling.mode_at(now)).unwrap_or(self.start)
    }

    pub fn ruling(&self, gate: GateName) -> Option<&Ruling> {
        self.rulings.get(index(gate)).and_then(Option::as_ref)
    }

    pub fn rulings(&self) -> impl Iterator<Item = &Ruling> {
        self.rulings.iter().flatten()
    }

    /// Takes a ruling, unless one made later is known. Whether it was taken.
    pub fn take(&mut self, ruling: Ruling) -> bool {
        let Some(slot) = self.rulings.get_mut(index(ruling.gate)) else { return false };
        if slot.as_ref().is_some_and(|known| known.at >= ruling.at) {
            return false;
        }
        *slot = Some(ruling);
        true
    }

    /// What is to hold for a gate from `until` on, if something else holds until then: what would hold by then without it. Where that
    /// has an end of its own, which one ruling cannot keep beside the other, denials stand: rather too early than never again.
    pub fn afterwards(&self, gate: GateName, until: Timestamp) -> Option<GateMode> {
        let known = self.ruling(gate)?;
        if known.has_ended(until) {
            return known.afterwards;
        }
        let stands = |mode: &Option<GateMode>| mode.unwrap_or(self.start) == GateMode::Enforce;
        let may_follow = if known.until.is_some() { [known.mode, known.afterwards] } else { [known.mode; 2] };
        may_follow.into_iter().find(stands).unwrap_or(known.mode)
    }

    /// What holds at this moment. `is_on` says whether a gate is switched on at all: one that is not only observes.
    pub fn at(&self, now: Timestamp, is_on: impl Fn(GateName) -> bool) -> Modes {
        Modes { modes: GateName::ALL.map(|gate| if is_on(gate) { self.mode_at(gate, now) } else { GateMode::Observe }) }
    }
}

const fn index(gate: GateName) -> usize {
    gate as usize
}

/// What holds for one call, from its first gate to its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    modes: [GateMode; GATES],
}

impl Modes {
    pub const fn all(mode: GateMode) -> Self {
        Self { modes: [mode; GATES] }
    }

    pub fn of(&self, gate: GateName) -> GateMode {
        self.modes.get(index(gate)).copied().unwrap_or(GateMode::Enforce)
    }

    /// What becomes of a gate's verdict: a denial ends the call, or is noted as what would have been and the call goes on.
    pub fn weigh<P>(&self, gate: GateName, verdict: Verdict<P>, note: impl FnOnce(GateName, &Denial)) -> Result<P, Denial> {
        match (verdict, self.of(gate)) {
            (Verdict::Allow(proof), _) => Ok(proof),
            (Verdict::Deny { denial, .. }, GateMode::Enforce) => Err(denial),
            (Verdict::Deny { denial, onward }, GateMode::Observe) => {
                note(gate, &denial);
                Ok(onward)
            }
        }
    }

    pub fn is_on(&self) -> bool {
        self.modes.iter().all(|mode| *mode == GateMode::Enforce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::AuthFault;

    fn ruling(gate: GateName, mode: GateMode, at: i64) -> Ruling {
        Ruling {
            gate,
            mode: Some(mode),
            until: None,
            afterwards: None,
            reason: String::new(),
            actor: String::new(),
            at: Timestamp::from_secs(at),
        }
    }

    #[test]
    fn a_denial_stands_only_where_its_gate_enforces() {
        let deny = || Verdict::Deny { denial: Denial::Unauthorized(AuthFault::NoCredentials), onward: 7 };
        let mut noted = Vec::new();
        let on = Modes::all(GateMode::Enforce);
        assert_eq!(
            on.weigh(GateName::Authenticate, deny(), |gate, _| noted.push(gate)),
            Err(Denial::Unauthorized(AuthFault::NoCredentials))
        );
        let off = Modes::all(GateMode::Observe);
        assert_eq!(off.weigh(GateName::Authenticate, deny(), |gate, _| noted.push(gate)), Ok(7));
        assert_eq!(noted, [GateName::Authenticate]);
    }

    #[test]
    fn a_ruling_ends_at_its_moment_and_leaves_what_was_to_follow() {
        let gate = GateName::SqlFilter;
        let mut enforcement = Enforcement::starting(GateMode::Observe);
        let timed =
            Ruling { until: Some(Timestamp::from_secs(20)), afterwards: Some(GateMode::Enforce), ..ruling(gate, GateMode::Observe, 10) };
        assert!(enforcement.take(timed));
        let mode = |secs| enforcement.mode_at(gate, Timestamp::from_secs(secs));
        assert_eq!([mode(19), mode(20)], [GateMode::Observe, GateMode::Enforce]);
        assert_eq!(enforcement.mode_at(GateName::Authenticate, Timestamp::from_secs(20)), GateMode::Observe);
    }

    #[test]
    fn what_follows_a_timed_ruling_is_what_would_hold_without_it_and_never_an_end_that_is_forgotten() {
        use GateMode::{Enforce, Observe};
        let gate = GateName::SqlFilter;
        let known = |mode, until: Option<i64>, afterwards| Ruling {
            mode,
            until: until.map(Timestamp::from_secs),
            afterwards,
            ..ruling(gate, Observe, 10)
        };
        let cases = [
            (Enforce, None, None, "nothing was said"),
            (Enforce, Some(known(Some(Observe), None, None)), Some(Observe), "off without an end goes on"),
            (Enforce, Some(known(Some(Observe), Some(15), None)), None, "off had ended before"),
            (Enforce, Some(known(Some(Observe), Some(20), None)), None, "off ends with it"),
            (Enforce, Some(known(Some(Observe), Some(90), None)), None, "off would end later: as started, which enforces"),
            (Observe, Some(known(Some(Observe), Some(90), Some(Enforce))), Some(Enforce), "off would end later"),
            (Observe, Some(known(Some(Enforce), Some(90), None)), Some(Enforce), "on, for longer"),
            (Observe, Some(known(Some(Observe), Some(90), None)), Some(Observe), "off either way"),
        ];
        for (start, before, expected, case) in cases {
            let mut enforcement = Enforcement::starting(start);
            before.map(|before| enforcement.take(before));
            assert_eq!(enforcement.afterwards(gate, Timestamp::from_secs(20)), expected, "{case}");
        }
    }

    #[test]
    fn of_two_rulings_the_later_counts_in_whichever_order_they_come() {
        let gate = GateName::Blocklist;
        let mut enforcement = Enforcement::starting(GateMode::Enforce);
        assert!(enforcement.take(ruling(gate, GateMode::Observe, 20)));
        assert!(!enforcement.take(ruling(gate, GateMode::Enforce, 10)));
        assert!(!enforcement.take(ruling(gate, GateMode::Enforce, 20)));
        assert_eq!(enforcement.mode_at(gate, Timestamp::from_secs(30)), GateMode::Observe);
    }

    #[test]
    fn a_gate_that_is_switched_off_only_observes() {
        let enforcement = Enforcement::starting(GateMode::Enforce);
        let modes = enforcement.at(Timestamp::from_secs(0), |gate| gate != GateName::SourceLimit);
        assert_eq!((modes.of(GateName::SourceLimit), modes.of(GateName::SqlFilter)), (GateMode::Observe, GateMode::Enforce));
        assert!(!modes.is_on());
    }
}
