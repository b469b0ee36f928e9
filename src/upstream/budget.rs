//! How many calls of a target may be sent again: a tenth of those of the last ten seconds, so that a target that fails is not called
//! twice as much for it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Of so many calls one may be sent again.
const CALLS_PER_RETRY: u32 = 10;
/// However few calls there were, for a tenth of a few calls is none.
const FLOOR: u32 = 3;
const SLOT: Duration = Duration::from_secs(1);
const SLOTS: usize = 10;

#[derive(Debug, Default)]
pub struct Budget {
    counted: Mutex<Counted>,
}

/// A ring of the last seconds.
#[derive(Debug, Default)]
struct Counted {
    slots: [Slot; SLOTS],
    /// Of all time.
    retries: u64,
    /// Retries there was nothing left for.
    refused: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    second: u64,
    calls: u32,
    retries: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BudgetView {
    pub retries: u64,
    pub refused: u64,
}

impl Budget {
    pub fn note_call(&self, now_nanos: u64) {
        self.with(|counted| {
            let slot = counted.slot(now_nanos);
            slot.calls = slot.calls.saturating_add(1);
        });
    }

    /// Takes one retry, if there is one left.
    pub fn take(&self, now_nanos: u64) -> bool {
        self.with(|counted| {
            let newest = second(now_nanos);
            let recent = counted.slots.iter().filter(|slot| newest.saturating_sub(slot.second) < SLOTS as u64);
            let (calls, retries) = recent
                .fold((0_u32, 0_u32), |(calls, retries), slot| (calls.saturating_add(slot.calls), retries.saturating_add(slot.retries)));
            if retries >= FLOOR.max(calls / CALLS_PER_RETRY) {
                counted.refused = counted.refused.saturating_add(1);
                return false;
            }
            let slot = counted.slot(now_nanos);
            slot.retries = slot.retries.saturating_add(1);
            counted.retries = counted.retries.saturating_add(1);
            true
        })
    }

    pub fn view(&self) -> BudgetView {
        self.with(|counted| BudgetView { retries: counted.retries, refused: counted.refused })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Counted) -> T) -> T {
        work(&mut self.counted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Counted {
    fn slot(&mut self, now_nanos: u64) -> &mut Slot {
        let second = second(now_nanos);
        let [first, rest @ ..] = &mut self.slots;
        let slot = match second % SLOTS as u64 {
            0 => first,
            nth => rest.get_mut(usize::try_from(nth - 1).unwrap_or_default()).unwrap_or(first),
        };
        if slot.second != second {
            *slot = Slot { second, ..Slot::default() };
        }
        slot
    }
}

fn second(nanos: u64) -> u64 {
    // Never the second of a slot that was not used yet.
    Duration::from_nanos(nanos).as_secs() / SLOT.as_secs() + SLOTS as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn taken(budget: &Budget, at: u64, asked: usize) -> usize {
        (0..asked).filter(|_| budget.take(at)).count()
    }

    #[test]
    fn a_tenth_of_the_calls_may_be_sent_again_and_a_few_in_any_case() {
        for (calls, allowed) in [(0, 3), (1, 3), (30, 3), (39, 3), (40, 4), (1000, 100)] {
            let budget = Budget::default();
            (0..calls).for_each(|_| budget.note_call(0));
            assert_eq!(taken(&budget, 5 * SECOND, 1000), allowed, "{calls}");
            assert_eq!(budget.view(), BudgetView { retries: allowed as u64, refused: 1000 - allowed as u64 });
        }
    }

    #[test]
    fn what_is_ten_seconds_old_counts_no_more() {
        let budget = Budget::default();
        (0..100).for_each(|_| budget.note_call(0));
        assert_eq!(taken(&budget, 9 * SECOND, 100), 10);
        assert_eq!(taken(&budget, 10 * SECOND, 100), 0, "those calls are forgotten, these retries are not");
        assert_eq!(taken(&budget, 19 * SECOND, 100), 3);
    }

    /// Whatever fails, no more than a tenth on top is sent, once there are calls enough to speak of a tenth.
    #[test]
    fn a_steady_outage_is_no_storm() {
        let budget = Budget::default();
        let mut retries = 0;
        for tick in 0..20_000_u64 {
            let now = tick * SECOND / 200;
            budget.note_call(now);
            retries += taken(&budget, now, 2);
        }
        assert!((1_900..=2_000).contains(&retries), "{retries}");
    }
}
