//! Texts that many hold and few differ: each is kept once, and known by a number to whoever holds it.

use std::sync::Arc;

use foldhash::HashMap;

#[derive(Debug, Default)]
pub(super) struct Texts {
    numbers: HashMap<Arc<str>, u32>,
    all: Vec<Held>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Held {
    text: Arc<str>,
    times: u32,
}

impl Texts {
    /// The number of a text, which is held until it has been let go of as often as this was asked. None if it cannot be held once more.
    pub fn hold(&mut self, text: &Arc<str>) -> Option<u32> {
        if let Some(number) = self.numbers.get(text) {
            let held = self.all.get_mut(*number as usize)?;
            held.times = held.times.checked_add(1)?;
            return Some(*number);
        }
        let held = Held { text: Arc::clone(text), times: 1 };
        let number = match self.free.pop() {
            Some(number) => {
                *self.all.get_mut(number as usize)? = held;
                number
            }
            None => {
                self.all.push(held);
                u32::try_from(self.all.len() - 1).ok()?
            }
        };
        self.numbers.insert(Arc::clone(text), number);
        Some(number)
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.numbers.len()
    }

    pub fn get(&self, number: u32) -> Option<&Arc<str>> {
        self.all.get(number as usize).map(|held| &held.text)
    }

    pub fn let_go(&mut self, number: u32) {
        let Some(held) = self.all.get_mut(number as usize) else { return };
        held.times = held.times.saturating_sub(1);
        if held.times == 0 {
            let text = std::mem::take(&mut held.text);
            self.numbers.remove(&text);
            self.free.push(number);
        }
        if self.numbers.is_empty() {
            *self = Self::default();
        }
    }
}
