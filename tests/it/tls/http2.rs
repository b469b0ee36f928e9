//! A hundred calls at once by one connection, on each side, over TLS and without.

use std::collections::HashSet;

use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::authority::{Authority, Files};
use super::callee::{Callee, Tls};
use super::caller::{Caller, Streams};
use super::listener::behind_tls;
use crate::support::house::House;
use crate::support::targets::{Conduct, Gate, Targets};

const CROWD: usize = 100;
const BUSY: &str = "[tiers.busy]\nlimit = ['100000/1m']\n[[source]]\nnames = ['busy']\ntier = 'busy'\n";

/// A hundred calls on one connection are all with the target before the first is answered.
async fn a_hundred_at_once(streams: &Streams, scheme: &str, house: &House, gate: &Gate) {
    let mut calls = JoinSet::new();
    for n in 0..CROWD {
        calls.spawn(streams.call(scheme, "busy", "render-api", n));
    }
    house.targets.arrival("render-api", CROWD).await;
    gate.open();
    let mut answers = HashSet::new();
    while let Some(answer) = calls.join_next().await {
        let (status, headers, body) = answer.unwrap();
        assert_eq!(status, 200, "{body}");
        assert!(headers.contains_key("x-call-id"));
        answers.insert(body["n"].as_u64().unwrap());
    }
    assert_eq!(answers.len(), CROWD, "each call has its own answer");
    assert_eq!(house.records().await.len(), CROWD);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_brings_a_hundred_calls_over_tls() {
    let (files, authority, gate) = (Files::new(), Authority::new(), Gate::shut());
    let targets = Targets::like_the_platform().but("render-api", Conduct::Hang(gate.clone()));
    let house = behind_tls(&files, &authority).policy("busy.toml", BUSY).targets(targets).open().await;
    let stream = Caller::trusting(authority.roots()).connect(house.data, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    a_hundred_at_once(&Streams::over(stream).await, "https", &house, &gate).await;
    assert!(house.metrics().await.contains(r#"gatekeeper_tls_handshakes_total{listener="data",outcome="done"} 1"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_brings_a_hundred_calls_by_prior_knowledge() {
    let gate = Gate::shut();
    let targets = Targets::like_the_platform().but("render-api", Conduct::Hang(gate.clone()));
    let house = House::plan().policy("busy.toml", BUSY).targets(targets).open().await;
    let streams = Streams::over(TcpStream::connect(house.data).await.unwrap()).await;
    a_hundred_at_once(&streams, "http", &house, &gate).await;
}

/// The target answers none of them before all are there.
async fn a_hundred_go_by_one_connection(callee: &Callee, policy: &str, warm_up: usize) {
    let house = House::plan().policy("busy.toml", BUSY).policy("many.toml", policy).open().await;
    let house = std::sync::Arc::new(house);
    for _ in 0..warm_up {
        house.call("busy").to("many").payload(json!({ "n": 0 })).send().await.expect(200);
    }
    let mut calls = JoinSet::new();
    for n in 0..CROWD {
        let house = std::sync::Arc::clone(&house);
        calls.spawn(async move {
            let reply = house.call("busy").to("many").payload(json!({ "n": n })).send().await.expect(200);
            assert_eq!(reply.json(), json!({ "n": n }));
        });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
    assert_eq!((callee.came().len(), callee.connections()), (CROWD + warm_up, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_calls_go_to_a_target_by_one_connection_over_tls() {
    let (files, authority) = (Files::new(), Authority::new());
    let ca = files.put("ca.pem", &authority.pem);
    let callee = Callee::answering_a_crowd(Tls::of(&authority), &["h2"], CROWD).await;
    let policy =
        format!("[[target]]\nnames = ['many']\nurl = 'https://{}/x'\ncredentials = 'none'\nca = '{ca}'\nprotocol = 'http2'\n", callee.at);
    a_hundred_go_by_one_connection(&callee, &policy, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_calls_go_to_a_target_by_one_connection_by_prior_knowledge() {
    let callee = Callee::answering_a_crowd(Tls::None, &[], CROWD).await;
    let policy = format!("[[target]]\nnames = ['many']\nurl = 'http://{}/x'\ncredentials = 'none'\nprotocol = 'http2'\n", callee.at);
    a_hundred_go_by_one_connection(&callee, &policy, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_target_chooses_it_gets_one_connection_once_it_has_chosen() {
    let (files, authority) = (Files::new(), Authority::new());
    let ca = files.put("ca.pem", &authority.pem);
    let callee = Callee::start(Tls::of(&authority), &["h2", "http/1.1"]).await;
    let policy =
        format!("[[target]]\nnames = ['many']\nurl = 'https://{}/x'\ncredentials = 'none'\nca = '{ca}'\nprotocol = 'auto'\n", callee.at);
    a_hundred_go_by_one_connection(&callee, &policy, 1).await;
}
