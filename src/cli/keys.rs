//! `keys`: who may call, with which key, until when. A running gatekeeper hears of every change within a second.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Exit;
use super::output::Output;
use super::setup::{failed, operator, ready_store};
use crate::audit::Actor;
use crate::clock::{Clock, Timestamp};
use crate::identity::{KeyId, NamePattern, Secret};
use crate::keys::generate;
use crate::policy::values::duration;
use crate::settings::Environment;
use crate::store::{Store, StoredKey};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// The stored keys: whom they are for, until when, and when each was last used.
    List,
    /// Make a key and print it, this once.
    New(New),
    /// Make a key with the same scope and let the old one end after an overlap.
    Rotate {
        id: String,
        /// How long the old key stays good beside the new one.
        #[arg(long, default_value = "24h")]
        overlap: String,
    },
    /// End a key at once.
    Revoke { id: String },
}

#[derive(Debug, Args)]
pub struct New {
    /// What the key is for, in your words.
    #[arg(long)]
    name: String,
    /// A source it may speak for, or a pattern such as `superduper-*`; repeat for more. None: every listed source.
    #[arg(long = "source", value_name = "SOURCE")]
    sources: Vec<String>,
    /// A target it may call; repeat for more. None: every target.
    #[arg(long = "target", value_name = "TARGET")]
    targets: Vec<String>,
    /// An action it may ask for; repeat for more. None: every action.
    #[arg(long = "action", value_name = "ACTION")]
    actions: Vec<String>,
    /// From when it is good: a time such as 2027-01-01T00:00:00Z, or a while from now such as 1h.
    #[arg(long, value_name = "WHEN")]
    not_before: Option<String>,
    /// Until when it is good: a time, or a while from now such as 90d.
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
}

pub async fn run(output: &Output, command: Command) -> Exit {
    let store = match ready_store(output).await {
        Ok(store) => store,
        Err(exit) => return exit,
    };
    let done = match command {
        Command::List => list(output, store.as_ref()).await,
        Command::New(new) => create(output, store.as_ref(), new).await,
        Command::Rotate { id, overlap } => rotate(output, store.as_ref(), &id, &overlap).await,
        Command::Revoke { id } => revoke(output, store.as_ref(), &id).await,
    };
    store.close().await;
    done.unwrap_or_else(|exit| exit)
}

async fn list(output: &Output, store: &dyn Store) -> Result<Exit, Exit> {
    let keys = store.keys().await.map_err(|error| failed(output, &error))?;
    let now = Clock::system().now();
    let all = |names: &[String]| if names.is_empty() { "all".to_owned() } else { names.join(" ") };
    let when = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), |at| at.to_string());
    let rows: Vec<_> = keys
        .iter()
        .map(|key| {
            let cells =
                [key.id.to_string(), key.name.clone(), state(key, now).to_owned(), all(&key.sources), all(&key.targets), all(&key.actions)];
            cells.into_iter().chain([when(key.expires_at), when(key.last_used_at)]).collect()
        })
        .collect();
    output.table(&["id", "name", "state", "sources", "targets", "actions", "expires", "last used"], &rows);
    output.value(&json!({ "keys": keys.iter().map(|key| describe(key, now)).collect::<Vec<_>>() }));
    Ok(Exit::Fine)
}

async fn create(output: &Output, store: &dyn Store, new: New) -> Result<Exit, Exit> {
    let now = Clock::system().now();
    for pattern in new.sources.iter().chain(&new.targets) {
        if NamePattern::parse(pattern).is_none() {
            output.problem(&format!("'{pattern}' is not a name or a pattern of names"));
            return Err(Exit::Usage);
        }
    }
    let not_before = new.not_before.as_deref().map(|text| when(output, now, text)).transpose()?;
    let expires_at = new.expires.as_deref().map(|text| when(output, now, text)).transpose()?;
    if expires_at.is_some_and(|end| end <= not_before.unwrap_or(now)) {
        output.problem("the key would end before it begins");
        return Err(Exit::Usage);
    }
    let (secret, key) = fresh(output, now, new.name, |key| StoredKey {
        sources: new.sources,
        targets: new.targets,
        actions: new.actions,
        not_before,
        expires_at,
        ..key
    })?;
    store.insert_key(&key, &key.made(&actor())).await.map_err(|error| failed(output, &error))?;
    show_once(output, &secret, &key, now, &[]);
    Ok(Exit::Fine)
}

async fn rotate(output: &Output, store: &dyn Store, id: &str, overlap: &str) -> Result<Exit, Exit> {
    let now = Clock::system().now();
    let overlap = duration(overlap).map_err(|why| {
        output.problem(&format!("--overlap {why}"));
        Exit::Usage
    })?;
    let old = find(output, store, id).await?;
    if old.revoked_at.is_some() || old.expires_at.is_some_and(|end| end <= now) {
        output.problem("this key has ended: make a new one with `keys new`");
        return Err(Exit::NotSo);
    }
    // A key that was to live for a while lives as long again.
    let life = old.expires_at.map(|end| end.since(old.not_before.unwrap_or(old.created_at)));
    let ends = now.plus(overlap);
    let (secret, key) = fresh(output, now, old.name.clone(), |key| StoredKey {
        sources: old.sources.clone(),
        targets: old.targets.clone(),
        actions: old.actions.clone(),
        expires_at: life.map(|life| now.plus(life)),
        ..key
    })?;
    store.insert_key(&key, &key.made(&actor())).await.map_err(|error| failed(output, &error))?;
    store.expire_key(&old.id, ends, &old.expires(ends, now, &actor())).await.map_err(|error| failed(output, &error))?;
    let end = old.expires_at.map_or(ends, |sooner| sooner.min(ends));
    show_once(output, &secret, &key, now, &[("replaces", old.id.to_string()), ("old_key_ends", end.to_string())]);
    Ok(Exit::Fine)
}

async fn revoke(output: &Output, store: &dyn Store, id: &str) -> Result<Exit, Exit> {
    let key = find(output, store, id).await?;
    let now = Clock::system().now();
    store.revoke_key(&key.id, now, &key.revoked(now, &actor())).await.map_err(|error| failed(output, &error))?;
    output.say(&format!("{} is revoked; running gatekeepers refuse it within a second", key.id));
    output.value(&json!({ "revoked": key.id.as_str() }));
    Ok(Exit::Fine)
}

fn actor() -> Actor {
    Actor::named(&operator(&Environment::process()))
}

async fn find(output: &Output, store: &dyn Store, id: &str) -> Result<StoredKey, Exit> {
    let keys = store.keys().await.map_err(|error| failed(output, &error))?;
    keys.into_iter().find(|key| key.id.as_str() == id).ok_or_else(|| {
        output.problem(&format!("there is no key '{id}': see `gatekeeper keys list`"));
        Exit::NotSo
    })
}

fn fresh(output: &Output, now: Timestamp, name: String, shape: impl FnOnce(StoredKey) -> StoredKey) -> Result<(Secret, StoredKey), Exit> {
    let secret = generate().map_err(|error| {
        output.problem(&format!("the system gives no randomness: {error}"));
        Exit::NotSo
    })?;
    // The id is a piece of the hash: it names the key and says nothing of it.
    let id: String = secret.hash().as_bytes().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let plain = StoredKey {
        id: KeyId::new(&id),
        name,
        hash: secret.hash(),
        sources: Vec::new(),
        targets: Vec::new(),
        actions: Vec::new(),
        created_at: now,
        not_before: None,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
    };
    Ok((secret, shape(plain)))
}

fn show_once(output: &Output, secret: &Secret, key: &StoredKey, now: Timestamp, more: &[(&str, String)]) {
    output.say(&format!("key {}: {}", key.id, secret.reveal()));
    output.say("it is shown this once; only its hash is kept");
    for (what, value) in more {
        output.say(&format!("{}: {value}", what.replace('_', " ")));
    }
    let mut described = describe(key, now);
    if let Value::Object(members) = &mut described {
        members.insert("key".into(), json!(secret.reveal()));
        members.extend(more.iter().map(|(what, value)| ((*what).to_owned(), json!(value))));
    }
    output.value(&described);
}

fn state(key: &StoredKey, now: Timestamp) -> &'static str {
    if key.revoked_at.is_some() {
        "revoked"
    } else if key.expires_at.is_some_and(|end| now >= end) {
        "expired"
    } else if key.not_before.is_some_and(|begin| now < begin) {
        "not yet"
    } else {
        "good"
    }
}

fn describe(key: &StoredKey, now: Timestamp) -> Value {
    let at = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "id": key.id.as_str(), "name": key.name, "state": state(key, now),
        "sources": key.sources, "targets": key.targets, "actions": key.actions,
        "created_at": key.created_at.to_string(), "not_before": at(key.not_before), "expires_at": at(key.expires_at),
        "revoked_at": at(key.revoked_at), "last_used_at": at(key.last_used_at),
    })
}

/// A moment, or a while from now.
fn when(output: &Output, now: Timestamp, text: &str) -> Result<Timestamp, Exit> {
    if let Some(at) = Timestamp::parse_rfc3339(text) {
        return Ok(at);
    }
    duration(text).map(|from_now| now.plus(from_now)).map_err(|_| {
        output.problem(&format!("'{text}' is neither a time such as 2027-01-01T00:00:00Z nor a while such as 90d"));
        Exit::Usage
    })
}
