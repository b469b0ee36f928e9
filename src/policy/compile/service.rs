//! The sections about the gatekeeper itself: its bounds, whom browsers may call it from.

use std::time::Duration;

use toml::Spanned;

use super::url;
use crate::journal::{Limits as JournalLimits, Syncing};
use crate::policy::file;
use crate::policy::problems::Report;
use crate::policy::{Allowance, BodyPolicy, Cors, JournalPolicy, Limits, Source, Sources, WhenFull, values};

/// A caller may hold a connection, and its share of memory, so long.
const LONGEST_READ: Duration = Duration::from_secs(600);

pub fn limits(section: file::Limits, sources: &Sources, report: &mut Report<'_>) -> Option<Limits> {
    let mut count = |number: Option<Spanned<u64>>, what: &str| {
        let number = number?;
        match usize::try_from(*number.get_ref()) {
            Ok(found) if found > 0 => Some(found),
            _ => {
                report.problem(number.span(), format!("{what} must be counted somewhere: write 1 or more"));
                None
            }
        }
    };
    let endpoints_per_source = count(section.endpoints_per_source, "a source's endpoints");
    let buckets = count(section.buckets, "sources and endpoints");
    Some(Limits {
        endpoints_per_source: endpoints_per_source?,
        buckets: buckets?,
        stranger_records_per_minute: section.stranger_records_per_minute?.into_inner(),
        window_lengths: window_lengths(sources),
    })
}

fn window_lengths(sources: &Sources) -> Vec<u32> {
    let allowances = |source: &Source| -> Vec<std::sync::Arc<Allowance>> {
        let own = source.overrides.iter().map(|o| &o.allowance);
        [&source.total, &source.endpoint].into_iter().chain(own).cloned().collect()
    };
    let all = sources.named.values().chain(&sources.patterns).flat_map(|source| allowances(source));
    let mut lengths: Vec<u32> = all.flat_map(|allowance| allowance.windows.iter().map(|w| w.secs).collect::<Vec<_>>()).collect();
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

pub fn body(section: file::Body, report: &mut Report<'_>) -> Option<BodyPolicy> {
    let max_bytes = section.max.and_then(|text| report.parsed(&text, values::size));
    let read_timeout = section.read_timeout.and_then(|text| report.parsed(&text, values::duration_up_to(LONGEST_READ)));
    let max_hops = section.max_hops.and_then(|hops| match *hops.get_ref() {
        0 => {
            report.problem(hops.span(), "with 0 hops no call comes through: write 1 or more");
            None
        }
        hops => Some(hops),
    });
    Some(BodyPolicy { max_bytes: max_bytes?, read_timeout: read_timeout?, max_hops: max_hops? })
}

/// The system itself writes about as often. Files that are written to the database wait for their sync too, and take up room meanwhile.
const LONGEST_SYNC: Duration = Duration::from_secs(60);
/// Below this, a journal is full before the database has answered once.
const SMALLEST_JOURNAL: u64 = 1 << 20;

pub fn journal(section: file::Journal, report: &mut Report<'_>) -> Option<JournalPolicy> {
    let syncing = report.parsed(&section.sync?, |text| match text {
        "os" => Ok(Syncing::Os),
        "always" => Ok(Syncing::Always),
        interval => match values::duration(interval) {
            Ok(_) => values::duration_up_to(LONGEST_SYNC)(interval).map(Syncing::Interval),
            Err(_) => Err(format!("`{text}` is no way to sync: write \"os\", \"always\" or an interval, as in \"1s\"")),
        },
    });
    let bytes = report.parsed(&section.size?, |text| match values::disk_size(text)? {
        small if small < SMALLEST_JOURNAL => Err(format!("`{text}` is too little for a journal: write at least \"1MiB\"")),
        bytes => Ok(bytes),
    });
    let when_full = report.parsed(&section.when_full?, |text| match text {
        "refuse" => Ok(WhenFull::Refuse),
        "shed" => Ok(WhenFull::Shed),
        _ => Err(format!("`{text}` is nothing to do when the journal is full: write \"refuse\" or \"shed\"")),
    });
    Some(JournalPolicy { syncing: syncing?, limits: JournalLimits { bytes: bytes? }, when_full: when_full? })
}

pub fn cors(section: file::Cors, report: &mut Report<'_>) -> Option<Cors> {
    let list = section.origins?;
    let mut origins = Vec::new();
    for text in list.get_ref() {
        if text.get_ref() == "*" && list.get_ref().len() > 1 {
            report.problem(text.span(), "`*` stands for every origin: let it stand alone, or list origins without it");
        }
        origins.extend(report.parsed(text, origin));
    }
    Some(Cors { origins })
}

/// As a browser spells it: scheme, host and port in small letters, nothing after.
fn origin(text: &str) -> Result<String, String> {
    let bare = text.split_once("://").is_some_and(|(_, host)| !host.contains('/'));
    let spelled = text.bytes().all(|b| !b.is_ascii_uppercase());
    if text == "*" || (bare && spelled && url::parse(text).is_ok()) {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is no origin: write \"*\", or scheme and host in small letters without a path, as in \"https://app.example\""))
}
