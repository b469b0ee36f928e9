//! Whom policy keeps out.

use toml::Spanned;

use super::sources::of_listed;
use crate::blocklist::{Block, Subject, network};
use crate::policy::file::{self, Text};
use crate::policy::problems::Report;
use crate::policy::values;

pub fn compile(entries: &[Spanned<file::Block>], listed_sources: &[&str], report: &mut Report<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for entry in entries {
        let file::Block { networks, sources, reason, until } = entry.get_ref();
        if networks.is_empty() && sources.is_empty() {
            report.problem(entry.span(), "this keeps nobody out: name `networks` or `sources`");
        }
        if reason.get_ref().trim().is_empty() {
            report.problem(reason.span(), "`reason` is empty: whoever wonders about the block reads it");
        }
        let until =
            until.as_ref().and_then(|until| values::moment(until.get_ref()).map_err(|message| report.problem(until.span(), message)).ok());
        let mut add = |text: &Text, subject: Option<Subject>, report: &mut Report<'_>| {
            let Some(subject) = subject else { return };
            if subject.is_everything() {
                report
                    .problem(text.span(), format!("`{}` would keep everyone out: to stop all calls, stop the gatekeeper", text.get_ref()));
            }
            blocks.push(Block { subject, reason: reason.get_ref().clone(), until, place: report.line(text.span()) });
        };
        for text in networks {
            let subject = report.parsed(text, |text| {
                network(text)
                    .ok_or_else(|| format!("`{text}` is no network: write an address, or one with its length, as in \"203.0.113.0/24\""))
            });
            add(text, subject.map(Subject::Network), report);
        }
        for text in sources {
            let subject = of_listed(text, listed_sources, report);
            add(text, subject.map(Subject::Source), report);
        }
    }
    blocks
}
