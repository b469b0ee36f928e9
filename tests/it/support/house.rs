//! A whole gatekeeper for a test: real sockets, a real store, real targets. Defaults are those of production; a test says only what
//! is special about it.
//!
//! ```ignore
//! let house = House::plan().policy("limits.toml", LIMIT_OF_FIVE).open().await;
//! let reply = house.call("gemini-chat").to("agent-manager").action("list_agents").send().await;
//! assert_eq!(reply.status, 200);
//! ```

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use eliza_gatekeeper::clock::{Clock, ManualClock, Timestamp};
use eliza_gatekeeper::control::{Compile, PolicySource};
use eliza_gatekeeper::gatekeeper::{Gatekeeper, Parts};
use eliza_gatekeeper::journal::Journal;
use eliza_gatekeeper::policy::load::{CredentialInputs, Origin, load};
use eliza_gatekeeper::server::{Listeners, Stop, serve};
use eliza_gatekeeper::settings::{Bounds, Environment, Settings};
use eliza_gatekeeper::store::{CallQuery, CallRow, OpenOptions, Store, open};
use eliza_gatekeeper::telemetry::logging::Log;
use eliza_gatekeeper::tls::Locks;
use eliza_gatekeeper::upkeep::Upkeep;
use eliza_gatekeeper::upstream::Dial;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::targets::{Plan as TargetsPlan, Targets};
use super::{Database, postgres};

pub const KEY: &str = "test-key-7d3f1c0a9b8e4d2f";
pub const SERVICE_KEY: &str = "service-role-key-5c1e9a70";
pub const ADMIN_TOKEN: &str = "admin-token-0a1b2c3d4e5f";
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something holds; fails with its name when it does not within reason.
pub async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl FnMut() -> F) {
    soon(what, PATIENCE, Duration::from_millis(10), holds).await;
}

/// Looks so often whether something holds; fails unless it does within this time.
pub async fn soon<F: Future<Output = bool>>(what: &str, within: Duration, every: Duration, mut holds: impl FnMut() -> F) {
    let end = tokio::time::Instant::now() + within;
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "never came to be: {what}");
        tokio::time::sleep(every).await;
    }
}

pub type HttpClient = Client<HttpConnector, Full<Bytes>>;

pub fn http_client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

pub async fn ask(client: &HttpClient, at: SocketAddr, method: Method, path: &str, headers: &[(String, String)], body: Bytes) -> Reply {
    let mut request = http::Request::builder().method(method).uri(format!("http://{at}{path}"));
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let response = tokio::time::timeout(PATIENCE, client.request(request.body(Full::new(body)).unwrap())).await;
    let response = response.expect("an answer in time").expect("an answer");
    let (parts, body) = response.into_parts();
    let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("a body in time").expect("a whole body").to_bytes();
    Reply { status: parts.status.as_u16(), headers: parts.headers, body }
}

pub async fn get(at: SocketAddr, path: &str) -> Reply {
    ask(&http_client(), at, Method::GET, path, &[], Bytes::new()).await
}

/// A call of this source, through the envelope door of a gatekeeper that is no house.
pub async fn call_at(at: SocketAddr, key: &str, source: &str, envelope: &Value) -> Reply {
    let headers = [("content-type", "application/json"), ("x-eliza-key", key), ("x-eliza-source", source)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    ask(&http_client(), at, Method::POST, "/functions/v1/eliza-gatekeeper", &headers, envelope.to_string().into()).await
}

pub struct Plan {
    policies: Vec<(String, String)>,
    variables: HashMap<String, String>,
    clock: Option<ManualClock>,
    targets: TargetsPlan,
    directory: Option<Arc<TempDir>>,
    bounds: Vec<fn(&mut Bounds)>,
}

impl Plan {
    /// Puts a policy file in place of the shipped one of that name, or beside them.
    pub fn policy(mut self, file: &str, text: &str) -> Self {
        self.policies.push((file.to_owned(), text.to_owned()));
        self
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The clock stands at this moment until the test moves it.
    pub fn at(mut self, clock: &ManualClock) -> Self {
        self.clock = Some(clock.clone());
        self
    }

    pub fn targets(mut self, targets: TargetsPlan) -> Self {
        self.targets = targets;
        self
    }

    /// Keeps its records in a database of this kind, new and empty.
    pub fn on(self, database: Database) -> Self {
        match database {
            Database::Sqlite => self,
            Database::Postgres => self.variable("DATABASE_URL", &postgres::database()),
        }
    }

    /// Other bounds than the settings say: for times that no operator would set so short.
    pub fn bounds(mut self, change: fn(&mut Bounds)) -> Self {
        self.bounds.push(change);
        self
    }

    /// Keeps its records where another house kept them.
    pub fn in_place_of(mut self, closed: &Closed) -> Self {
        self.directory = Some(Arc::clone(&closed.directory));
        self.variables.insert("DATABASE_URL".into(), closed.database.clone());
        self
    }

    pub async fn open(self) -> House {
        let targets = self.targets.asking_for(SERVICE_KEY).start().await;
        let directory = self.directory.unwrap_or_else(|| Arc::new(TempDir::new().unwrap()));
        let policies = lay_policies(directory.path(), &self.policies);
        let mut variables = HashMap::from([
            ("INTERNAL_ELIZA_KEY".to_owned(), KEY.to_owned()),
            ("SUPABASE_SERVICE_ROLE_KEY".to_owned(), SERVICE_KEY.to_owned()),
            ("SUPABASE_URL".to_owned(), targets.origin()),
            ("GATEKEEPER_ADMIN_TOKEN".to_owned(), ADMIN_TOKEN.to_owned()),
            ("GATEKEEPER_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("GATEKEEPER_OPS_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("GATEKEEPER_DRAIN_SECONDS".to_owned(), "5".to_owned()),
            // Tests beside each other on a small machine crowd each other; that is not what they are about.
            ("GATEKEEPER_LONGEST_WAIT_MS".to_owned(), "0".to_owned()),
            ("GATEKEEPER_STATE".to_owned(), directory.path().join("state").display().to_string()),
            ("DATABASE_URL".to_owned(), format!("sqlite://{}", directory.path().join("calls.db").display())),
        ]);
        variables.extend(self.variables);
        let given = variables.clone();
        let environment = Arc::new(Environment::from_lookup(move |name| given.get(name).cloned()));
        let mut settings = Settings::read(&environment).unwrap_or_else(|problems| panic!("{problems:?}"));
        self.bounds.iter().for_each(|change| change(&mut settings.bounds));
        let credentials = CredentialInputs { service_role: settings.secrets.service_role_key.clone() };
        let origin = Origin::Directory(policies);
        let compile: Compile = {
            let (origin, environment) = (origin.clone(), Arc::clone(&environment));
            Arc::new(move || {
                load(&origin, &|name| environment.variable(name), &credentials)
                    .map_err(|problems| problems.as_slice().iter().map(ToString::to_string).collect())
            })
        };
        let policies = PolicySource::new(origin, Arc::clone(&compile));
        let policy = compile().unwrap_or_else(|problems| panic!("{problems:#?}"));

        let listeners = Listeners::bind(settings.listen, settings.ops_listen).await.unwrap();
        let (data, ops) = (listeners.data_address().unwrap(), listeners.ops_address().unwrap());
        let options = OpenOptions { pool_size: settings.database.pool_size, max_overflow: settings.database.max_overflow };
        let store = open(settings.database.url.reveal(), options).await.unwrap();
        let clock = self.clock.map_or_else(Clock::system, Clock::Manual);
        let log = Log::unstarted(settings.log.level);
        let journal = Journal::open(&settings.journals(), policy.journal.limits, policy.journal.syncing, clock.clone()).unwrap();
        let locks = Locks::open(&settings.tls).unwrap_or_else(|problems| panic!("{problems:#?}"));
        let parts = Parts { policy, policies, store: Arc::clone(&store), journal, clock, dial: Dial::Network, locks, log };
        let (gatekeeper, queues) = Gatekeeper::build(&settings, parts);
        let upkeep = Upkeep::start(&gatekeeper, queues, settings.database.migrate).await.unwrap();
        let (stop, stopping) = watch::channel(Stop::NotYet);
        let serving = tokio::spawn(serve(Arc::clone(&gatekeeper), listeners, None, settings.bounds, stopping));
        let house = House {
            data,
            ops,
            targets,
            store,
            gatekeeper,
            client: http_client(),
            database: variables["DATABASE_URL"].clone(),
            directory,
            stop,
            serving,
            upkeep: Some(upkeep),
        };
        // Where operators look: that listener speaks plain HTTP whatever calls arrive over.
        eventually("the gatekeeper is ready", || async { house.get_ops("/readyz", &[]).await.status == 200 }).await;
        house
    }
}

/// The shipped policies with a test's own laid over them.
pub fn lay_policies(directory: &Path, own: &[(String, String)]) -> PathBuf {
    let policies = directory.join("policies");
    std::fs::create_dir_all(&policies).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    for file in std::fs::read_dir(shipped).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            std::fs::copy(&path, policies.join(path.file_name().unwrap())).unwrap();
        }
    }
    for (file, text) in own {
        std::fs::write(policies.join(file), text).unwrap();
    }
    policies
}

pub struct House {
    pub data: SocketAddr,
    pub ops: SocketAddr,
    pub targets: Targets,
    pub store: Arc<dyn Store>,
    pub gatekeeper: Arc<Gatekeeper>,
    pub database: String,
    client: HttpClient,
    directory: Arc<TempDir>,
    stop: watch::Sender<Stop>,
    serving: JoinHandle<()>,
    upkeep: Option<Upkeep>,
}

/// What is left of a house that was closed: its records.
pub struct Closed {
    pub database: String,
    directory: Arc<TempDir>,
}

impl Closed {
    /// Where it kept what operators said.
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }
}

impl House {
    pub fn plan() -> Plan {
        Plan {
            policies: Vec::new(),
            variables: HashMap::new(),
            clock: None,
            targets: Targets::like_the_platform(),
            directory: None,
            bounds: Vec::new(),
        }
    }

    pub async fn open() -> Self {
        Self::plan().open().await
    }

    /// A call through the envelope door with the house's key.
    pub fn call(&self, source: &str) -> Call<'_> {
        self.nameless_call().header("x-eliza-key", KEY).header("x-eliza-source", source)
    }

    /// The same without any credentials.
    pub fn nameless_call(&self) -> Call<'_> {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Call { house: self, method: Method::POST, path: "/functions/v1/eliza-gatekeeper".into(), headers, body: Body::Envelope(Map::new()) }
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.request(self.data, Method::GET, path, &[], Bytes::new()).await
    }

    pub async fn get_ops(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.request(self.ops, Method::GET, path, &headers, Bytes::new()).await
    }

    pub async fn request(&self, at: SocketAddr, method: Method, path: &str, headers: &[(String, String)], body: Bytes) -> Reply {
        ask(&self.client, at, method, path, headers, body).await
    }

    /// Where its policy files are.
    pub fn policies(&self) -> PathBuf {
        self.directory.path().join("policies")
    }

    /// Where it keeps what operators said.
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// What `/metrics` says.
    pub async fn metrics(&self) -> String {
        String::from_utf8(self.get_ops("/metrics", &[]).await.expect(200).body.to_vec()).unwrap()
    }

    /// Waits until every call that has been answered is in the database.
    pub async fn settle(&self) {
        let (metrics, journal) = (&self.gatekeeper.metrics, self.gatekeeper.pipeline.recorder.journal());
        eventually("all records are written", || async { metrics.in_flight.get() == 0 && journal.standing().waiting == 0 }).await;
    }

    /// All that is recorded, the oldest first.
    pub async fn records(&self) -> Vec<CallRow> {
        self.settle().await;
        let mut rows = self.store.calls(&CallQuery { most: 10_000, ..CallQuery::default() }).await.unwrap();
        rows.reverse();
        rows
    }

    /// What is recorded of the one call that got this reply.
    pub async fn record_of(&self, reply: &Reply) -> CallRow {
        self.settle().await;
        let id = reply.call_id().parse().expect("a call id");
        self.store.call(id).await.unwrap().unwrap_or_else(|| panic!("the call {} is not recorded", reply.call_id()))
    }

    /// Stops as on SIGTERM: calls end, records are written.
    pub async fn close(mut self) -> Closed {
        self.stop.send_replace(Stop::Unannounced);
        (&mut self.serving).await.unwrap();
        let upkeep = self.upkeep.take().unwrap();
        let House { gatekeeper, database, directory, .. } = self;
        upkeep.stop(&gatekeeper, PATIENCE).await;
        Closed { database, directory }
    }
}

pub struct Call<'h> {
    house: &'h House,
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Body,
}

enum Body {
    Envelope(Map<String, Value>),
    Raw(Bytes),
}

impl Call<'_> {
    pub fn to(self, target: &str) -> Self {
        self.member("target", json!(target))
    }

    pub fn action(self, action: &str) -> Self {
        self.member("action", json!(action))
    }

    pub fn payload(self, payload: Value) -> Self {
        self.member("payload", payload)
    }

    pub fn operation(self, sql: &str) -> Self {
        self.member("operation", json!(sql))
    }

    pub fn member(mut self, name: &str, value: Value) -> Self {
        if let Body::Envelope(members) = &mut self.body {
            members.insert(name.to_owned(), value);
        }
        self
    }

    /// Bytes instead of an envelope.
    pub fn raw(mut self, body: impl Into<Bytes>) -> Self {
        self.body = Body::Raw(body.into());
        self
    }

    /// One more header, also of a name that is there.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(there, _)| there != name);
        self
    }

    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    pub async fn send(self) -> Reply {
        let body = match self.body {
            Body::Envelope(members) => Value::Object(members).to_string().into(),
            Body::Raw(bytes) => bytes,
        };
        self.house.request(self.house.data, self.method, &self.path, &self.headers, body).await
    }
}

#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn call_id(&self) -> &str {
        self.header("x-call-id").expect("every answer carries x-call-id")
    }

    /// Fails with the whole answer unless it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(StatusCode::from_u16(self.status).unwrap(), StatusCode::from_u16(status).unwrap(), "{:?}", self.body);
        self
    }

    /// The code of a refusal.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_else(|| panic!("no code in {:?}", self.body)).to_owned()
    }
}

/// The start of a minute, hour and day, to hold a clock at.
pub fn midnight() -> Timestamp {
    Timestamp::parse_rfc3339("2026-03-04T00:00:00Z").unwrap()
}
