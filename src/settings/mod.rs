//! What is fixed at start: the process settings, from the environment. (What may change while running is policy.)
//!
//! [`table::VARIABLES`] is the one list; `--help`, `check` and the README are printed from it. Reading goes through
//! [`Environment`], so a test passes a map, and reports every problem at once.

mod bounds;
pub mod environment;
mod secrets;
pub mod table;
mod tls;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

pub use bounds::{Bounds, Pace};
pub use environment::{Environment, Problem, Problems};
pub use secrets::Secrets;
pub use tls::{PairFiles, TlsSettings};

use crate::blocklist::network;
use crate::seal::AuditKey;
use crate::telemetry::logging::{Format, Level};

/// Everything `serve` needs.
#[derive(Clone, Debug)]
pub struct Settings {
    pub listen: SocketAddr,
    pub ops_listen: SocketAddr,
    pub tls: TlsSettings,
    pub secrets: Secrets,
    /// The platform behind the shipped targets, if it is set.
    pub platform: Option<PlatformAddress>,
    pub enforce: Enforce,
    pub off_credentials: OffCredentials,
    pub bounds: Bounds,
    /// Where proxies call from that are believed.
    pub trusted_proxies: Vec<IpNet>,
    pub database: DatabaseSettings,
    pub policies: PolicySettings,
    /// Where what operators said is kept while the database is away.
    pub state: PathBuf,
    pub journal: Option<PathBuf>,
    /// The key of the audit log, if it does not lie in the state directory.
    pub audit_key: Option<AuditKey>,
    pub log: LogSettings,
    /// Doubtful, not wrong.
    pub warnings: Vec<String>,
}

/// Where the platform is reached: what is left of `SUPABASE_URL` for asking whether anybody is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformAddress {
    /// Without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
}

/// Whether denials stand from the start. Changing it while running is the operators' live toggle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforce {
    On,
    Off,
}

/// What callers that failed authentication are forwarded with while enforcement is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffCredentials {
    /// Their own `Authorization` and nothing of ours.
    Own,
    /// The target's usual credentials.
    All,
}

/// All that a command needs which talks to the database alone.
#[derive(Clone, Debug)]
pub struct DatabaseSettings {
    pub url: DatabaseUrl,
    pub pool_size: u32,
    pub max_overflow: u32,
    pub migrate: Migrate,
}

/// Whether `serve` may change the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migrate {
    AtStart,
    Never,
}

/// Prints without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with("sqlite:") || text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self(text.to_owned()));
        }
        Err("must begin with sqlite:// or postgres://".into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Nothing before an `@` is shown, and nothing of the query: either may hold a password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, rest)) = self.0.split_once("://").filter(|(scheme, _)| *scheme != "sqlite") else { return f.write_str(&self.0) };
        let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
        if parameters.contains('@') {
            // Where the password ends is anybody's guess.
            return write!(f, "{scheme}://***");
        }
        let (user, host) = place.rsplit_once('@').map_or(("", place), |(_, host)| ("***@", host));
        // One may stand among the parameters, too.
        write!(f, "{scheme}://{user}{host}{}", if parameters.is_empty() { "" } else { "?***" })
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Clone, Debug)]
pub struct PolicySettings {
    pub directory: Option<PathBuf>,
}

/// What proves the audit log.
#[derive(Clone, Debug)]
pub struct AuditSettings {
    pub key: Option<AuditKey>,
    pub state: PathBuf,
}

#[derive(Clone, Debug)]
pub struct LogSettings {
    pub level: Level,
    pub format: Format,
}

impl Settings {
    pub fn read(environment: &Environment<'_>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut warnings = Vec::new();
        let p = &mut problems;

        let listen = environment.parsed(p, "GATEKEEPER_LISTEN", address);
        let ops_listen = environment.parsed(p, "GATEKEEPER_OPS_LISTEN", address);
        if let (Some(data), Some(ops)) = (listen, ops_listen) {
            let one_port = environment.parsed(p, "GATEKEEPER_ONE_PORT", truth).unwrap_or(false);
            if data == ops && data.port() != 0 && !data.ip().is_loopback() && !one_port {
                p.add(
                    "GATEKEEPER_OPS_LISTEN",
                    "is the address of calls too, and not on loopback: give it its own, or say GATEKEEPER_ONE_PORT=true",
                );
            }
        }

        let shared = listen.zip(ops_listen).is_some_and(|(data, ops)| data == ops && data.port() != 0);
        let tls = TlsSettings::collect(environment, p, shared);

        let secrets = Secrets::collect(environment, p, &mut warnings);
        let platform = environment.parsed(p, "SUPABASE_URL", platform);
        let enforce = enforcement(environment, p, &mut warnings);
        let off_credentials = environment.parsed(p, "GATEKEEPER_ENFORCE_OFF_CREDENTIALS", |text| match text {
            "own" => Ok(OffCredentials::Own),
            "all" => Ok(OffCredentials::All),
            _ => Err("must be own or all".into()),
        });
        if environment.value(p, "REDIS_URL").is_some() {
            p.add("REDIS_URL", "is set, but limits shared between instances are not available yet: unset it");
        }

        let bounds = Bounds::collect(environment, p);
        let trusted_proxies = environment.parsed(p, "GATEKEEPER_TRUSTED_PROXIES", networks).unwrap_or_default();
        let database = DatabaseSettings::collect(environment, p);
        let policies = PolicySettings { directory: environment.value(p, "GATEKEEPER_POLICIES").map(PathBuf::from) };
        let AuditSettings { key: audit_key, state } = AuditSettings::collect(environment, p);
        let is_shared = |key: &AuditKey| {
            secrets.iter().flat_map(Secrets::callers).any(|shared| AuditKey::parse(shared.reveal()).ok().as_ref() == Some(key))
        };
        if audit_key.as_ref().is_some_and(is_shared) {
            p.add("GATEKEEPER_AUDIT_KEY", "is the same as INTERNAL_ELIZA_KEY: every caller could seal rows");
        }
        let log = LogSettings::collect(environment, p);

        match (listen, ops_listen, secrets, enforce, off_credentials, database, log) {
            (Some(listen), Some(ops_listen), Some(secrets), Some(enforce), Some(off_credentials), Some(database), Some(log))
                if p.is_empty() =>
            {
                Ok(Self {
                    listen,
                    ops_listen,
                    tls,
                    secrets,
                    platform,
                    enforce,
                    off_credentials,
                    bounds,
                    trusted_proxies,
                    database,
                    policies,
                    state,
                    journal: environment.value(p, "GATEKEEPER_JOURNAL").map(PathBuf::from),
                    audit_key,
                    log,
                    warnings,
                })
            }
            _ => Err(problems),
        }
    }
}

/// What of all this is read again at SIGHUP.
#[derive(Clone, Debug)]
pub struct Changeable {
    pub enforce: Enforce,
    pub level: Level,
    pub secrets: Secrets,
}

impl Changeable {
    /// With everything else, so that nothing comes into force that would not let the gatekeeper start.
    pub fn read(environment: &Environment<'_>) -> Result<Self, Problems> {
        let Settings { enforce, log, secrets, .. } = Settings::read(environment)?;
        Ok(Self { enforce, level: log.level, secrets })
    }
}

impl DatabaseSettings {
    pub fn read(environment: &Environment<'_>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        Self::collect(environment, &mut problems).filter(|_| problems.is_empty()).ok_or(problems)
    }

    fn collect(environment: &Environment<'_>, p: &mut Problems) -> Option<Self> {
        let url = environment.parsed(p, "DATABASE_URL", DatabaseUrl::parse);
        let pool_size = environment.parsed(p, "DATABASE_POOL_SIZE", |t| number(t, 1, 1000));
        let max_overflow = environment.parsed(p, "DATABASE_MAX_OVERFLOW", |t| number(t, 0, 1000));
        let migrate = environment.parsed(p, "GATEKEEPER_MIGRATE", truth).map(|yes| if yes { Migrate::AtStart } else { Migrate::Never });
        Some(Self {
            url: url?,
            pool_size: u32::try_from(pool_size?).ok()?,
            max_overflow: u32::try_from(max_overflow?).ok()?,
            migrate: migrate?,
        })
    }
}

impl Settings {
    /// Where the journals lie: that of this process, and those that others left.
    pub fn journals(&self) -> PathBuf {
        self.journal.clone().unwrap_or_else(|| self.state.join("journal"))
    }
}

impl AuditSettings {
    pub fn read(environment: &Environment<'_>) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let settings = Self::collect(environment, &mut problems);
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    fn collect(environment: &Environment<'_>, p: &mut Problems) -> Self {
        Self {
            key: environment.parsed(p, "GATEKEEPER_AUDIT_KEY", |text| AuditKey::parse(text).map_err(str::to_owned)),
            state: environment.value(p, "GATEKEEPER_STATE").map(PathBuf::from).unwrap_or_default(),
        }
    }
}

impl LogSettings {
    fn collect(environment: &Environment<'_>, p: &mut Problems) -> Option<Self> {
        let level = environment.parsed(p, "LOG_LEVEL", level);
        let format = environment.parsed(p, "LOG_FORMAT", |text| match text {
            "auto" => Ok(Format::Auto),
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            _ => Err("must be auto, text or json".into()),
        });
        Some(Self { level: level?, format: format? })
    }
}

/// `GATEKEEPER_ENFORCE`, and the original's testing mode as another word for off, which production does not know.
fn enforcement(environment: &Environment<'_>, p: &mut Problems, warnings: &mut Vec<String>) -> Option<Enforce> {
    let enforce = environment.parsed(p, "GATEKEEPER_ENFORCE", truth)?;
    let testing = environment.parsed(p, "GATEKEEPER_TESTING_MODE", truth)?;
    if testing {
        if environment.value(p, "GATEKEEPER_ENV").is_some_and(|env| env.eq_ignore_ascii_case("production")) {
            p.add("GATEKEEPER_TESTING_MODE", "is not for production: use GATEKEEPER_ENFORCE=false, which is recorded");
        }
        warnings.push("GATEKEEPER_TESTING_MODE is the old word for GATEKEEPER_ENFORCE=false".into());
    }
    if !enforce || testing {
        warnings.push("enforcement is OFF: every gate judges and records, none refuses".into());
        return Some(Enforce::Off);
    }
    Some(Enforce::On)
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "must be an address and a port, such as 127.0.0.1:8080".into())
}

fn level(text: &str) -> Result<Level, String> {
    Level::parse(text).ok_or_else(|| Level::WORDS.into())
}

/// The words never hold the text: it may hold a password.
fn platform(text: &str) -> Result<PlatformAddress, String> {
    let url: Option<http::Uri> = text.parse().ok();
    let read = url.as_ref().and_then(|url| {
        let port = match url.scheme_str()? {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let host = url.host().filter(|host| !host.is_empty())?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some(PlatformAddress { host: bare.to_owned(), port: url.port_u16().unwrap_or(port) })
    });
    read.ok_or_else(|| "must be an http or https address, such as https://project.supabase.co".into())
}

fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let one = |text: &str| network(text.trim()).filter(|network| network.prefix_len() > 0);
    text.split(',')
        .map(one)
        .collect::<Option<_>>()
        .ok_or_else(|| "must be networks, such as 10.0.0.0/8,192.0.2.7, and not all there are".into())
}

fn truth(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

/// Up to an hour.
fn seconds(environment: &Environment<'_>, p: &mut Problems, name: &str) -> Duration {
    Duration::from_secs(environment.parsed(p, name, |text| number(text, 0, 3600)).unwrap_or(0) as u64)
}

fn number(text: &str, least: usize, most: usize) -> Result<usize, String> {
    text.parse().ok().filter(|n| (least..=most).contains(n)).ok_or_else(|| format!("must be a whole number from {least} to {most}"))
}
