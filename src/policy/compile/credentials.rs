//! What the gatekeeper adds to a call so that the target knows it, and where it may never go.

use std::collections::BTreeMap;
use std::ops::Range;

use http::Uri;

use super::url::{self, Expanded, Origin};
use super::{CredentialInputs, Variables};
use crate::identity::{Secret, TargetName};
use crate::policy::Credentials;
use crate::policy::file::{Authorization, Injected, Target, Text};
use crate::policy::problems::Report;

/// The variable whose origin alone gets the service role key.
const PLATFORM: &str = "SUPABASE_URL";
/// The variable that holds it.
const SERVICE_ROLE: &str = "SUPABASE_SERVICE_ROLE_KEY";

/// How the targets of one entry are given credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    Nothing,
    /// The caller's own.
    Pass,
    ServiceRole,
    /// Of the variable of this name, which holds this, if anything.
    Bearer {
        name: String,
        secret: Option<Secret>,
    },
}

/// Something that is not set, by what the targets lack without it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Missing {
    Address(String),
    /// One of several addresses.
    Site(String),
    ServiceRole,
    Bearer(String),
}

pub struct Guard<'a> {
    variables: Variables<'a>,
    service_role: Option<&'a Secret>,
    platform: Option<Origin>,
    /// How many targets lack what is missing.
    missing: BTreeMap<Missing, usize>,
    /// The variables whose secrets go to targets, and whether they are set.
    used: BTreeMap<String, bool>,
}

impl<'a> Guard<'a> {
    pub fn new(variables: Variables<'a>, inputs: &'a CredentialInputs) -> Self {
        let platform = variables(PLATFORM).and_then(|text| url::parse(text.trim()).ok()).and_then(|uri| Origin::of(&uri));
        Self { variables, service_role: inputs.service_role.as_ref(), platform, missing: BTreeMap::new(), used: BTreeMap::new() }
    }

    pub fn choose(&self, settings: &Target, report: &mut Report<'_>) -> Option<Choice> {
        let passes = settings.authorization.as_ref().is_some_and(|stated| *stated.get_ref() == Authorization::Pass);
        let stated = settings.credentials.as_ref().map(|stated| (*stated.get_ref(), stated.span()));
        match (passes, stated, &settings.bearer) {
            (true, Some((Injected::ServiceRole, span)), _) => contradiction(span, report),
            (true, _, Some(bearer)) => contradiction(bearer.span(), report),
            (true, _, None) => Some(Choice::Pass),
            (false, Some((_, _)), Some(bearer)) => {
                report.problem(bearer.span(), "`bearer` and `credentials` both say what the target gets: keep one of them");
                None
            }
            (false, None, Some(bearer)) => self.bearer(bearer, report),
            (false, Some((Injected::ServiceRole, _)), None) => Some(Choice::ServiceRole),
            (false, Some((Injected::None, _)) | None, None) => Some(Choice::Nothing),
        }
    }

    fn bearer(&self, bearer: &Text, report: &mut Report<'_>) -> Option<Choice> {
        let name = report.parsed(bearer, |text| url::variable_name(text).map(str::to_owned))?;
        let value = (self.variables)(&name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        if value.as_ref().is_some_and(|value| !value.bytes().all(|b| b.is_ascii_graphic())) {
            report.problem(bearer.span(), format!("what `{name}` holds fits into no header: it must be printable ASCII without blanks"));
            return None;
        }
        Some(Choice::Bearer { name, secret: value.as_deref().map(Secret::new) })
    }

    /// Where a target is, each address with the text that says so. None if that is not known, and then either a problem or counted as
    /// missing.
    pub fn addresses<'t>(&mut self, templates: &'t [Text], target: &TargetName, report: &mut Report<'_>) -> Vec<(&'t Text, Uri)> {
        let (mut found, mut unset) = (Vec::new(), Vec::new());
        for template in templates {
            match report.parsed(template, |text| url::expand(text, target.as_str(), self.variables)) {
                Some(Expanded::Full(text)) => {
                    let address = report.parsed(template, |template| {
                        let named =
                            |message| if template.contains("${") { format!("with its variables filled in, {message}") } else { message };
                        url::parse(&text).map_err(named)
                    });
                    found.extend(address.map(|address| (template, address)));
                }
                Some(Expanded::Unset(name)) => unset.push(name),
                None => {}
            }
        }
        let missing = if found.is_empty() { Missing::Address } else { Missing::Site };
        unset.sort();
        unset.dedup();
        unset.into_iter().for_each(|name| self.count(missing(name)));
        found
    }

    /// Keeps secrets away from where they do not belong.
    pub fn check(&mut self, choice: &Choice, addresses: &[(&Text, Uri)], report: &mut Report<'_>) {
        let is_service_role = match choice {
            Choice::Nothing | Choice::Pass => return,
            Choice::ServiceRole => true,
            // The service role key by another name is the service role key.
            Choice::Bearer { secret, .. } => secret.is_some() && secret.as_ref() == self.service_role,
        };
        match choice {
            Choice::ServiceRole if self.service_role.is_none() => self.count(Missing::ServiceRole),
            Choice::Bearer { name, secret: None } => self.count(Missing::Bearer(name.clone())),
            _ => {}
        }
        if addresses.is_empty() {
            return;
        }
        // A target without an address is not called, so what it would be called with is not missed.
        match choice {
            Choice::Nothing | Choice::Pass => {}
            Choice::ServiceRole => self.uses(SERVICE_ROLE, self.service_role.is_some()),
            Choice::Bearer { name, secret } => self.uses(name, secret.is_some()),
        }
        for (url, address) in addresses {
            let Some(origin) = Origin::of(address) else { continue };
            if is_service_role && self.platform.as_ref() != Some(&origin) {
                let message = format!(
                    "the service role key goes to the origin of {PLATFORM} only, and this is another: write credentials = \"none\", or \
                     bearer = \"NAME\" for a secret of the target's own"
                );
                report.problem(url.span(), message);
            }
            if origin.is_exposed() {
                report.problem(
                    url.span(),
                    "credentials would travel over plain http off this machine: use https, or write credentials = \"none\"",
                );
            }
        }
    }

    pub fn credentials(&self, choice: &Choice) -> Credentials {
        match choice {
            Choice::Nothing | Choice::Pass | Choice::Bearer { secret: None, .. } => Credentials::None,
            Choice::ServiceRole => self.service_role.map_or(Credentials::None, |key| Credentials::ServiceRole(key.clone())),
            Choice::Bearer { secret: Some(secret), .. } => Credentials::Bearer(secret.clone()),
        }
    }

    fn uses(&mut self, name: &str, is_set: bool) {
        self.used.insert(name.to_owned(), is_set);
    }

    /// The variables whose secrets go to targets that can be called, and whether they are set.
    pub fn used(self) -> BTreeMap<String, bool> {
        self.used
    }

    fn count(&mut self, missing: Missing) {
        *self.missing.entry(missing).or_default() += 1;
    }

    pub fn warn_of_missing(&self, report: &mut Report<'_>) {
        for (missing, count) in &self.missing {
            let targets = if *count == 1 { "1 target".to_owned() } else { format!("{count} targets") };
            report.warn(match missing {
                Missing::Address(name) => {
                    format!("{name} is not set: no address for {targets}, calls there answer 503 target_not_configured")
                }
                Missing::Site(name) => format!("{name} is not set: {targets} called without the addresses that it is part of"),
                Missing::ServiceRole => format!("no service role key is set: {targets} called without credentials"),
                Missing::Bearer(name) => format!("{name} is not set: {targets} called without credentials"),
            });
        }
    }
}

fn contradiction(span: Range<usize>, report: &mut Report<'_>) -> Option<Choice> {
    report.problem(span, "authorization = \"pass\" already says that the target gets the caller's own: keep one of them");
    None
}
