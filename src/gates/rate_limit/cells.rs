//! Room for very many short runs of bytes: cells of a few widths, in chunks. An allocation each would cost as much again for its address
//! and what the allocator rounds up to; and chunks are never copied to larger ones, so growing keeps nobody waiting.

/// What does not fit the widest has a chunk to itself.
const WIDTHS: [usize; 14] = [24, 28, 32, 36, 40, 44, 48, 56, 64, 80, 96, 128, 192, 256];
const OWN_CHUNK: usize = WIDTHS.len();
/// Cells of a chunk: few, for every shard has a chunk of each width it has ever used.
const CHUNK: usize = 32;
const SHELF_BITS: u32 = 4;
/// No cell has this number: a list of free ones ends there.
const NONE: u32 = u32::MAX >> SHELF_BITS;

/// Where a run of bytes lies: its shelf in the lowest bits, its number on it in the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell(u32);

impl Cell {
    fn new(shelf: usize, number: u32) -> Option<Self> {
        (number < NONE).then_some(Self(number << SHELF_BITS | u32::try_from(shelf).ok()?))
    }

    fn shelf(self) -> usize {
        (self.0 & ((1 << SHELF_BITS) - 1)) as usize
    }

    fn number(self) -> u32 {
        self.0 >> SHELF_BITS
    }
}

#[derive(Debug, Default)]
pub(super) struct Cells {
    shelves: [Shelf; OWN_CHUNK + 1],
}

/// Cells of one width.
#[derive(Debug)]
struct Shelf {
    chunks: Vec<Box<[u8]>>,
    /// Cells there are, free ones too.
    cells: u32,
    /// The first of those that are free: each holds a 0, and the number of the next.
    free: u32,
}

impl Default for Shelf {
    fn default() -> Self {
        Self { chunks: Vec::new(), cells: 0, free: NONE }
    }
}

/// How far somebody has come who looks at all cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    shelf: usize,
    number: u32,
}

impl Cells {
    /// Puts bytes down that do not begin with a 0. None if there is no number for them any more.
    pub fn put(&mut self, bytes: &[u8]) -> Option<Cell> {
        let shelf = WIDTHS.iter().position(|width| *width >= bytes.len()).unwrap_or(OWN_CHUNK);
        let number = self.shelves.get_mut(shelf)?.put(WIDTHS.get(shelf).copied(), bytes)?;
        Cell::new(shelf, number)
    }

    /// What was put there, and what else its cell holds.
    pub fn get(&self, cell: Cell) -> &[u8] {
        let shelf = cell.shelf();
        self.shelves.get(shelf).and_then(|of| of.get(WIDTHS.get(shelf).copied(), cell.number())).unwrap_or_default()
    }

    pub fn free(&mut self, cell: Cell) {
        let shelf = cell.shelf();
        if let Some(of) = self.shelves.get_mut(shelf) {
            of.free(WIDTHS.get(shelf).copied(), cell.number());
        }
    }

    /// The next of those that hold something, whatever comes and goes between the questions.
    pub fn next(&self, position: &mut Position) -> Option<Cell> {
        while let Some(shelf) = self.shelves.get(position.shelf) {
            while position.number < shelf.cells {
                let number = position.number;
                position.number += 1;
                let bytes = shelf.get(WIDTHS.get(position.shelf).copied(), number);
                if bytes.is_some_and(|bytes| bytes.first().is_some_and(|first| *first != 0)) {
                    return Cell::new(position.shelf, number);
                }
            }
            *position = Position { shelf: position.shelf + 1, number: 0 };
        }
        None
    }

    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        let of = |shelf: &Shelf| shelf.chunks.iter().map(|chunk| chunk.len() + size_of::<Box<[u8]>>()).sum::<usize>();
        self.shelves.iter().map(of).sum()
    }

    /// How many cells there are, free ones too.
    pub fn room(&self) -> usize {
        self.shelves.iter().map(|shelf| shelf.cells as usize).sum()
    }
}

impl Shelf {
    fn put(&mut self, width: Option<usize>, bytes: &[u8]) -> Option<u32> {
        let number = match self.free {
            NONE => self.add(width)?,
            free => {
                let cell = self.get(width, free)?;
                self.free = cell.get(1..5).and_then(|next| next.try_into().ok()).map_or(NONE, u32::from_le_bytes);
                free
            }
        };
        match width {
            Some(_) => self.get_mut(width, number)?.get_mut(..bytes.len())?.copy_from_slice(bytes),
            None => *self.chunks.get_mut(number as usize)? = bytes.into(),
        }
        Some(number)
    }

    fn add(&mut self, width: Option<usize>) -> Option<u32> {
        let number = self.cells;
        if number == NONE {
            return None;
        }
        match width {
            Some(width) if (number as usize).is_multiple_of(CHUNK) => self.chunks.push(vec![0; width * CHUNK].into()),
            Some(_) => {}
            None => self.chunks.push(Box::default()),
        }
        self.cells += 1;
        Some(number)
    }

    fn free(&mut self, width: Option<usize>, number: u32) {
        let next = self.free.to_le_bytes();
        let free = [&[0], next.as_slice()].concat();
        match width {
            Some(_) => {
                if let Some(cell) = self.get_mut(width, number).and_then(|cell| cell.get_mut(..free.len())) {
                    cell.copy_from_slice(&free);
                }
            }
            None => {
                if let Some(chunk) = self.chunks.get_mut(number as usize) {
                    *chunk = free.into();
                }
            }
        }
        self.free = number;
    }

    fn get(&self, width: Option<usize>, number: u32) -> Option<&[u8]> {
        #[cfg(test)]
        super::touched::cell();
        let (chunk, at) = place(width, number);
        let chunk = self.chunks.get(chunk)?;
        chunk.get(at..at + width.unwrap_or(chunk.len()))
    }

    fn get_mut(&mut self, width: Option<usize>, number: u32) -> Option<&mut [u8]> {
        let (chunk, at) = place(width, number);
        let chunk = self.chunks.get_mut(chunk)?;
        let until = at + width.unwrap_or(chunk.len());
        chunk.get_mut(at..until)
    }
}

/// The chunk a cell is in, and where it begins there.
fn place(width: Option<usize>, number: u32) -> (usize, usize) {
    let number = number as usize;
    width.map_or((number, 0), |width| (number / CHUNK, number % CHUNK * width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_down_stays_until_it_is_freed() {
        let mut cells = Cells::default();
        let text = |n: usize| vec![u8::try_from(n % 250 + 1).unwrap(); n % 300 + 1];
        let mut there = Vec::new();
        for round in 0..5 {
            for n in 0..1000 {
                there.push((n + round, cells.put(&text(n + round)).unwrap()));
            }
            for n in (0..there.len()).rev().filter(|n| n % 3 != 1) {
                cells.free(there.swap_remove(n).1);
            }
        }
        for (n, cell) in &there {
            assert_eq!(cells.get(*cell).get(..n % 300 + 1), Some(text(*n).as_slice()));
        }
        let (mut position, mut found) = (Position::default(), 0);
        while let Some(cell) = cells.next(&mut position) {
            assert!(there.iter().any(|(_, there)| *there == cell));
            found += 1;
        }
        assert_eq!(found, there.len());
        assert!(cells.room() <= 2000, "{} cells for {found}", cells.room());
    }
}
