//! Whom policy keeps out.

use ipnet::IpNet;
use toml::Spanned;

use super::sources::of_listed;
use crate::blocklist::{self, Block, Subject};
use crate::policy::file::{self, Text};
use crate::policy::problems::Report;

pub fn compile(entries: &[Spanned<file::Block>], listed_sources: &[&str], report: &mut Report<'_>) -> Vec<Block> {
    let mut blocks = Vec::new();
    for entry in entries {
        let file::Block { networks, sources, reason, until } = entry.get_ref();
        if networks.is_empty() && sources.is_empty() {
            report.problem(entry.span(), "this keeps nobody out: name `networks` or `sources`");
        }
        report.not_empty(reason, "reason", "whoever wonders about the block reads it");
        let until = until.as_ref().and_then(|until| report.moment(until));
        let mut subjects: Vec<(&Text, Subject)> = Vec::new();
        for text in networks {
            subjects.extend(report.parsed(text, network).map(|network| (text, Subject::Network(network))));
        }
        for text in sources {
            subjects.extend(of_listed(text, listed_sources, report).map(|pattern| (text, Subject::Source(pattern))));
        }
        for (text, subject) in subjects {
            if subject.is_everything() {
                let message = format!("`{}` would keep everyone out: to stop all calls, stop the gatekeeper", text.get_ref());
                report.problem(text.span(), message);
            }
            blocks.push(Block { subject, reason: reason.get_ref().clone(), until, place: report.line(text.span()) });
        }
    }
    blocks
}

fn network(text: &str) -> Result<IpNet, String> {
    blocklist::network(text)
        .ok_or_else(|| format!("`{text}` is no network: write an address, or one with its length, as in \"203.0.113.0/24\""))
}
