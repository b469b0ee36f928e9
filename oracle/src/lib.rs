//! PostgreSQL's own parser as the oracle for the gatekeeper's judge: what a text is and what must be found in it, told from PostgreSQL's
//! syntax tree and from nothing that the judge is made of.

mod check;
mod condition;
mod facts;
pub mod generate;
mod kinds;
mod libpg_query;
mod minimize;
mod random;
mod tree;

pub use check::{Checked, Class, Disagreement, check, disagreement};
pub use facts::{Oracle, classify};
pub use minimize::{minimize, shape};
pub use random::Random;
