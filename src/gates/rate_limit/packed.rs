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

    /// Gives back the room that a crowd has left behind. There is little to put together when it has gone.
    pub fn put_together(&mut self) {
        if self.cells.room() < FEW || self.cells.room() / 4 < self.index.len() {
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
