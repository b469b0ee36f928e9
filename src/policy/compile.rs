//! Files in, a [`super::Policy`] or every problem out.

mod blocks;
mod credentials;
mod exceptions;
mod glob;
mod identities;
mod limits;
mod link;
mod patterns;
mod reach;
mod retention;
mod schema;
mod service;
mod sources;
mod sql;
mod targets;
mod terms;
mod url;

use std::fmt::Write as _;

use toml::Spanned;

use super::problems::{File, Problems, Report, Texts};
use super::read::Sections;
use super::{Policy, file};
use crate::identity::Secret;
use crate::sha256::Sha256;
use reach::Whom;

/// Where `${NAME}` gets its value.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The secrets that policies may send to targets by another name than a variable's.
#[derive(Clone, Debug, Default)]
pub struct CredentialInputs {
    pub service_role: Option<Secret>,
}

/// What the files leave out is as `shipped`: sections key by key; tiers as a whole list; sources, targets, overrides, blocks and whatever sets
/// SQL rules apart for some calls not at all.
pub fn compile(files: &[File], shipped: &[File], variables: Variables<'_>, credentials: &CredentialInputs) -> Result<Policy, Problems> {
    let texts = Texts::of(files.iter().chain(shipped));
    let mut report = Report::on(&texts);
    let shipped_sections = Sections::read(texts.iter().skip(files.len()), &mut report);
    let own = Sections::read(texts.iter().take(files.len()), &mut report);

    let target_names = targets::names(&own.targets, &mut report);
    let tiers = if own.tiers.is_empty() { shipped_sections.tiers } else { own.tiers };
    let sources = sources::compile(&own.sources, &tiers, &own.overrides, &target_names, variables, &mut report);
    let listed: Vec<&str> =
        own.sources.iter().flat_map(|entry| entry.get_ref().names.get_ref()).map(|name| name.get_ref().as_str()).collect();
    let defaults = layered(own.target_defaults, shipped_sections.target_defaults, targets::layer);
    let (targets, secrets) = targets::compile(own.targets, &defaults, &listed, variables, credentials, &mut report);
    let blocks = blocks::compile(&own.blocks, &listed, &mut report);
    let whom = Whom { sources: &listed, targets: &target_names };
    let entries = sql::Entries { rules: own.rules, patterns: own.patterns, exceptions: own.exceptions };
    let sql = sql::compile(own.sql, shipped_sections.sql, entries, &whom, &mut report);
    let schema = schema::compile(own.schema, shipped_sections.schema, &target_names, &targets, &mut report);
    let limits = service::limits(layered(own.limits, shipped_sections.limits, file::Limits::or), &sources, &mut report);
    let longest = limits.as_ref().and_then(|limits| limits.window_lengths.last()).copied().unwrap_or_default();
    let journal = service::journal(layered(own.journal, shipped_sections.journal, file::Journal::or), &mut report);
    let kept = layered(own.retention, shipped_sections.retention, file::Retention::or);
    let retention = retention::compile(kept, &own.tables, &shipped_sections.tables, longest, &mut report);
    let body = service::body(layered(own.body, shipped_sections.body, file::Body::or), &mut report);
    let cors = service::cors(layered(own.cors, shipped_sections.cors, file::Cors::or), &mut report);

    let warnings = report.finish()?;
    match (sql, schema, limits, journal, retention, body, cors) {
        (Some(sql), Some(schema), Some(limits), Some(journal), Some(retention), Some(body), Some(cors)) => {
            let fingerprint = fingerprint(files.iter().chain(shipped)).into();
            Ok(Policy { fingerprint, sources, targets, secrets, limits, sql, schema, blocks, body, journal, retention, cors, warnings })
        }
        // Only a build that ships broken policies comes here; a test keeps it from shipping.
        _ => Err(Problems::one("policies", "the shipped policies leave out a key that has no other default")),
    }
}

fn layered<T: Default>(own: Option<Spanned<T>>, shipped: Option<Spanned<T>>, or: fn(T, T) -> T) -> T {
    let [own, shipped] = [own, shipped].map(|section| section.map(Spanned::into_inner).unwrap_or_default());
    or(own, shipped)
}

/// What sets the files that the binary carries apart in every place that is named.
pub const CARRIED: &str = "shipped ";

/// Names and texts with their lengths, so that no two sets of files hash the same bytes. The shipped files are the same in a directory.
fn fingerprint<'a>(files: impl Iterator<Item = &'a File>) -> String {
    let mut hash = Sha256::new();
    for file in files {
        for part in [file.name.strip_prefix(CARRIED).unwrap_or(&file.name), &file.text] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    hash.finish().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
