//! The gates: each a plain function from what is known of a call to a proof or a denial. None knows whether it is enforced; of
//! each other they know the proofs alone.

pub mod authenticate;
pub mod authorize;
pub mod blocklist;
pub mod rate_limit;
pub mod schema_check;
pub mod sql_filter;
