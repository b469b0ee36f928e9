//! What is allowed. Operators write it as TOML files (`file`: their exact shapes), which are compiled into one immutable
//! [`Policy`] (`compile`: every problem at once, with file and line). A call reads one snapshot from first gate to last.

pub mod compile;
pub mod describe;
pub mod file;
mod identities;
mod link;
pub mod load;
mod objects;
pub mod problems;
mod read;
mod sql;
mod terms;
pub mod values;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;

use crate::blocklist::Block;
use crate::clock::Timestamp;
use crate::identity::{Action, NamePattern, Place, Secret, SourceName, TargetName, UNAUTHENTICATED};
use crate::journal::Syncing;
use crate::retention::Keep;

pub use identities::{CertificateNeed, Certified, SourceCertificates};
pub use link::{Authorities, ClientPair, Link, Protocol, Trust};
pub use objects::ObjectPattern;
pub use sql::{Mode, ModeOverride, Reach, RuleSetting, Shown, SqlException, SqlPattern, SqlPolicy};
pub use terms::{BreakerPolicy, CachePolicy, CrowdLimits, Ejection, HealthCheck, Retry, Sharing, Site, Terms};

/// The compiled snapshot.
#[derive(Debug)]
pub struct Policy {
    /// SHA-256 over the files, in hex: two gatekeepers with the same fingerprint decide alike.
    pub fingerprint: Arc<str>,
    pub sources: Sources,
    pub targets: Targets,
    /// The variables whose secrets go to targets that can be called, and whether they are set.
    pub secrets: BTreeMap<String, bool>,
    pub limits: Limits,
    pub sql: SqlPolicy,
    pub schema: SchemaPolicy,
    /// Whom policy keeps out, in file order.
    pub blocks: Vec<Block>,
    pub body: BodyPolicy,
    /// Stats are kept for ever: they are small and hold no payload.
    pub journal: JournalPolicy,
    pub retention: Keep,
    pub cors: Cors,
    /// What is doubtful but not wrong: shown by `check` and logged at start.
    pub warnings: Vec<String>,
}

impl Policy {
    /// What is doubtful at this moment, beside what is at any.
    pub fn warnings_at(&self, now: Timestamp) -> Vec<String> {
        let blocks = self.blocks.iter().map(|block| (&block.place, block.until));
        let exceptions = self.sql.exceptions.iter().map(|exception| (&exception.place, exception.until));
        let ended = blocks.chain(exceptions).filter_map(|(place, until)| Some((place, until.filter(|until| *until <= now)?)));
        let ended = ended.map(|(place, until)| format!("{place}: this ended on {until} and counts for nothing: take it out"));
        self.warnings.iter().cloned().chain(ended).chain(self.certificates_ending(now)).collect()
    }
}

/// The listed sources: single names by lookup, patterns in file order after them.
#[derive(Debug, Default)]
pub struct Sources {
    pub named: HashMap<Arc<str>, Arc<Source>>,
    pub patterns: Vec<Arc<Source>>,
    pub certified: Certified,
}

#[derive(Debug)]
pub struct Source {
    pub pattern: NamePattern,
    /// What this source may use in all, whatever it calls.
    pub total: Arc<Allowance>,
    /// What it may use of one endpoint that no override names.
    pub endpoint: Arc<Allowance>,
    /// Endpoints with an allowance of their own, in file order; the first match counts.
    pub overrides: Vec<EndpointOverride>,
    pub counted: Counted,
    /// `None`: it is known by its key alone.
    pub certificates: Option<Arc<SourceCertificates>>,
    /// Where its name stands.
    pub place: Place,
}

/// How the names that a pattern lets in are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Counted {
    /// Each by itself.
    #[default]
    Apart,
    /// All as one, so that inventing names gains nothing.
    Together,
}

#[derive(Debug)]
pub struct EndpointOverride {
    /// Over `target:action`; `*` stands for any run of characters, colons included.
    pub endpoint: Box<str>,
    pub allowance: Arc<Allowance>,
}

/// What the record calls the callers that are no source. No source may go by these names, whatever a pattern would match.
const RESERVED: [&str; 2] = ["service_role", UNAUTHENTICATED];

impl Sources {
    /// How many entries list sources, patterns counted as one each.
    pub fn entries(&self) -> usize {
        self.named.len() + self.patterns.len()
    }

    /// The entry that lists this source, if any does. A single name beats every pattern; of patterns the first one counts.
    pub fn find(&self, name: &SourceName) -> Option<&Arc<Source>> {
        if RESERVED.contains(&name.as_str()) {
            return None;
        }
        self.named.get(name.as_str()).or_else(|| self.patterns.iter().find(|source| source.pattern.matches(name.as_str())))
    }
}

impl Source {
    pub fn allowance_of(&self, endpoint: &str) -> &Arc<Allowance> {
        self.overrides
            .iter()
            .find(|o| crate::identity::glob(o.endpoint.as_bytes(), endpoint.as_bytes()))
            .map_or(&self.endpoint, |o| &o.allowance)
    }
}

/// How much is allowed: every window must have room, and the burst too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Shortest window first; never empty.
    pub windows: Box<[Window]>,
    pub burst: Option<Burst>,
    /// Where the windows are written down.
    pub place: Place,
    /// Where the burst is: there too, if the windows imply it.
    pub burst_place: Place,
}

/// At most `limit` calls in each aligned window of `secs`: whole minutes that divide a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub limit: u32,
    pub secs: u32,
}

/// At most `size` calls at once, refilled at `per_second`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    pub size: NonZeroU32,
    pub per_second: NonZeroU32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Distinct endpoints counted apart per source; the rest share one bucket.
    pub endpoints_per_source: usize,
    /// Buckets (sources and endpoints together) held at once; what comes beyond shares its pattern's bucket.
    pub buckets: usize,
    /// Failed authentications per network and minute that are recorded one by one; the rest are folded into one record.
    pub stranger_records_per_minute: u32,
    /// Every distinct window length in use, so that counts can be reloaded at start.
    pub window_lengths: Vec<u32>,
}

/// How records are kept until they are in the database. Its size and syncing are those of the start; `when_full` is as policy says now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalPolicy {
    pub syncing: Syncing,
    pub limits: crate::journal::Limits,
    pub when_full: WhenFull,
}

/// What becomes of calls that could not be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// They are refused: no call goes unrecorded.
    Refuse,
    /// They go on, and their records are shed: counted, and a gap in the numbers.
    Shed,
}

impl WhenFull {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Shed => "shed",
        }
    }
}

#[derive(Debug, Default)]
pub struct Targets {
    pub by_name: HashMap<Arc<str>, Arc<Target>>,
}

impl Targets {
    pub fn find(&self, name: &str) -> Option<&Arc<Target>> {
        self.by_name.get(name)
    }
}

#[derive(Debug)]
pub struct Target {
    pub name: TargetName,
    /// Where it can be called. None while the addresses depend on variables that are not set: calls answer `target_not_configured`.
    pub sites: Vec<Site>,
    pub terms: Terms,
    pub shape: BodyShape,
    /// Of calls through the direct door.
    pub inspect: Inspect,
    /// Members the shaped body gets at its top level unless the payload brings them.
    pub defaults: serde_json::Map<String, serde_json::Value>,
    /// From the first byte sent until the answer's head has arrived.
    pub timeout: Duration,
    /// How long an answer's body may stand still.
    pub idle_timeout: Duration,
    pub credentials: Credentials,
    /// Pass the caller's own `Authorization`, `apikey` and `x-eliza-*` on (never `x-eliza-key`).
    pub pass_authorization: bool,
    /// Who may call it; empty means every listed source.
    pub callers: Vec<NamePattern>,
    pub breaker: BreakerPolicy,
    pub link: Link,
    /// Where its name stands.
    pub place: Place,
}

impl Target {
    pub fn admits(&self, source: &str) -> bool {
        self.callers.is_empty() || self.callers.iter().any(|pattern| pattern.matches(source))
    }
}

/// Whether what a direct call carries is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inspect {
    /// Bodies are read whole and judged before the target sees a byte.
    #[default]
    Required,
    /// Bodies stream, and so does whatever another protocol carries: nothing of it is judged.
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyShape {
    /// The payload alone.
    Payload,
    /// `{action, data}`.
    ActionData,
    /// The envelope as it came.
    Envelope,
}

/// What the gatekeeper adds so that the target knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    None,
    /// As bearer token and as `apikey`, the way the platform's own client sends it.
    ServiceRole(Secret),
    /// Of a variable that policy names, as bearer token.
    Bearer(Secret),
}

/// Which calls are schema operations, who judges them, and who hears of those that were rejected.
#[derive(Debug)]
pub struct SchemaPolicy {
    /// `None`: nobody is asked.
    pub validator: Option<Arc<Target>>,
    /// What the validator is asked to do.
    pub action: Action,
    /// For its whole answer.
    pub timeout: Duration,
    pub fail: Fail,
    /// Whether SQL in the envelope's `operation` makes a call a schema operation.
    pub operations: bool,
    /// The actions that, beside SQL, do.
    pub actions: Vec<Action>,
    pub fixer: Option<Arc<Target>>,
    pub fix_cooldown: Duration,
    /// Where the validator is named.
    pub place: Place,
    /// Where it is written down what becomes of a call that the validator says nothing of.
    pub fail_place: Place,
}

/// What becomes of a schema operation that the validator says nothing of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fail {
    /// It passes.
    Open,
    /// It is refused.
    Closed,
    /// It is refused if it is DDL.
    ClosedForDdl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyPolicy {
    pub max_bytes: usize,
    /// From the head's arrival until the last byte of the body.
    pub read_timeout: Duration,
    /// Gatekeepers a call may pass through.
    pub max_hops: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// `*`, or the origins that are answered.
    pub origins: Vec<String>,
}
