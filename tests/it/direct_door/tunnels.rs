//! WebSockets, and whatever else a connection goes on as, pass where policy says that nothing is to be judged, and nowhere else.

use std::time::Duration;

use serde_json::json;

use super::{head, say, with_bare};
use crate::support::bare::Bare;
use crate::support::house::{House, eventually};
use crate::support::line::Line;

const SKIP: &str = "inspect = \"skip\"";
const WEBSOCKET: &str = "connection: keep-alive, Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: chat\r\n";
const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nx-eliza-note: theirs\r\n\r\n";
/// A text frame that says hello, as a client sends it (masked) and as a server does.
const MASKED_HELLO: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
const HELLO: &[u8] = b"\x81\x05Hello";

async fn opened(house: &House, bare: &Bare) -> (Line, Line) {
    let mut caller = say(house, head("GET", "bare/socket?room=1", WEBSOCKET)).await;
    let mut target = bare.accept().await;
    let got = target.hear_head().await;
    assert!(got.starts_with("GET /at/socket?room=1 HTTP/1.1\r\n"), "{got}");
    for line in ["connection: upgrade", "upgrade: websocket", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-protocol: chat"]
    {
        assert!(got.contains(&format!("{line}\r\n")), "{line} in {got}");
    }
    target.say(SWITCHING).await;
    let told = caller.hear_head().await;
    assert!(told.starts_with("HTTP/1.1 101 "), "{told}");
    for line in ["connection: upgrade", "upgrade: websocket", "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="] {
        assert!(told.contains(&format!("{line}\r\n")), "{line} in {told}");
    }
    assert!(told.contains("x-call-id: ") && told.contains("ratelimit: ") && !told.contains("theirs"), "{told}");
    (caller, target)
}

#[tokio::test]
async fn a_websocket_passes_both_ways_and_is_recorded_when_it_ends() {
    let (house, bare) = with_bare(SKIP).await;
    let (mut caller, mut target) = opened(&house, &bare).await;
    for _ in 0..3 {
        caller.say(MASKED_HELLO).await;
        target.take(MASKED_HELLO).await;
        target.say(HELLO).await;
        caller.take(HELLO).await;
    }
    assert!(house.store.calls(&eliza_gatekeeper::store::CallQuery { most: 10, ..Default::default() }).await.unwrap().is_empty());
    assert_eq!(house.gatekeeper.metrics.in_flight.get(), 1);
    // The target says goodbye; what the caller still says goes through.
    target.say(b"\x88\x00").await;
    caller.take(b"\x88\x00").await;
    caller.say(b"\x88\x80\x00\x00\x00\x00").await;
    target.take(b"\x88\x80\x00\x00\x00\x00").await;
    drop(target);
    caller.hear_the_end().await;
    drop(caller);
    let metadata = house.records().await.remove(0).metadata;
    for (member, value) in [
        ("status", json!(101)),
        ("code", json!("answered")),
        ("success", json!(true)),
        ("method", json!("GET")),
        ("door", json!("direct")),
        ("request_bytes", json!(3 * MASKED_HELLO.len() + 6)),
        ("response_bytes", json!(3 * HELLO.len() + 2)),
    ] {
        assert_eq!(metadata[member], value, "{member} of {metadata}");
    }
}

#[tokio::test]
async fn a_caller_that_leaves_ends_it_at_the_target() {
    let (house, bare) = with_bare(SKIP).await;
    let (caller, mut target) = opened(&house, &bare).await;
    drop(caller);
    target.hear_the_end().await;
    drop(target);
    eventually("it is recorded", || async { !house.records().await.is_empty() }).await;
}

#[tokio::test]
async fn where_nothing_moves_for_too_long_it_ends() {
    let (house, bare) = with_bare("inspect = \"skip\"\nidle_timeout = \"400ms\"").await;
    let (mut caller, mut target) = opened(&house, &bare).await;
    // Either direction keeps it.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        target.say(HELLO).await;
        caller.take(HELLO).await;
    }
    caller.hear_the_end().await;
    target.hear_the_end().await;
    assert_eq!(house.records().await[0].metadata["code"], "answer_broken");
}

#[tokio::test]
async fn at_the_end_of_a_drain_it_is_cut_and_recorded() {
    let bare = Bare::listen().await;
    let house = House::plan().policy("own.toml", &bare.target("bare", SKIP)).variable("GATEKEEPER_DRAIN_SECONDS", "1").open().await;
    let (mut caller, mut target) = opened(&house, &bare).await;
    let closing = tokio::spawn(house.close());
    // It lives through the drain.
    tokio::time::sleep(Duration::from_millis(300)).await;
    caller.say(MASKED_HELLO).await;
    target.take(MASKED_HELLO).await;
    caller.hear_the_end().await;
    target.hear_the_end().await;
    let closed = closing.await.unwrap();
    let kept = crate::support::rows::rows(
        &closed.database,
        "select json_extract(metadata, '$.code'), json_extract(metadata, '$.status') from eliza_activity_log",
    )
    .await;
    assert_eq!(kept, [["abandoned", "101"].map(str::to_owned).to_vec()]);
}

#[tokio::test]
async fn where_bodies_are_judged_no_other_protocol_passes() {
    let (house, bare) = with_bare("").await;
    let mut caller = say(&house, head("GET", "bare", WEBSOCKET)).await;
    let refused = caller.reply().await.expect(403);
    assert_eq!(refused.code(), "upgrade_not_allowed");
    assert!(refused.json()["message"].as_str().unwrap().contains("inspect = \"skip\""), "{:?}", refused.body);
    assert_eq!(house.record_of(&refused).await.metadata["code"], "upgrade_not_allowed");
    assert!(bare.is_left_alone().await);
    // Clients that offer HTTP/2 with every first request are no callers of another protocol.
    let offer = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n";
    let mut caller = say(&house, head("GET", "bare", offer)).await;
    let mut target = bare.accept().await;
    target.hear_head().await;
    target.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert!(caller.hear_head().await.starts_with("HTTP/1.1 204 "));
}

/// An HTTP/2 connection to the target would carry calls past every gate.
#[tokio::test]
async fn no_form_of_http_is_gone_on_in() {
    let (house, bare) = with_bare(SKIP).await;
    let offers = [
        ("h2c", "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n", None),
        ("some", "connection: upgrade\r\nupgrade: H2C, TLS/1.2\r\nupgrade: HTTP/2.0\r\n", None),
        (
            "some and another",
            "connection: upgrade\r\nupgrade: h2c, chat/2\r\nupgrade: websocket\r\n",
            Some("upgrade: chat/2, websocket\r\n"),
        ),
    ];
    for (name, offer, goes_on) in offers {
        let mut caller = say(&house, head("GET", "bare", offer)).await;
        let mut target = bare.accept().await;
        let got = target.hear_head().await;
        assert!(!got.to_lowercase().contains("h2c") && !got.contains("http2") && !got.contains("TLS"), "{name}: {got}");
        assert_eq!(got.contains("upgrade: "), goes_on.is_some(), "{name}: {got}");
        assert!(goes_on.is_none_or(|line| got.contains(line)), "{name}: {got}");
        target.say("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
        assert!(caller.hear_head().await.starts_with("HTTP/1.1 204 "), "{name}");
    }
}

#[tokio::test]
async fn a_target_may_decline_and_may_not_switch_unasked() {
    let (house, bare) = with_bare(SKIP).await;
    let mut caller = say(&house, head("GET", "bare", WEBSOCKET)).await;
    let mut target = bare.accept().await;
    target.hear_head().await;
    target.say("HTTP/1.1 426 Upgrade Required\r\nupgrade: chat/2\r\ncontent-length: 2\r\n\r\nno").await;
    assert_eq!(caller.reply().await.expect(426).body, "no");

    let mut caller = say(&house, head("GET", "bare", "")).await;
    target.hear_head().await;
    target.say(SWITCHING).await;
    assert_eq!(caller.reply().await.expect(502).code(), "upstream_invalid_response");
}

#[tokio::test]
async fn our_credentials_go_along_and_the_callers_stay_here() {
    let bare = Bare::listen().await;
    let own = bare.target("bare", SKIP).replace("credentials = \"none\"", "bearer = \"BARE_TOKEN\"");
    let house = House::plan().policy("own.toml", &own).variable("BARE_TOKEN", "t0ken").open().await;
    let mut caller = say(&house, head("GET", "bare", &format!("{WEBSOCKET}authorization: Bearer mine\r\n"))).await;
    let mut target = bare.accept().await;
    let got = target.hear_head().await;
    assert!(got.contains("authorization: Bearer t0ken\r\n") && !got.contains("mine") && !got.contains("x-eliza-key"), "{got}");
    target.say(SWITCHING).await;
    caller.hear_head().await;
}
