//! Texts to disagree about.

mod grammar;
mod mutate;
mod render;

use crate::Random;

pub use grammar::Grammar;

/// A source of texts: statements of the grammar, and mutations of what is known.
#[derive(Debug)]
pub struct Texts {
    grammar: Grammar,
    seeds: Vec<String>,
}

/// Where a text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Grammar,
    Mutation,
}

impl Texts {
    pub fn new(seeds: Vec<String>) -> Self {
        Self { grammar: Grammar::shipped(), seeds }
    }

    pub fn text(&self, origin: Origin, random: &mut Random) -> String {
        match origin {
            Origin::Grammar => self.grammar.text(random),
            Origin::Mutation => {
                let mut one = || {
                    if self.seeds.is_empty() || random.once_in(3) {
                        self.grammar.text(random)
                    } else {
                        self.seeds[random.below(self.seeds.len())].clone()
                    }
                };
                let (first, second) = (one(), one());
                mutate::mutate(&first, &second, random)
            }
        }
    }
}
