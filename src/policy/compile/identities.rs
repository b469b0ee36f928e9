//! By which certificates a source is known: each certificate is of one entry, so that no two sources are known by the same.

use std::collections::HashMap;
use std::ops::Range;

use super::Variables;
use crate::identity::{CertificateName, SourceName};
use crate::policy::file::{self, Text};
use crate::policy::problems::Report;
use crate::policy::{CertificateNeed, Certified, SourceCertificates};

/// Without it no certificate of a caller is verified.
const CLIENT_CA: &str = "GATEKEEPER_TLS_CLIENT_CA";

/// The certificates of all entries so far, each with its place and the one name it lets in.
#[derive(Default)]
pub struct Identities {
    all: HashMap<CertificateName, (Range<usize>, Option<SourceName>)>,
}

impl Identities {
    /// What an entry says of certificates; none if it says nothing, or nothing right.
    pub fn of(&mut self, entry: &file::Source, report: &mut Report<'_>) -> Option<SourceCertificates> {
        let Some(list) = &entry.certificates else {
            if let Some(stated) = entry.require_certificate.as_ref().filter(|stated| *stated.get_ref()) {
                report.problem(
                    stated.span(),
                    "no certificate is named that could be required: name some, as in certificates = [\"spiffe://…\"]",
                );
            }
            return None;
        };
        if list.get_ref().is_empty() {
            report.problem(list.span(), "an empty list names no certificate: name some, or leave `certificates` out");
        }
        let only_name = match entry.names.get_ref().as_slice() {
            [name] => SourceName::parse(name.get_ref()),
            _ => None,
        };
        let names: Vec<_> = list.get_ref().iter().filter_map(|text| self.one(text, only_name.as_ref(), report)).collect();
        let is_required = entry.require_certificate.as_ref().is_some_and(|stated| *stated.get_ref());
        let need = if is_required { CertificateNeed::BesideKey } else { CertificateNeed::Either };
        (!names.is_empty()).then(|| SourceCertificates { names: names.into(), need })
    }

    fn one(&mut self, text: &Text, only_name: Option<&SourceName>, report: &mut Report<'_>) -> Option<CertificateName> {
        let name = report.parsed(text, certificate)?;
        if let Some((before, _)) = self.all.get(&name) {
            let place = report.place(before.clone());
            report.problem(text.span(), format!("certificate `{name}` is named in {place} already: it can be one entry's only"));
            return None;
        }
        self.all.insert(name.clone(), (text.span(), only_name.cloned()));
        Some(name)
    }

    pub fn warn_if_unverified(&self, variables: Variables<'_>, report: &mut Report<'_>) {
        if !self.all.is_empty() && variables(CLIENT_CA).is_none() {
            report.warn(format!("sources name certificates, but {CLIENT_CA} is not set: no caller's certificate is asked for or believed"));
        }
    }

    pub fn certified(self) -> Certified {
        self.all.into_iter().map(|(name, (_, source))| (name, source)).collect()
    }
}

fn certificate(text: &str) -> Result<CertificateName, String> {
    CertificateName::parse(text).ok_or_else(|| {
        format!("`{text}` names no certificate: write a URI such as spiffe://…, a DNS name without wildcards, or sha256: and 64 hex digits")
    })
}
