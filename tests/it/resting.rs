//! A connection without a call is soon no more than its socket. Nobody is to notice: not who calls again, not who was in the middle of
//! something, not who waits for the connection to end.

use std::time::{Duration, Instant};

use eliza_gatekeeper::settings::Bounds;
use serde_json::json;

use crate::support::house::{House, eventually};
use crate::support::line::Line;
use crate::support::targets::{Conduct, Gate, Targets};

const CHAT: &str = "gemini-chat";
const PROBE: &str = "GET /livez HTTP/1.1\r\nhost: gatekeeper\r\n\r\n";
/// Longer than until a connection rests.
const A_WHILE: Duration = Duration::from_millis(800);

async fn pause() {
    tokio::time::sleep(A_WHILE).await;
}

#[tokio::test]
async fn who_calls_again_after_a_while_is_answered_as_before() {
    let house = House::plan().open().await;
    let mut line = Line::to(house.data).await;
    pause().await;
    line.say(PROBE).await.reply().await.expect(200);
    pause().await;
    // At once, in pieces, and more than is read at first.
    line.call(CHAT, &json!({"target": "agent-manager", "action": "list_agents"})).await.reply().await.expect(200);
    pause().await;
    for piece in ["G", "ET /livez HTTP/1.1\r\nho", "st: gatekeeper\r\n\r\n"] {
        line.say(piece).await;
        pause().await;
    }
    line.reply().await.expect(200);
    let long = json!({"target": "agent-manager", "action": "list_agents", "payload": {"note": "x".repeat(100_000)}});
    line.call(CHAT, &long).await.reply().await.expect(200);
    pause().await;
    // Two at once.
    line.say(PROBE.repeat(2)).await;
    for _ in 0..2 {
        line.reply().await.expect(200);
    }
    pause().await;
    assert_eq!(line.finish().await.hear_the_end().await, "");
}

#[tokio::test]
async fn the_beginning_of_a_call_that_came_with_the_one_before_is_kept() {
    let house = House::plan().open().await;
    let mut line = Line::to(house.data).await;
    line.say(PROBE).await.say("GET /li").await.reply().await.expect(200);
    pause().await;
    line.say("vez HTTP/1.1\r\nhost: gate").await;
    pause().await;
    line.say("keeper\r\n\r\n").await.reply().await.expect(200);
}

/// As some callers end a call.
#[tokio::test]
async fn an_empty_line_behind_a_call_is_no_beginning_of_another() {
    let short: fn(&mut Bounds) = |bounds| bounds.head = Duration::from_secs(1);
    let house = House::plan().bounds(short).open().await;
    let mut line = Line::to(house.data).await;
    line.say(format!("{PROBE}\r\n")).await.reply().await.expect(200);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    line.say(PROBE).await.reply().await.expect(200);
}

/// What is left of the body of a refused call is let run out, and not read as anything else.
#[tokio::test]
async fn a_body_that_is_still_to_come_is_no_request() {
    let house = House::plan().open().await;
    let mut line = Line::to(house.data).await;
    let inner = PROBE.repeat(3);
    let head = "POST / HTTP/1.1\r\nhost: gatekeeper\r\nx-eliza-key: wrong\r\nx-eliza-source: gemini-chat\r\n";
    line.say(format!("{head}content-length: {}\r\n\r\n", inner.len() + 1)).await.say("{").await;
    line.reply().await.expect(401);
    pause().await;
    line.say(&inner).await;
    pause().await;
    assert_eq!(line.left(), "");
    line.say(PROBE).await.reply().await.expect(200);
    pause().await;
    assert_eq!(line.finish().await.hear_the_end().await, "");
}

#[tokio::test]
async fn a_call_that_takes_its_time_is_not_rest() {
    let gate = Gate::shut();
    let house = House::plan().targets(Targets::like_the_platform().but(CHAT, Conduct::Hang(gate.clone()))).open().await;
    let mut line = Line::to(house.data).await;
    line.say(PROBE).await.reply().await.expect(200);
    line.call(CHAT, &json!({"target": CHAT, "payload": {"messages": [{"role": "user", "content": "hello"}]}})).await;
    house.targets.arrival(CHAT, 1).await;
    pause().await;
    gate.open();
    line.reply().await.expect(200);
}

#[tokio::test]
async fn a_connection_that_rests_has_its_idle_time_and_no_more() {
    let short: fn(&mut Bounds) = |bounds| bounds.idle = Duration::from_millis(1500);
    let house = House::plan().bounds(short).open().await;
    let mut line = Line::to(house.data).await;
    line.say(PROBE).await.reply().await.expect(200);
    let begun = Instant::now();
    assert_eq!(line.hear_the_end().await, "");
    let took = begun.elapsed();
    assert!((1400..3000).contains(&took.as_millis()), "{took:?}");
    let counted = || async { house.metrics().await.contains("gatekeeper_connections_cut_total{reason=\"idle\"} ") };
    eventually("it is counted", counted).await;
    eventually("its seat is free", || async { house.gatekeeper.metrics.connections.get() == 0 }).await;
}

#[tokio::test]
async fn a_connection_that_rests_ends_with_the_server() {
    let house = House::plan().open().await;
    let mut line = Line::to(house.data).await;
    line.say(PROBE).await.reply().await.expect(200);
    pause().await;
    let begun = Instant::now();
    house.close().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(line.hear_the_end().await, "");
}
