//! What lies in the database is changed through the running gatekeeper, and without one in the database itself: every gatekeeper on it
//! hears of that within a second.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Exit;
use super::ops::{At, Ops};
use super::output::Output;
use super::setup::ready_store;
use crate::settings::Environment;
use crate::store::Store;

pub enum Way {
    Gatekeeper(Box<Ops>),
    Database { store: Arc<dyn Store>, because: String },
}

impl Way {
    /// The gatekeeper that was named, or the one of this environment, or, if that does not answer or wants no orders, its database.
    pub async fn find(output: &Output, at: &At) -> Result<Self, Exit> {
        let error = match Ops::new(at, &Environment::process()) {
            Ok(ops) => match ops.reach().await {
                Ok(()) => return Ok(Self::Gatekeeper(Box::new(ops))),
                Err(error) => error,
            },
            Err(error) => error,
        };
        match error.way_around() {
            Some(because) if !at.is_given() => match ready_store(output).await {
                Ok(store) => Ok(Self::Database { store, because }),
                Err(exit) => {
                    output.problem(&format!("(the database was asked because {because})"));
                    Err(exit)
                }
            },
            _ => Err(error.tell(output)),
        }
    }

    /// Prints a value for machines with the way in it.
    pub fn value(&self, output: &Output, mut value: Value) {
        if let Value::Object(members) = &mut value {
            members.insert("via".into(), json!(self.word()));
        }
        output.value(&value);
    }

    /// Says for people which way it was.
    pub fn say(&self, output: &Output) {
        output.say(&match self {
            Self::Gatekeeper(ops) => format!("(by the gatekeeper at {})", ops.base()),
            Self::Database { because, .. } => format!("(in the database, because {because})"),
        });
    }

    pub async fn close(self) {
        if let Self::Database { store, .. } = self {
            store.close().await;
        }
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Gatekeeper(_) => "gatekeeper",
            Self::Database { .. } => "database",
        }
    }
}
