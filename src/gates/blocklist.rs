//! Whom an operator keeps out, judged before anything is counted: a blocked network must not use up the limit of the source it names.

use std::net::IpAddr;

use crate::blocklist::Blocklist;
use crate::clock::Timestamp;
use crate::gates::authenticate::Authenticated;
use crate::identity::Caller;
use crate::verdict::{Blocked, Denial, Verdict};

/// Proof that a call was held against the blocklist.
#[derive(Debug)]
pub struct NotBlocked(());

/// Networks are kept out whoever calls from them; sources, where the caller has shown that it is one.
pub fn blocklist(authenticated: &Authenticated, peer: IpAddr, blocks: &Blocklist, at: Timestamp) -> Verdict<NotBlocked> {
    let source = match authenticated.caller() {
        Caller::Source { name, .. } => Some(name.as_str()),
        Caller::ServiceRole { .. } | Caller::Stranger { .. } => None,
    };
    match blocks.against(peer, source, at) {
        None => Verdict::Allow(NotBlocked(())),
        Some(block) => {
            let (reason, place) = (block.reason.clone(), Some(block.place.clone()));
            Verdict::Deny { denial: Denial::Blocked(Blocked { what: block.subject.what(), reason, place }), onward: NotBlocked(()) }
        }
    }
}
