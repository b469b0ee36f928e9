//! Reading variables: `NAME`, or `NAME_FILE` naming a file that holds the value, as secret stores mount them.

use std::fmt;
use std::path::Path;

use super::table;
use crate::identity::Secret;

/// The largest value a `NAME_FILE` may hold.
const FILE_LIMIT: u64 = 64 * 1024;

type Lookup<'a> = dyn Fn(&str) -> Option<String> + Send + Sync + 'a;

/// Where values come from: the process's environment, or a test's map.
pub struct Environment<'a> {
    lookup: Box<Lookup<'a>>,
}

impl<'a> Environment<'a> {
    pub fn process() -> Environment<'static> {
        // What is not UTF-8 is kept as something that no variable accepts, instead of being taken for unset.
        Environment::from_lookup(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'a) -> Self {
        Self { lookup: Box::new(lookup) }
    }

    /// The value of a variable, its file's, or its default. An empty value is no value.
    pub fn value(&self, problems: &mut Problems, name: &str) -> Option<String> {
        let direct = (self.lookup)(name).filter(|_| self.holds(name));
        let file_name = format!("{name}_FILE");
        let file = (self.lookup)(&file_name).filter(|value| !value.trim().is_empty());
        match (direct, file) {
            (Some(_), Some(_)) => {
                problems.add(name, "is set twice, directly and by its _FILE: keep one");
                None
            }
            (Some(value), None) => Some(value.trim().to_owned()),
            (None, Some(path)) => match read_value(Path::new(&path)) {
                Ok(value) => Some(value),
                Err(why) => {
                    problems.add(&file_name, &why);
                    None
                }
            },
            (None, None) => table::default_of(name).map(str::to_owned),
        }
    }

    /// A variable that policies name; outside the table, so without a default and without complaint.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.value(&mut Problems::default(), name)
    }

    /// The same for one that is secret.
    pub fn secret_variable(&self, name: &str) -> Option<Secret> {
        self.variable(name).map(|value| Secret::new(&value))
    }

    pub(super) fn secret(&self, problems: &mut Problems, name: &str) -> Option<Secret> {
        let value = self.value(problems, name)?;
        if value.bytes().any(|b| !(0x21..0x7f).contains(&b)) {
            problems.add(name, "must be printable ASCII without blanks: it travels in a header");
            return None;
        }
        Some(Secret::new(&value))
    }

    /// The same, and an empty file is no secret: what may come and go must have a place while it is not there.
    pub(super) fn secret_or_empty(&self, problems: &mut Problems, name: &str) -> Option<Secret> {
        let path = (self.lookup)(&format!("{name}_FILE")).filter(|path| !path.trim().is_empty());
        let is_empty = path.is_some_and(|path| std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == 0));
        if is_empty && !self.holds(name) { None } else { self.secret(problems, name) }
    }

    /// Whether the variable itself is set, and no file in its place.
    pub(super) fn holds(&self, name: &str) -> bool {
        (self.lookup)(name).is_some_and(|value| !value.trim().is_empty())
    }

    pub(super) fn parsed<T>(&self, problems: &mut Problems, name: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let value = self.value(problems, name)?;
        match parse(&value) {
            Ok(parsed) => Some(parsed),
            Err(why) => {
                problems.add(name, &why);
                None
            }
        }
    }
}

fn read_value(path: &Path) -> Result<String, String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {}", error.kind()))?;
    file.take(FILE_LIMIT + 1).read_to_string(&mut text).map_err(|error| format!("cannot be read: {}", error.kind()))?;
    if text.len() as u64 > FILE_LIMIT {
        return Err(format!("names a file of more than {FILE_LIMIT} bytes"));
    }
    let value = text.trim();
    if value.is_empty() { Err("names an empty file".into()) } else { Ok(value.to_owned()) }
}

/// One thing wrong with one variable. Holds no value: values may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub variable: String,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.message)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, variable: &str, message: &str) {
        self.0.push(Problem { variable: variable.to_owned(), message: message.to_owned() });
    }

    pub(super) fn name(&self, variable: &str) -> bool {
        self.0.iter().any(|problem| problem.variable == variable || problem.variable.strip_suffix("_FILE") == Some(variable))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
