//! The entries of the sources that are not calling just now, packed. There may be a million of them, so each is a few bytes in a cell,
//! found by its name's hash; the name itself lies in the cell and is compared, so that no two sources can ever share a count.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::cells::{Cell, Cells, Position};
use super::entry::{BASE_BUCKETS, Entry, Home};
use super::form::{Form, Moments};
use super::pool::{Pools, Slots};
use super::texts::Texts;
use crate::clock::Timestamp;

/// What most entries are packed into. Those with many endpoints take more, and an allocation.
const USUAL: usize = 256;
/// Fewer cells than this are never worth putting together.
const FEW: usize = 256;

#[derive(Debug)]
pub(super) struct Packed {
    home: Home,
    hasher: RandomState,
    index: HashTable<Cell>,
    cells: Cells,
    /// The endpoints' labels: the same few for most sources.
    labels: Texts,
    /// What the entries here hold of the pools.
    listed: Slots,
    guests: Slots,
}

impl Packed {
    pub fn new(home: Home, hasher: RandomState, pools: &Pools) -> Self {
        Self {
            home,
            hasher,
            index: HashTable::new(),
            cells: Cells::default(),
            labels: Texts::default(),
            listed: pools.listed.none(),
            guests: pools.guests.none(),
        }
    }

    pub fn clear(&mut self, pools: &Pools) {
        *self = Self::new(self.home, self.hasher.clone(), pools);
    }

    /// Takes an entry in, or gives it back if there is no room for it: only the numbers of cells are bounded.
    pub fn put(&mut self, hash: u64, entry: Box<Entry>, moments: Moments) -> Result<(), Box<Entry>> {
        let is_guest = entry.slots.shares_pool_with(&self.guests);
        let Some(form) = Form::of(&entry, is_guest, &mut self.labels, moments) else { return Err(entry) };
        let mut usual = [0; USUAL];
        let cell = match postcard::to_slice(&form, &mut usual) {
            Ok(bytes) => self.cells.put(bytes),
            Err(_) => postcard::to_stdvec(&form).ok().and_then(|bytes| self.cells.put(&bytes)),
        };
        let Some(cell) = cell else {
            form.let_go(&mut self.labels);
            return Err(entry);
        };
        drop(form);
        let (cells, hasher) = (&self.cells, &self.hasher);
        self.index.insert_unique(hash, cell, |cell| hash_in(cells, hasher, *cell));
        let slots = if is_guest { &mut self.guests } else { &mut self.listed };
        slots.absorb(entry.slots);
        Ok(())
    }

    pub fn take(&mut self, hash: u64, identifier: &Arc<str>, moments: Moments) -> Option<Entry> {
        let cells = &self.cells;
        let found = self.index.find_entry(hash, |cell| Form::name(cells.get(*cell)) == &**identifier).ok()?;
        let (cell, _) = found.remove();
        self.unpack(cell, Arc::clone(identifier), moments)
    }

    /// What is packed, one after the other, unpacked for a look.
    pub fn for_each(&self, moments: Moments, mut look: impl FnMut(&Entry)) {
        let mut position = Position::default();
        while let Some(cell) = self.cells.next(&mut position) {
            let bytes = self.cells.get(cell);
            if let Some(form) = Form::read(bytes) {
                look(&form.entry(self.home, Form::name(bytes).into(), self.guests.none(), &self.labels, moments));
            }
        }
    }

    /// Lets go of what can decide nothing any more, of the next `most` entries at `position`. False when all have been seen.
    pub fn sweep(&mut self, position: &mut Position, most: usize, now: Timestamp, moments: Moments) -> bool {
        for _ in 0..most {
            let Some(cell) = self.cells.next(position) else { return false };
            let bytes = self.cells.get(cell);
            if !Form::read(bytes).is_some_and(|form| form.has_spent(now, moments)) {
                continue;
            }
            let identifier: Arc<str> = Form::name(bytes).into();
            let hash = self.hasher.hash_one(&*identifier);
            let Some(mut entry) = self.take(hash, &identifier, moments) else { continue };
            if entry.sweep(now) {
                // It has become no wider, so there is room for it.
                let _room = self.put(hash, Box::new(entry), moments);
            }
        }
        true
    }

    /// Gives back the room that a crowd has left behind, once a third of all is free: what is put together is as much work as what is left.
    pub fn put_together(&mut self) {
        if self.cells.room() < FEW || self.cells.room() / 3 * 2 < self.index.len() {
            return;
        }
        let before = std::mem::take(&mut self.cells);
        self.index = HashTable::with_capacity(self.index.len());
        let mut position = Position::default();
        while let Some(cell) = before.next(&mut position) {
            if let Some(cell) = self.cells.put(before.get(cell)) {
                let (cells, hasher) = (&self.cells, &self.hasher);
                self.index.insert_unique(hash_in(cells, hasher, cell), cell, |cell| hash_in(cells, hasher, *cell));
            }
        }
    }

    fn unpack(&mut self, cell: Cell, identifier: Arc<str>, moments: Moments) -> Option<Entry> {
        let form = Form::read(self.cells.get(cell))?;
        let slots = if form.is_guest { &mut self.guests } else { &mut self.listed };
        let slots = slots.split_off(BASE_BUCKETS + form.endpoints());
        let entry = form.entry(self.home, identifier, slots, &self.labels, moments);
        form.let_go(&mut self.labels);
        self.cells.free(cell);
        Some(entry)
    }
}

fn hash_in(cells: &Cells, hasher: &RandomState, cell: Cell) -> u64 {
    hasher.hash_one(Form::name(cells.get(cell)))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::gates::rate_limit::entry::Terms;
    use crate::gates::rate_limit::touched::agents;
    use crate::identity::{Action, Endpoint, TargetName};
    use crate::policy::{Burst, Limits, Source};

    /// The monotonic side of this clock has gone for a day.
    const NOW: Timestamp = Timestamp::from_secs(86_400);
    const MOMENTS: Moments = Moments { began: NOW, nanos: 86_400_000_000_000 };

    struct Scene {
        clock: Clock,
        source: Source,
        limits: Limits,
        pools: Pools,
        packed: Packed,
    }

    impl Scene {
        fn new(burst: Option<Burst>) -> Self {
            let limits = Limits { endpoints_per_source: 64, buckets: 1 << 30, stranger_records_per_minute: 1, window_lengths: vec![60] };
            let pools = Pools::default();
            let packed = Packed::new(Home::Own, RandomState::default(), &pools);
            Self { clock: Clock::Manual(ManualClock::at(NOW)), source: agents(burst), limits, pools, packed }
        }

        fn terms(&self) -> Terms<'_> {
            Terms { source: &self.source, limits: &self.limits, at: NOW, clock: &self.clock }
        }

        fn entry(&self, name: &str, endpoints: usize) -> Box<Entry> {
            let slots = self.pools.guests.take(BASE_BUCKETS, usize::MAX).unwrap();
            let mut entry = Entry::new(Home::Own, name.into(), slots);
            entry.judge_total(self.terms());
            for n in 0..endpoints {
                let (target, action) = (TargetName::parse("gemini-chat").unwrap(), Action::parse(&format!("act-{n}")));
                entry.judge_endpoint(&Endpoint::of(&target, action.as_ref()), self.terms());
            }
            Box::new(entry)
        }

        fn put(&mut self, name: &str, endpoints: usize) {
            let entry = self.entry(name, endpoints);
            self.packed.put(self.packed.hasher.hash_one(name), entry, MOMENTS).unwrap();
        }
    }

    /// What a shard holds of a million sources.
    const SOURCES: usize = 4_000;

    #[test]
    fn a_source_takes_few_bytes() {
        let burst = Burst { size: NonZeroU32::new(100).unwrap(), per_second: NonZeroU32::new(20).unwrap() };
        for (burst, most) in [(None, 46), (Some(burst), 60)] {
            let mut scene = Scene::new(burst);
            (0..SOURCES).for_each(|n| scene.put(&format!("agent-{}", 1_000_000 + n), 1));
            let bytes = scene.packed.index.allocation_size() + scene.packed.cells.bytes();
            let each = bytes.div_ceil(SOURCES);
            assert!(each <= most, "{each} bytes");
        }
    }

    #[test]
    fn a_crowd_that_calls_again_in_the_next_window_takes_no_more_room() {
        let mut scene = Scene::new(None);
        let named = |n: usize| Arc::<str>::from(format!("agent-{}", 1_000_000 + n));
        (0..SOURCES).for_each(|n| scene.put(&named(n), 1));
        let before = scene.packed.cells.bytes();
        let later = NOW.plus(std::time::Duration::from_secs(60));
        scene.clock = Clock::Manual(ManualClock::at(later));
        let endpoint = Endpoint::of(&TargetName::parse("gemini-chat").unwrap(), Action::parse("act-0").as_ref());
        for n in 0..SOURCES {
            let hash = scene.packed.hasher.hash_one(&*named(n));
            let mut entry = scene.packed.take(hash, &named(n), MOMENTS).unwrap();
            entry.judge_total(Terms { at: later, ..scene.terms() });
            entry.judge_endpoint(&endpoint, Terms { at: later, ..scene.terms() });
            scene.packed.put(hash, Box::new(entry), MOMENTS).unwrap();
        }
        assert_eq!(scene.packed.cells.bytes(), before);
    }

    #[test]
    fn what_is_packed_comes_out_as_it_was_whatever_it_holds() {
        let mut scene = Scene::new(None);
        let named = |n: usize| (format!("{}-{n}", "agent".repeat(n % 20 + 1)), n % 70);
        (0..500).map(named).for_each(|(name, endpoints)| scene.put(&name, endpoints));
        for (name, endpoints) in (0..500).map(named) {
            let expected = scene.entry(&name, endpoints);
            let hash = scene.packed.hasher.hash_one(&*name);
            let taken = scene.packed.take(hash, &name.as_str().into(), MOMENTS).unwrap();
            let tallies = |entry: &Entry| {
                let mut all: Vec<_> = entry.tallies(NOW).map(|tally| format!("{tally:?}")).collect();
                all.sort();
                all
            };
            assert_eq!(tallies(&taken), tallies(&expected), "{name}");
            assert!(scene.packed.take(hash, &name.as_str().into(), MOMENTS).is_none(), "{name}");
        }
        assert_eq!((scene.pools.guests.held(), scene.packed.labels.len()), (0, 0));
    }

    #[test]
    fn room_is_given_back_when_a_crowd_has_gone() {
        let mut scene = Scene::new(None);
        (0..SOURCES).for_each(|n| scene.put(&format!("agent-{n}"), 2));
        for n in (0..SOURCES).filter(|n| n % 100 != 0) {
            let (name, hasher) = (Arc::from(format!("agent-{n}")), scene.packed.hasher.clone());
            drop(scene.packed.take(hasher.hash_one(&*name), &name, MOMENTS));
        }
        let before = scene.packed.cells.bytes();
        while scene.packed.sweep(&mut Position::default(), 10_000, NOW, MOMENTS) {}
        scene.packed.put_together();
        assert!(scene.packed.cells.bytes() < before / 20, "{} of {before} bytes", scene.packed.cells.bytes());
        for n in (0..SOURCES).filter(|n| n % 100 == 0) {
            let (name, hasher) = (Arc::from(format!("agent-{n}")), scene.packed.hasher.clone());
            assert!(scene.packed.take(hasher.hash_one(&*name), &name, MOMENTS).is_some(), "{name}");
        }
        scene.packed.clear(&scene.pools);
        assert_eq!(scene.pools.guests.held(), 0);
    }

    #[test]
    fn a_sweep_lets_go_of_what_has_ended_a_part_at_a_time() {
        let mut scene = Scene::new(None);
        (0..SOURCES).for_each(|n| scene.put(&format!("agent-{n}"), 1));
        let later = NOW.plus(std::time::Duration::from_secs(600));
        let (mut position, mut parts) = (Position::default(), 1);
        while scene.packed.sweep(&mut position, 1000, later, MOMENTS) {
            parts += 1;
        }
        assert_eq!((parts, scene.packed.index.len(), scene.pools.guests.held()), (5, 0, 0));
    }
}
