//! What HTTP/2 makes easy: to have many calls under way, and to take none of their answers.

use std::time::Duration;

use bytes::Bytes;
use eliza_gatekeeper::clock::ManualClock;
use eliza_gatekeeper::settings::Bounds;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::{CHAT, cut, seated};
use crate::support::house::{House, KEY, eventually, midnight};
use crate::support::targets::{Conduct, Targets, within};

type Peer = (SendRequest<Full<Bytes>>, JoinHandle<hyper::Result<()>>);

/// One that takes so much of each answer before it has to be asked for more.
async fn peer(house: &House, window: u32) -> Peer {
    let stream = TcpStream::connect(house.data).await.unwrap();
    let mut builder = Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(window);
    let (send, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    (send, tokio::spawn(connection))
}

fn call() -> Request<Full<Bytes>> {
    let envelope = json!({"target": "agent-manager", "action": "list_agents"}).to_string();
    Request::post("http://gatekeeper/functions/v1/eliza-gatekeeper")
        .header("content-type", "application/json")
        .header("x-eliza-key", KEY)
        .header("x-eliza-source", CHAT)
        .body(Full::new(envelope.into()))
        .unwrap()
}

#[tokio::test]
async fn whoever_takes_no_answer_holds_no_place_for_ever() {
    let long = json!({"agents": "x".repeat(300_000)});
    let targets = Targets::like_the_platform().but("agent-manager", Conduct::json(200, &long));
    let short: fn(&mut Bounds) = |bounds| bounds.taking = Duration::from_secs(1);
    let house = House::plan().targets(targets).bounds(short).open().await;

    // Slow, and still taking.
    let (mut send, _connection) = peer(&house, 16 * 1024).await;
    let mut body = send.send_request(call()).await.unwrap().into_body();
    let mut taken = 0;
    while let Some(frame) = within("more of it", body.frame()).await {
        taken += frame.unwrap().into_data().unwrap().len();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!((taken, cut(&house, "slow_reader").await), (long.to_string().len(), 0));

    let (mut send, connection) = peer(&house, 1024).await;
    let answer = send.send_request(call()).await.unwrap();
    let _cut = within("the end of the connection", connection).await.unwrap();
    assert_eq!((answer.status().as_u16(), cut(&house, "slow_reader").await), (200, 1));
    let metrics = || house.gatekeeper.metrics.render();
    eventually("its place is free", || async { metrics().contains("\ngatekeeper_in_flight 0\n") }).await;
}

#[tokio::test]
async fn whoever_found_no_seat_is_sent_to_another_connection() {
    let plan = House::plan().variable("GATEKEEPER_MAX_CONNECTIONS", "1").variable("GATEKEEPER_MAX_CONNECTIONS_PER_NETWORK", "9");
    let house = plan.open().await;
    let seat = seated(&house, 1).await;
    let (mut send, connection) = peer(&house, 65_535).await;
    let refused = send.send_request(call()).await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    refused.into_body().collect().await.unwrap();
    within("the end of the connection", connection).await.unwrap().unwrap();

    drop(seat);
    eventually("the seat is free", || async { house.gatekeeper.metrics.connections.get() == 0 }).await;
    let (mut send, _connection) = peer(&house, 65_535).await;
    assert_eq!(send.send_request(call()).await.unwrap().status(), 200);
}

/// HTTP/2 has no place for a body behind such an answer.
#[tokio::test]
async fn whoever_asks_for_a_head_is_refused_in_no_more_than_that() {
    let few = include_str!("../../../policies/limits.toml").replace("stranger_records_per_minute = 100", "stranger_records_per_minute = 1");
    let plan = House::plan().policy("limits.toml", &few).at(&ManualClock::at(midnight()));
    let plan = plan.variable("GATEKEEPER_MAX_CONNECTIONS", "1").variable("GATEKEEPER_MAX_CONNECTIONS_PER_NETWORK", "9");
    let house = plan.open().await;
    let _seat = seated(&house, 1).await;
    // One that is recorded, and one that is counted.
    for _ in 0..2 {
        let (mut send, _connection) = peer(&house, 65_535).await;
        let head = Request::head("http://gatekeeper/functions/v1/agent-manager").body(Full::default()).unwrap();
        let refused = within("an answer", send.send_request(head)).await.unwrap();
        assert_eq!(refused.status(), 503);
        assert!(within("its end", refused.into_body().collect()).await.unwrap().to_bytes().is_empty());
    }
}
