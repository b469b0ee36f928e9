//! The admin API: nothing without the token; every mistake named, in the form of every refusal; every route does what it says, on either
//! database, and what it changes is audited with who, why, before and after; and every route is described.

mod changes;
mod description;
mod refusals;

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use serde_json::Value;

use crate::support::house::{ADMIN_TOKEN, House, Reply};

/// An operator at the ops listener.
struct Operator<'h> {
    house: &'h House,
    headers: BTreeMap<&'static str, String>,
}

impl<'h> Operator<'h> {
    fn of(house: &'h House) -> Self {
        Self { house, headers: BTreeMap::new() }.with("authorization", &format!("Bearer {ADMIN_TOKEN}"))
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, value.to_owned());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// Whatever is answered here is kept by nobody, and read by no page of another origin.
    async fn ask(&self, method: &str, path: &str, body: impl Into<Bytes>) -> Reply {
        let headers: Vec<_> = self.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let reply = self.house.request(self.house.ops, Method::from_bytes(method.as_bytes()).unwrap(), path, &headers, body.into()).await;
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{method} {path}");
        assert!(!reply.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{method} {path}: {:?}", reply.headers);
        reply
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "").await
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> Reply {
        self.ask(method, path, body.to_string()).await
    }
}
