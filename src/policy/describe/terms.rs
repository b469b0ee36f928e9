//! On which terms a target is called.

use serde_json::{Value, json};

use crate::policy::values::{in_words, size_in_words};
use crate::policy::{CachePolicy, Ejection, HealthCheck, Sharing, Terms};

pub fn terms(terms: &Terms) -> Value {
    let Terms { connect_timeout, total_timeout, retry, ejection, check, crowd, cache } = terms;
    let Ejection { failures, first, longest } = ejection;
    let HealthCheck { interval, timeout, fails, passes } = check;
    json!({
        "connect_timeout": in_words(*connect_timeout),
        "total_timeout": total_timeout.map_or_else(|| "off".to_owned(), in_words),
        "retry": retry.as_str(),
        "eject": { "failures": failures, "first": in_words(*first), "longest": in_words(*longest) },
        "health_check": { "interval": in_words(*interval), "timeout": in_words(*timeout), "fails": fails, "passes": passes },
        "max_in_flight": crowd.in_all,
        "max_in_flight_per_source": crowd.per_source,
        "cache": cache.as_ref().map(of_cache),
    })
}

fn of_cache(cache: &CachePolicy) -> Value {
    let CachePolicy { ttl, actions, max_bytes, sharing } = cache;
    let shared = *sharing == Sharing::AllSources;
    json!({ "ttl": in_words(*ttl), "actions": actions, "max": size_in_words(*max_bytes as u64), "shared": shared })
}
