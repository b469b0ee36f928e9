//! What the environment says is understood whole or refused whole: every problem at once, no default key, no value of a secret shown.

use std::collections::HashMap;
use std::io::Write;

use eliza_gatekeeper::settings::table::VARIABLES;
use eliza_gatekeeper::settings::{Enforce, Environment, Migrate, OffCredentials, Problems, Settings};
use tempfile::NamedTempFile;

type Variables<'a> = &'a [(&'a str, &'a str)];

const KEY: (&str, &str) = ("INTERNAL_ELIZA_KEY", "a-key-that-is-long-enough");

fn read(variables: Variables<'_>) -> Result<Settings, Problems> {
    let map: HashMap<String, String> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Settings::read(&Environment::from_lookup(|name| map.get(name).cloned()))
}

/// The variables that are complained about.
fn blamed(variables: Variables<'_>) -> Vec<String> {
    read(variables).map(|_| Vec::new()).unwrap_or_else(|problems| problems.0.into_iter().map(|problem| problem.variable).collect())
}

#[test]
fn a_key_is_all_that_must_be_said() {
    let settings = read(&[KEY]).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.ops_listen.to_string(), "127.0.0.1:9090");
    assert_eq!(settings.database.url.reveal(), "sqlite://data/gatekeeper.db");
    assert_eq!(settings.database.migrate, Migrate::AtStart);
    assert_eq!((settings.enforce, settings.off_credentials), (Enforce::On, OffCredentials::Own));
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
    assert_eq!(blamed(&[]), ["INTERNAL_ELIZA_KEY"]);
}

#[test]
fn every_problem_is_told_at_once() {
    let wrong = [
        ("GATEKEEPER_LISTEN", "here"),
        ("GATEKEEPER_ENFORCE", "perhaps"),
        ("DATABASE_URL", "mysql://x"),
        ("GATEKEEPER_MAX_IN_FLIGHT", "0"),
        ("GATEKEEPER_ENFORCE_OFF_CREDENTIALS", "some"),
        ("LOG_LEVEL", "loud"),
        ("REDIS_URL", "redis://x"),
        ("GATEKEEPER_MIGRATE", "1"),
    ];
    let mut told = blamed(&wrong);
    told.sort();
    let mut expected: Vec<&str> = wrong.iter().map(|(name, _)| *name).chain(["INTERNAL_ELIZA_KEY"]).collect();
    expected.sort_unstable();
    assert_eq!(told, expected);
}

#[test]
fn what_is_refused_and_what_is_not() {
    let published = concat!("eliza-internal", "-key-2025");
    let cases: [(Variables<'_>, &[&str]); 16] = [
        (&[("INTERNAL_ELIZA_KEY", published)], &["INTERNAL_ELIZA_KEY"]),
        (&[KEY, ("INTERNAL_ELIZA_KEY_PREVIOUS", published)], &["INTERNAL_ELIZA_KEY_PREVIOUS"]),
        (&[("INTERNAL_ELIZA_KEY", "two words")], &["INTERNAL_ELIZA_KEY"]),
        (&[("INTERNAL_ELIZA_KEY", "  ")], &["INTERNAL_ELIZA_KEY"]),
        (&[KEY, ("SUPABASE_SERVICE_ROLE_KEY", KEY.1)], &["SUPABASE_SERVICE_ROLE_KEY"]),
        (&[KEY, ("GATEKEEPER_ENFORCE", "FALSE")], &[]),
        (&[KEY, ("GATEKEEPER_ENFORCE", "0")], &["GATEKEEPER_ENFORCE"]),
        (&[KEY, ("GATEKEEPER_TESTING_MODE", "true")], &[]),
        (&[KEY, ("GATEKEEPER_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.7,::1")], &[]),
        (&[KEY, ("GATEKEEPER_TRUSTED_PROXIES", "10.0.0.0/8, proxy.example")], &["GATEKEEPER_TRUSTED_PROXIES"]),
        (&[KEY, ("GATEKEEPER_TRUSTED_PROXIES", "0.0.0.0/0")], &["GATEKEEPER_TRUSTED_PROXIES"]),
        (&[KEY, ("GATEKEEPER_TESTING_MODE", "true"), ("GATEKEEPER_ENV", "Production")], &["GATEKEEPER_TESTING_MODE"]),
        (&[KEY, ("GATEKEEPER_LISTEN", "0.0.0.0:80"), ("GATEKEEPER_OPS_LISTEN", "0.0.0.0:80")], &["GATEKEEPER_OPS_LISTEN"]),
        (&[KEY, ("GATEKEEPER_LISTEN", "0.0.0.0:80"), ("GATEKEEPER_OPS_LISTEN", "0.0.0.0:80"), ("GATEKEEPER_ONE_PORT", "true")], &[]),
        (&[KEY, ("GATEKEEPER_LISTEN", "127.0.0.1:80"), ("GATEKEEPER_OPS_LISTEN", "127.0.0.1:80")], &[]),
        (&[KEY, ("LOG_LEVEL", "DEBUG")], &[]),
    ];
    for (variables, expected) in cases {
        assert_eq!(blamed(variables), expected, "{variables:?}");
    }
}

#[test]
fn a_value_may_lie_in_a_file_but_not_in_two_places() {
    let mut file = NamedTempFile::new().unwrap();
    writeln!(file, "a-key-from-a-mounted-secret").unwrap();
    let path = file.path().to_str().unwrap();
    assert_eq!(read(&[("INTERNAL_ELIZA_KEY_FILE", path)]).unwrap().secrets.eliza_key.reveal(), "a-key-from-a-mounted-secret");
    assert_eq!(blamed(&[KEY, ("INTERNAL_ELIZA_KEY_FILE", path)]), ["INTERNAL_ELIZA_KEY"]);
    assert_eq!(blamed(&[("INTERNAL_ELIZA_KEY_FILE", "/nowhere/at/all")]), ["INTERNAL_ELIZA_KEY_FILE"]);
    assert_eq!(read(&[KEY, ("LOG_LEVEL_FILE", path)]).unwrap_err().0[0].variable, "LOG_LEVEL");
}

#[test]
fn enforcement_that_is_off_is_loud() {
    for off in [("GATEKEEPER_ENFORCE", "false"), ("GATEKEEPER_TESTING_MODE", "true")] {
        let settings = read(&[KEY, off]).unwrap();
        assert_eq!(settings.enforce, Enforce::Off);
        assert!(settings.warnings.iter().any(|warning| warning.contains("enforcement is OFF")), "{:?}", settings.warnings);
    }
}

#[test]
fn nothing_printed_shows_a_secret() {
    let secrets = [
        ("INTERNAL_ELIZA_KEY", "secret-one-aaaaaaaaaaaaaaaa"),
        ("INTERNAL_ELIZA_KEY_PREVIOUS", "secret-two-bbbbbbbbbbbbbbbb"),
        ("SUPABASE_SERVICE_ROLE_KEY", "secret-three-cccccccccccccc"),
        ("GATEKEEPER_ADMIN_TOKEN", "secret-four-ddddddddddddddd"),
        ("DATABASE_URL", "postgres://user:secret-five@host/db"),
    ];
    let printed = format!("{:?} {}", read(&secrets).unwrap(), read(&secrets).unwrap().database.url);
    assert!(!printed.contains("secret-"), "{printed}");
    for (url, shown) in [
        ("postgres://user:secret-five@host/db", "postgres://***@host/db"),
        ("postgresql:///db?host=/tmp&password=secret-six", "postgresql:///db?***"),
        ("postgres://user@host/db?password=secret-six", "postgres://***@host/db?***"),
        ("postgres://user:secret?se@ven@host/db", "postgres://***"),
        ("sqlite://data/calls.db?mode=rw", "sqlite://data/calls.db?mode=rw"),
    ] {
        assert_eq!(read(&[KEY, ("DATABASE_URL", url)]).unwrap().database.url.to_string(), shown);
    }
    let refused = read(&[("INTERNAL_ELIZA_KEY", "secret one"), ("GATEKEEPER_LISTEN", "secret-two")]).unwrap_err();
    assert!(!format!("{refused:?}").contains("secret"), "{refused:?}");
}

#[test]
fn the_table_names_each_variable_once() {
    let mut names: Vec<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}
