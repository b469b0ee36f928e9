//! A process that is told to stop.

use std::time::{Duration, Instant};

use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use tokio::net::TcpStream;

use super::call;
use crate::support::house::{KEY, SERVICE_KEY, eventually, get};
use crate::support::line::Line;
use crate::support::program::{Program, Serving};
use crate::support::targets::{Conduct, Gate, Targets};

fn program(targets: &Targets) -> Program {
    Program::new().variable("SUPABASE_URL", &targets.origin()).variable("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY)
}

async fn targets() -> Targets {
    Targets::like_the_platform().asking_for(SERVICE_KEY).start().await
}

async fn is_unready(serving: &Serving) {
    eventually("readiness fails", || async { get(serving.data, "/readyz").await.status == 503 }).await;
}

#[tokio::test]
async fn readiness_fails_first_and_calls_are_taken_until_load_balancers_have_seen_it() {
    let targets = targets().await;
    let serving = program(&targets).variable("GATEKEEPER_LAME_DUCK_SECONDS", "3").serve().await;
    let mut kept = Line::to(serving.data).await;
    let envelope = json!({"target": "agent-manager", "action": "list_agents"});
    assert_eq!(kept.call("gemini-chat", &envelope).await.reply().await.header("connection"), None);

    let told = Instant::now();
    serving.running.signal("TERM");
    is_unready(&serving).await;
    assert_eq!(get(serving.ops, "/livez").await.status, 200);
    // New connections are served, and old ones, and both hear that they should go.
    assert_eq!(call(serving.data).await.expect(200).header("connection"), Some("close"));
    assert_eq!(kept.call("gemini-chat", &envelope).await.reply().await.expect(200).header("connection"), Some("close"));
    kept.hear_the_end().await;
    assert!(told.elapsed() < Duration::from_secs(3), "this machine is too slow for this test");

    let data = serving.data;
    let ended = serving.running.end().await.expect(0);
    assert!(told.elapsed() >= Duration::from_secs(3), "{}", ended.err);
    assert!(TcpStream::connect(data).await.is_err());
}

#[tokio::test]
async fn whoever_stops_it_at_a_terminal_does_not_wait() {
    let targets = targets().await;
    let serving = program(&targets).variable("GATEKEEPER_LAME_DUCK_SECONDS", "3600").serve().await;
    call(serving.data).await.expect(200);
    serving.running.signal("INT");
    serving.running.end().await.expect(0);
    // And a second signal ends the wait at once.
    let serving = program(&targets).variable("GATEKEEPER_LAME_DUCK_SECONDS", "3600").serve().await;
    serving.running.signal("TERM");
    is_unready(&serving).await;
    serving.running.signal("TERM");
    serving.running.end().await.expect(1);
}

#[tokio::test]
async fn http2_is_told_at_once_and_its_calls_end() {
    let gate = Gate::shut();
    let slow = Targets::like_the_platform().asking_for(SERVICE_KEY).but("agent-manager", Conduct::Hang(gate.clone()));
    let targets = slow.start().await;
    let serving = program(&targets).variable("GATEKEEPER_LAME_DUCK_SECONDS", "3600").serve().await;
    let stream = TcpStream::connect(serving.data).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::post(format!("http://{}/functions/v1/eliza-gatekeeper", serving.data))
        .header("x-eliza-key", KEY)
        .header("x-eliza-source", "gemini-chat")
        .body(Full::new(bytes::Bytes::from(json!({"target": "agent-manager", "action": "list_agents"}).to_string())))
        .unwrap();
    let under_way = sender.send_request(request);
    let under_way = tokio::spawn(under_way);
    targets.arrival("agent-manager", 1).await;

    serving.running.signal("TERM");
    is_unready(&serving).await;
    gate.open();
    let response = under_way.await.unwrap().unwrap();
    assert_eq!((response.status().as_u16(), response.headers().get("connection")), (200, None));
    response.into_body().collect().await.unwrap();
    connection.await.unwrap().unwrap();
}

#[tokio::test]
async fn streams_end_within_the_bound_or_are_cut_and_recorded_so() {
    let gate = Gate::shut();
    let pieces = vec!["data: one\n\n", "data: two\n\n"];
    let drip = |gate: &Gate| Conduct::Drip { gate: gate.clone(), content_type: "text/event-stream", pieces: pieces.clone() };
    let targets = Targets::like_the_platform().asking_for(SERVICE_KEY).but("gemini-chat", drip(&gate)).start().await;
    let program = program(&targets).variable("GATEKEEPER_DRAIN_SECONDS", "10");
    let last = async || program.run(&["calls", "tail", "-n", "1", "--json"]).await.expect(0).value();
    let envelope = json!({"target": "gemini-chat", "payload": {"stream": true}});

    let serving = program.serve().await;
    let mut line = Line::to(serving.data).await;
    line.call("openai-chat", &envelope).await;
    gate.let_one();
    line.hear("data: one").await;
    serving.running.signal("TERM");
    let data = serving.data;
    eventually("nothing new is taken", || async { TcpStream::connect(data).await.is_err() }).await;
    gate.let_one();
    assert!(line.hear_the_end().await.ends_with("data: two\n\n\r\n0\r\n\r\n"), "the stream ends in order");
    serving.running.end().await.expect(0);
    let row = last().await;
    assert_eq!((&row["metadata"]["code"], &row["metadata"]["response_bytes"]), (&json!("answered"), &json!(22)), "{row}");

    let gate = Gate::shut();
    targets.let_be("gemini-chat", drip(&gate));
    let serving = program.clone().variable("GATEKEEPER_DRAIN_SECONDS", "1").serve().await;
    let mut line = Line::to(serving.data).await;
    line.call("openai-chat", &envelope).await;
    gate.let_one();
    line.hear("data: one").await;
    serving.stop().await.expect(0);
    assert!(!line.hear_the_end().await.ends_with("0\r\n\r\n"), "whoever listened knows that it is not whole");
    let row = last().await;
    assert_eq!((&row["metadata"]["code"], &row["metadata"]["response_bytes"]), (&json!("abandoned"), &json!(11)), "{row}");
}
