//! The gates: each a plain function from what is known to a proof or a denial. They know nothing of each other.

pub mod sql_filter;
