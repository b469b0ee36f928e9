//! What operators rely on when they write policies: the shipped ones and every preset work as they are, examples of
//! rules hold, limits mean what they say, secrets stay where they belong, and every mistake is named at once, with file and line.

mod blocks;
mod describe;
mod directory;
mod exceptions;
mod limits;
mod mistakes;
mod places;
mod shipped;
mod sql;
mod targets;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use eliza_gatekeeper::identity::{Secret, SourceName};
use eliza_gatekeeper::policy::load::{CredentialInputs, Origin, load};
use eliza_gatekeeper::policy::problems::Problems;
use eliza_gatekeeper::policy::{Allowance, Policy, Source};

const PLATFORM: &str = "https://project.supabase.co";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A policy directory and the environment it is loaded in.
pub struct Given {
    directory: tempfile::TempDir,
    variables: HashMap<&'static str, String>,
    service_role: Option<&'static str>,
}

pub fn given<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Given {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    Given { directory, variables: HashMap::from([("SUPABASE_URL", PLATFORM.to_owned())]), service_role: Some("service-role-key") }
}

/// The shipped files, some of them replaced or added.
fn shipped_with(changes: &[(&str, &str)]) -> Given {
    let shipped = files_of(&root().join("policies"));
    let kept = shipped.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    given(kept.chain(changes.iter().copied()))
}

fn files_of(directory: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let tomls = entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    tomls.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(&path).unwrap())).collect()
}

impl Given {
    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.insert(name, value.to_owned());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    pub fn load(&self) -> Result<Policy, Problems> {
        self.load_from(&Origin::Directory(self.directory.path().to_owned()))
    }

    pub fn load_from(&self, origin: &Origin) -> Result<Policy, Problems> {
        let credentials = CredentialInputs { service_role: self.service_role.map(Secret::new) };
        load(origin, &|name| self.variables.get(name).cloned(), &credentials)
    }

    fn problems(&self) -> Vec<String> {
        self.load().err().map(|problems| problems.as_slice().iter().map(ToString::to_string).collect()).unwrap_or_default()
    }
}

fn source<'a>(policy: &'a Policy, name: &str) -> &'a Source {
    policy.sources.find(&SourceName::parse(name).unwrap()).unwrap_or_else(|| panic!("{name} is not listed"))
}

fn listed(policy: &Policy, name: &str) -> bool {
    policy.sources.find(&SourceName::parse(name).unwrap()).is_some()
}

/// `100/60s 1000/3600s, burst 100+20/s`
fn shown(allowance: &Allowance) -> String {
    let windows: Vec<String> = allowance.windows.iter().map(|window| format!("{}/{}s", window.limit, window.secs)).collect();
    let burst = allowance.burst.map_or("no burst".to_owned(), |burst| format!("burst {}+{}/s", burst.size, burst.per_second));
    format!("{}, {burst}", windows.join(" "))
}

/// A file that is sound, for the rest of which a case goes wrong.
pub const SOUND: &str = "[[source]]\nnames = ['a']\n[[target]]\nnames = ['t', 'schema-manager']\n";
