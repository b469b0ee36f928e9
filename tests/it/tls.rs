//! What operators and callers rely on where TLS is spoken: certificates that can be renewed under load, broken ones that never get in
//! force, callers known by certificates and by nothing they write, targets that are trusted as policy says; and HTTP/2 on both sides.

mod authority;
mod callee;
mod caller;

mod commands;
mod http2;
mod identities;
mod listener;
mod mistakes;
mod renewal;
mod targets;
