//! Every metric, each declared once; the words beside it are its help text. Labels come from bounded sets only.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `answered`, or the code of the refusal.
    pub outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct GateLabel {
    pub gate: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct TargetLabel {
    pub target: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct SiteLabel {
    pub target: String,
    /// As policy says it, its variables filled in.
    pub url: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ReloadLabel {
    /// `loaded` or `refused`.
    pub outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct FixLabel {
    /// `triggered`, `succeeded`, `failed`, or `no_room` for one that was not triggered.
    pub outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CutLabel {
    /// As docs/overload.md lists them.
    pub reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ListenerLabel {
    /// `data` or `ops`.
    pub listener: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct HandshakeLabel {
    pub listener: &'static str,
    /// `done`, `failed`, `too_slow`, or `not_tls`.
    pub outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct CertificateReloadLabel {
    pub listener: &'static str,
    /// `loaded` or `refused`.
    pub outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RoundLabel {
    /// `done` or `failed`.
    pub outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct DoorLabel {
    /// `envelope` or `direct`.
    pub door: &'static str,
}

macro_rules! metrics {
    ($($field:ident: $kind:ty = $make:expr, $name:literal, $help:literal;)*) => {
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            looking_up: Mutex<()>,
            usual: Usual,
            $(#[doc = $help] pub $field: $kind,)*
        }

        impl Default for Metrics {
            fn default() -> Self {
                let mut registry = Registry::with_prefix("gatekeeper");
                $(
                    let $field: $kind = $make;
                    registry.register($name, $help, $field.clone());
                )*
                Self { registry, looking_up: Mutex::default(), usual: Usual::default(), $($field,)* }
            }
        }
    };
}

const SECONDS: [f64; 14] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];
const BYTES: [f64; 8] = [256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 10_485_760.0];

metrics! {
    calls: Family<OutcomeLabel, Counter> = Family::default(), "calls", "Calls by how they ended: answered by their target, or the code of the refusal";
    calls_by_door: Family<DoorLabel, Counter> = Family::default(), "calls_by_door", "Calls by the door they came through: envelope or direct";
    would_deny: Family<GateLabel, Counter> = Family::default(), "would_deny", "Denials that did not stand because the gate only observes";
    call_seconds: Histogram = Histogram::new(SECONDS), "call_seconds", "From a call's arrival to the last byte of its answer";
    target_seconds: Histogram = Histogram::new(SECONDS), "target_seconds", "What of it was spent waiting for the target's head";
    overhead_seconds: Histogram = Histogram::new(SECONDS), "overhead_seconds", "What of it was spent in the gatekeeper, body reading included";
    request_bytes: Histogram = Histogram::new(BYTES), "request_bytes", "Size of the bodies of calls";
    turn_seconds: Histogram = Histogram::new(SECONDS), "turn_seconds", "How long what has arrived waits for its turn, asked fifty times a second: grows when more arrives than can be done";
    shed: Counter<u64, AtomicU64> = Counter::default(), "calls_shed", "Calls refused before anything was done about them, to keep the others fast; they are among those that ended as overloaded";
    connections: Gauge = Gauge::default(), "connections", "Connections of callers";
    connections_cut: Family<CutLabel, Counter> = Family::default(), "connections_cut", "Connections ended because of what their peers did or did not do, by reason";
    in_flight: Gauge = Gauge::default(), "in_flight", "Calls under way";
    records_written: Counter<u64, AtomicU64> = Counter::default(), "records_written", "Records that are in the database";
    records_dropped: Counter<u64, AtomicU64> = Counter::default(), "records_dropped", "Records lost: there was no room for them, they were damaged, or the database refused them";
    records_waiting: Gauge = Gauge::default(), "records_waiting", "Records on their way to the database, those that dead processes left included";
    journal_bytes: Gauge = Gauge::default(), "journal_bytes", "What records take up on the local disk until they are in the database, those that dead processes left included";
    journal_limit: Gauge = Gauge::default(), "journal_limit_bytes", "What they may take up";
    journal_oldest: Gauge<f64, AtomicU64> = Gauge::default(), "journal_oldest_seconds", "How long the oldest record that is not in the database has waited";
    journal_adopted: Gauge = Gauge::default(), "journal_adopted", "Journals of dead processes that are adopted and not yet carried over";
    journal_trouble: Gauge = Gauge::default(), "journal_trouble", "1 while the journal does not work as it should; the log and /health say why";
    journal_batches: Counter<u64, AtomicU64> = Counter::default(), "journal_batches", "Batches of records carried to the database";
    journal_failures: Counter<u64, AtomicU64> = Counter::default(), "journal_failures", "Batches that the database was not there for; they are tried again";
    journal_unconfirmed: Counter<u64, AtomicU64> = Counter::default(), "journal_unconfirmed", "Records that the disk has not confirmed in time, where policy wants it to";
    strangers_folded: Counter<u64, AtomicU64> = Counter::default(), "strangers_folded", "Failed authentications recorded as a count, not one by one";
    retention_rounds: Family<RoundLabel, Counter<u64, AtomicU64>> = Family::default(), "retention_rounds", "Rounds of letting go of old rows, by how they ended";
    retention_overdue: Gauge = Gauge::default(), "retention_overdue_tables", "Tables with rows that policy should have let go of by now";
    database_up: Gauge = Gauge::default(), "database_up", "Whether the database answered the last time it was asked";
    database_latency: Gauge<f64, AtomicU64> = Gauge::default(), "database_latency_seconds", "How long its last answer took";
    pool_checked_out: Gauge = Gauge::default(), "database_pool_checked_out", "Connections to the database in use";
    pool_most: Gauge = Gauge::default(), "database_pool_most", "Connections to the database there may be: pool size and overflow";
    security_events: Gauge = Gauge::default(), "security_events", "Security events of a risk above 70 within 24 hours";
    secrets_missing: Gauge = Gauge::default(), "secrets_missing", "Secrets that the policies use and that are not set";
    supabase_up: Gauge = Gauge::default(), "supabase_up", "0 while the host of SUPABASE_URL cannot be reached";
    target_up: Family<TargetLabel, Gauge> = Family::default(), "target_up", "Per target with a health path: whether it answered there";
    enforcing: Gauge = Gauge::default(), "enforcing", "1 while every gate's denials stand";
    gate_enforcing: Family<GateLabel, Gauge> = Family::default(), "gate_enforcing", "Per gate: 1 while its denials stand";
    policy_reloads: Family<ReloadLabel, Counter> = Family::default(), "policy_reloads", "How often policies were read again: loaded, or refused because something is wrong with them";
    policy_problems: Gauge = Gauge::default(), "policy_problems", "What is wrong with the policy files that should be in force; 0 while they are";
    audit_dropped: Counter<u64, AtomicU64> = Counter::default(), "audit_dropped", "Entries about operators' changes that are in the log but will not be in the database";
    audit_rows: Gauge = Gauge::default(), "audit_rows", "Rows that this process has sealed in the audit log: the number of its chain's head";
    audit_tampered: Gauge = Gauge::default(), "audit_tampered", "How often the last of them, or of another chain, was found changed, removed or forged: never 0 again until a restart";
    state_unkept: Gauge = Gauge::default(), "state_unkept", "1 while GATEKEEPER_STATE cannot be written: a restart without the database would forget what operators said";
    auto_fixes: Family<FixLabel, Counter> = Family::default(), "auto_fixes", "Fixes of rejected schema operations: triggered, succeeded, failed, or not triggered for want of room";
    tls_handshakes: Family<HandshakeLabel, Counter> = Family::default(), "tls_handshakes", "Per listener with TLS: how connections to it began; done, failed, too slow, or not TLS at all";
    tls_reloads: Family<CertificateReloadLabel, Counter> = Family::default(), "tls_reloads", "Per listener with TLS: how often changed certificates were put in force, or refused because something is wrong with them";
    tls_trouble: Family<ListenerLabel, Gauge> = Family::default(), "tls_trouble", "Per listener with TLS: 1 while its files hold something that cannot be used, so that what was loaded before stays in force";
    tls_certificate_days_left: Family<ListenerLabel, Gauge> = Family::default(), "tls_certificate_days_left", "Per listener with TLS: whole days until the certificate in force ends; below 0 once it has";
    limit_buckets: Gauge = Gauge::default(), "limit_buckets", "Buckets the limiter holds";
    breaker_state: Family<TargetLabel, Gauge> = Family::default(), "breaker_state", "Per target: 0 closed, 1 open, 2 trying";
    breaker_opened: Family<TargetLabel, Gauge> = Family::default(), "breaker_opened", "Per target: how often its breaker has opened";
    site_state: Family<SiteLabel, Gauge> = Family::default(), "target_url_state", "Per url of a target: 0 well, 1 on trial, 2 down by its health path, 3 left out because it kept failing";
    site_in_flight: Family<SiteLabel, Gauge> = Family::default(), "target_url_in_flight", "Per url of a target: calls under way there";
    site_calls: Family<SiteLabel, Gauge> = Family::default(), "target_url_calls", "Per url of a target: calls that set out for it since start, each try counted";
    site_failures: Family<SiteLabel, Gauge> = Family::default(), "target_url_failures", "Per url of a target: how many of them failed";
    site_ejections: Family<SiteLabel, Gauge> = Family::default(), "target_url_ejections", "Per url of a target: how often it was left out because it kept failing";
    target_retries: Family<TargetLabel, Gauge> = Family::default(), "target_retries", "Per target: calls sent again on its budget since start";
    target_retries_refused: Family<TargetLabel, Gauge> = Family::default(), "target_retries_refused", "Per target: calls not sent again because that would have been too many";
    target_in_flight: Family<TargetLabel, Gauge> = Family::default(), "target_in_flight", "Per target: calls under way";
    cache_answers: Family<TargetLabel, Gauge> = Family::default(), "cache_answers", "Per target whose answers are kept: how many";
    cache_bytes: Family<TargetLabel, Gauge> = Family::default(), "cache_bytes", "Per target whose answers are kept: what they take up";
    cache_hits: Family<TargetLabel, Gauge> = Family::default(), "cache_hits", "Per target whose answers are kept: calls answered with one since start";
    cache_misses: Family<TargetLabel, Gauge> = Family::default(), "cache_misses", "Per target whose answers are kept: calls that were made instead";
}

/// Counters that nearly every call raises, once there is one: to look one up by its label takes ten times as long as to raise it.
#[derive(Debug, Default)]
struct Usual {
    answered: OnceLock<Counter>,
    envelope: OnceLock<Counter>,
    direct: OnceLock<Counter>,
}

impl Metrics {
    /// A call that came through this door has ended like this.
    pub fn count_call(&self, door: &'static str, outcome: &'static str) {
        let (calls, by_door) = (OutcomeLabel { outcome }, DoorLabel { door });
        match outcome {
            "answered" => _ = self.usual.answered.get_or_init(|| self.calls.get_or_create_owned(&calls)).inc(),
            _ => _ = self.calls.get_or_create(&calls).inc(),
        }
        let find = || self.calls_by_door.get_or_create_owned(&by_door);
        match door {
            "envelope" => _ = self.usual.envelope.get_or_init(find).inc(),
            "direct" => _ = self.usual.direct.get_or_init(find).inc(),
            _ => _ = find().inc(),
        }
    }

    /// OpenMetrics text, with what is looked up only now. One after the other: nobody must find it half looked up.
    pub fn render_after(&self, look_up: impl FnOnce(&Self)) -> String {
        let _one_at_a_time = self.looking_up.lock().unwrap_or_else(PoisonError::into_inner);
        look_up(self);
        self.render()
    }

    /// OpenMetrics text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        match encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(error) => format!("# metrics cannot be written: {error}\n"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_counts_by_its_door_and_its_end_and_what_never_happened_does_not_show() {
        let metrics = Metrics::default();
        for (door, outcome) in [("envelope", "answered"), ("envelope", "unauthorized"), ("envelope", "answered"), ("other", "answered")] {
            metrics.count_call(door, outcome);
        }
        let text = metrics.render();
        let counted = |line: &str| text.lines().filter(|said| said.starts_with(line)).map(str::to_owned).collect::<Vec<_>>();
        let mut calls = counted("gatekeeper_calls_total{");
        calls.sort();
        assert_eq!(calls, ["gatekeeper_calls_total{outcome=\"answered\"} 3", "gatekeeper_calls_total{outcome=\"unauthorized\"} 1"]);
        let mut doors = counted("gatekeeper_calls_by_door_total{");
        doors.sort();
        assert_eq!(doors, ["gatekeeper_calls_by_door_total{door=\"envelope\"} 3", "gatekeeper_calls_by_door_total{door=\"other\"} 1"]);
    }

    #[test]
    fn a_metric_appears_with_its_help_and_value() {
        let metrics = Metrics::default();
        metrics.calls.get_or_create(&OutcomeLabel { outcome: "unauthorized" }).inc();
        let text = metrics.render();
        assert!(text.contains("# HELP gatekeeper_calls Calls by how they ended"), "{text}");
        assert!(text.contains("gatekeeper_calls_total{outcome=\"unauthorized\"} 1"), "{text}");
        assert!(text.contains("gatekeeper_records_dropped_total 0"), "{text}");
    }
}
