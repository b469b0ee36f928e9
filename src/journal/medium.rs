//! Where a segment's bytes are, and reading them ahead of need: from a disk that may give back nothing, or all but some blocks.

use std::fs::File;
use std::io;
use std::iter;
use std::os::unix::fs::FileExt;

use bytes::Bytes;

/// Read at once where more than one entry is wanted.
const WINDOW: usize = 256 * 1024;
/// What a disk gives back whole or not at all.
pub(super) const BLOCK: usize = 4096;

/// Where the bytes are.
pub trait Medium {
    /// Fewer bytes than asked for only at the end.
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;
}

impl Medium for File {
    fn read(&self, offset: u64, mut into: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        while !into.is_empty() {
            match self.read_at(into, offset.saturating_add(read as u64)) {
                Ok(0) => break,
                Ok(more) => {
                    read += more;
                    into = into.get_mut(more..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }
}

impl Medium for [u8] {
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let copied = rest.iter().zip(into).map(|(from, to)| *to = *from).count();
        Ok(copied)
    }
}

/// Bytes read ahead, so that the entries of a batch, and those after it, cost one read together.
#[derive(Clone, Debug, Default)]
pub(super) struct Window {
    offset: u64,
    bytes: Bytes,
    /// Up to here something cannot be read, so nothing is read ahead.
    narrow_until: u64,
}

impl Window {
    /// The bytes at `offset`: as many as `want`, or as there are before `end`.
    pub fn get<M: Medium + ?Sized>(&mut self, medium: &M, offset: u64, want: usize, end: u64) -> io::Result<Bytes> {
        let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let want = want.min(left);
        let skip = offset.checked_sub(self.offset).and_then(|skip| usize::try_from(skip).ok());
        let held = skip.filter(|skip| skip.saturating_add(want) <= self.bytes.len());
        if let Some(skip) = held {
            return Ok(self.bytes.slice(skip..skip + want));
        }
        let wide = want.max(WINDOW).min(left);
        if offset >= self.narrow_until {
            match Self::read(medium, offset, wide) {
                // What is read ahead must not cost what is wanted.
                Err(_) if want < wide => self.narrow_until = offset.saturating_add(wide as u64),
                read => self.bytes = read?,
            }
        }
        if offset < self.narrow_until {
            let blocks = offset.saturating_add(want as u64).next_multiple_of(BLOCK as u64) - offset;
            self.bytes = Self::read(medium, offset, usize::try_from(blocks).unwrap_or(want).min(left))?;
        }
        self.offset = offset;
        Ok(self.bytes.slice(..want.min(self.bytes.len())))
    }

    fn read<M: Medium + ?Sized>(medium: &M, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut read = vec![0; length];
        let there = medium.read(offset, &mut read)?;
        read.truncate(there);
        Ok(read.into())
    }
}

/// Whether something can be read behind the first block that cannot.
pub(super) fn reads_on<M: Medium + ?Sized>(medium: &M, offset: u64, end: u64) -> bool {
    let is_readable = |at: u64| medium.read(at, &mut [0; BLOCK]).is_ok();
    let block = BLOCK as u64;
    let Some(bad) = (offset / block * block..end).step_by(BLOCK).find(|at| !is_readable(*at)) else { return false };
    // A disk that is dying takes its time for each: the next one is asked, and then always twice as far away.
    let further = iter::successors(Some(block), |step| step.checked_mul(2)).map(|step| bad.saturating_add(step));
    further.take_while(|at| *at < end).any(is_readable)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of so many blocks, those that are named cannot be read.
    struct Disk<'a>(u64, &'a [u64]);

    impl Medium for Disk<'_> {
        fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
            let block = BLOCK as u64;
            let end = offset.saturating_add(into.len() as u64).min(self.0 * block);
            let is_bad = (offset / block..end.div_ceil(block)).any(|at| self.1.contains(&at));
            if is_bad { Err(io::Error::other("bad")) } else { Ok(usize::try_from(end - offset).unwrap()) }
        }
    }

    #[test]
    fn a_disk_works_that_gives_back_what_comes_later() {
        let reads_on = |disk: &Disk<'_>, offset: u64| super::reads_on(disk, offset, disk.0 * BLOCK as u64);
        assert!(reads_on(&Disk(20, &[3]), 0));
        assert!(reads_on(&Disk(20, &[3, 4, 5, 6]), 3 * BLOCK as u64 + 17), "also behind several that are bad");
        assert!(!reads_on(&Disk(20, &(3..20).collect::<Vec<_>>()), 0), "nothing comes later");
        assert!(!reads_on(&Disk(20, &[19]), 0), "nor behind the last");
        assert!(!reads_on(&Disk(20, &[3]), 4 * BLOCK as u64), "all of it can be read by now");
        let asked = std::cell::Cell::new(0);
        struct Dead<'a>(&'a std::cell::Cell<u32>);
        impl Medium for Dead<'_> {
            fn read(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
                self.0.set(self.0.get() + 1);
                Err(io::Error::other("dead"))
            }
        }
        assert!(!super::reads_on(&Dead(&asked), 0, 1 << 24));
        assert!(asked.get() < 20, "{} reads of a disk that is dead", asked.get());
    }
}
