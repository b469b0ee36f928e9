//! The gates: each takes what is known of a call and answers with a proof or a denial. None knows the others, or whether it is enforced.

pub mod rate_limit;
