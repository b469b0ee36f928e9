//! Bodies pass piece by piece in both directions, neither kept nor hurried; where one side ends, the other learns of it.

use std::time::Duration;

use eliza_gatekeeper::settings::Bounds;
use http::Method;
use serde_json::json;

use super::{head, say, send, with_bare};
use crate::support::bare::Bare;
use crate::support::house::{House, KEY, eventually};
use crate::support::line::Line;
use crate::support::program::Program;

const SKIP: &str = "inspect = \"skip\"\nidle_timeout = \"20s\"";
const CHUNKED: &str = "transfer-encoding: chunked\r\n";

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

async fn code_of_the_last(house: &House) -> serde_json::Value {
    house.records().await.last().unwrap().metadata["code"].clone()
}

#[tokio::test]
async fn a_request_goes_up_piece_by_piece() {
    let (house, bare) = with_bare(SKIP).await;
    let mut caller = say(&house, head("POST", "bare/up?x=1", CHUNKED)).await;
    caller.say(chunk("first")).await;
    let mut target = bare.accept().await;
    assert!(target.hear_head().await.contains(CHUNKED));
    target.hear_up_to(&chunk("first")).await;
    // Only now is there more.
    caller.say(chunk("last") + "0\r\n\r\n").await;
    target.hear_up_to(&(chunk("last") + "0\r\n\r\n")).await;
    target.say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine").await;
    assert_eq!(caller.reply().await.expect(200).body, "fine");
    let record = house.records().await.remove(0);
    assert_eq!((&record.metadata["request_bytes"], &record.metadata["code"]), (&json!(9), &json!("answered")));
}

#[tokio::test]
async fn an_answer_may_come_while_the_request_goes_on() {
    let (house, bare) = with_bare(SKIP).await;
    let mut caller = say(&house, head("POST", "bare", CHUNKED)).await;
    let mut target = bare.accept().await;
    target.hear_head().await;
    target.say(format!("HTTP/1.1 200 OK\r\n{CHUNKED}\r\n")).await;
    assert!(caller.hear_head().await.starts_with("HTTP/1.1 200"));
    for word in ["one", "two", "three"] {
        caller.say(chunk(word)).await;
        target.hear_up_to(&chunk(word)).await;
        target.say(chunk(word)).await;
        caller.hear_up_to(&chunk(word)).await;
    }
    caller.say("0\r\n\r\n").await;
    target.say("0\r\n\r\n").await;
    caller.hear_up_to("0\r\n\r\n").await;
    assert_eq!(code_of_the_last(&house).await, "answered");
}

#[tokio::test]
async fn a_request_goes_on_behind_its_answer_for_as_long_as_it_takes() {
    let bare = Bare::listen().await;
    let short: fn(&mut Bounds) = |bounds| bounds.idle = Duration::from_millis(600);
    let house = House::plan().policy("own.toml", &bare.target("bare", SKIP)).bounds(short).open().await;
    let mut caller = say(&house, head("POST", "bare", CHUNKED)).await;
    let mut target = bare.accept().await;
    target.hear_head().await;
    target.say("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine").await;
    caller.reply().await.expect(200);
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        caller.say(chunk("more")).await;
        target.hear_up_to(&chunk("more")).await;
    }
    caller.say("0\r\n\r\n").await;
    target.hear_up_to("0\r\n\r\n").await;
    caller.say("GET /livez HTTP/1.1\r\nhost: gate.example\r\n\r\n").await.reply().await.expect(200);
}

#[tokio::test]
async fn events_arrive_when_they_happen() {
    let (house, bare) = with_bare("").await;
    let mut caller = say(&house, head("GET", "bare/events", "accept: text/event-stream\r\n")).await;
    let mut target = bare.accept().await;
    target.hear_head().await;
    target.say(format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{CHUNKED}\r\n")).await;
    assert!(caller.hear_head().await.contains("content-type: text/event-stream\r\n"));
    for event in ["data: 1\n\n", "data: 2\n\n", ": still here\n\n"] {
        target.say(chunk(event)).await;
        caller.hear_up_to(event).await;
    }
    // The caller has heard enough, and the target learns of it.
    drop(caller);
    target.hear_the_end().await;
    let record = house.records().await.remove(0);
    assert_eq!(
        (&record.metadata["code"], &record.metadata["status"], &record.metadata["success"]),
        (&json!("abandoned"), &json!(200), &json!(true))
    );
}

#[tokio::test]
async fn a_caller_that_goes_away_while_it_sends_ends_the_call_at_the_target() {
    let (house, bare) = with_bare(SKIP).await;
    let mut caller = say(&house, head("POST", "bare", CHUNKED)).await;
    caller.say(chunk("half of it")).await;
    let mut target = bare.accept().await;
    target.hear("half of it").await;
    drop(caller);
    let heard = target.hear_the_end().await;
    assert!(!heard.contains("0\r\n\r\n"), "it must not look whole: {heard}");
    eventually("the call is recorded", || async { !house.records().await.is_empty() }).await;
    let record = house.records().await.remove(0);
    assert!(["abandoned", "body_broken"].iter().any(|code| record.metadata["code"] == *code), "{}", record.metadata);
    assert_eq!(record.metadata["error_class"], "caller");
}

#[tokio::test]
async fn broken_chunks_break_the_call_and_never_look_whole() {
    let (house, bare) = with_bare(SKIP).await;
    let mut caller = say(&house, head("POST", "bare", CHUNKED)).await;
    caller.say(chunk("fine")).await;
    let mut target = bare.accept().await;
    target.hear("fine").await;
    caller.say("NOT HEX\r\nGET /functions/v1/admin HTTP/1.1\r\n\r\n").await;
    let heard = target.hear_the_end().await;
    assert!(!heard.contains("0\r\n\r\n") && !heard.contains("admin"), "{heard}");
    assert!(caller.hear_the_end().await.starts_with("HTTP/1.1 400 "));
    assert_eq!(code_of_the_last(&house).await, "body_broken");
}

#[tokio::test]
async fn a_caller_that_stands_still_is_told_so_and_the_target_is_not_blamed() {
    let (house, bare) =
        with_bare("inspect = \"skip\"\nidle_timeout = \"300ms\"\ntimeout = \"100ms\"\nbreaker = { failures = 1, open = \"1h\" }").await;
    let mut caller = say(&house, head("POST", "bare", CHUNKED)).await;
    let mut target = bare.accept().await;
    caller.say(chunk("and then")).await;
    let told = caller.hear_the_end().await;
    assert!(told.starts_with("HTTP/1.1 408 ") && told.contains("body_too_slow"), "{told}");
    assert!(target.hear_the_end().await.contains("and then"));
    // The breaker has heard of nothing.
    let mut caller = say(&house, head("GET", "bare", "")).await;
    let mut target = bare.accept().await;
    target.hear_head().await;
    target.say("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert!(caller.hear_head().await.starts_with("HTTP/1.1 204"));
}

#[tokio::test]
async fn a_target_has_its_time_from_the_end_of_what_it_is_sent() {
    let (house, bare) = with_bare("inspect = \"skip\"\ntimeout = \"400ms\"").await;
    let mut caller = say(&house, head("POST", "bare", CHUNKED)).await;
    let _target = bare.accept().await;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        caller.say(chunk("more")).await;
    }
    let before = tokio::time::Instant::now();
    caller.say("0\r\n\r\n").await;
    let told = caller.hear("upstream_timeout").await;
    assert!(told.starts_with("HTTP/1.1 504 ") && before.elapsed() >= Duration::from_millis(350), "{:?}: {told}", before.elapsed());
}

#[tokio::test]
async fn a_target_that_breaks_off_is_a_broken_answer() {
    let (house, bare) = with_bare("").await;
    for framing in [CHUNKED, "content-length: 100\r\n"] {
        let mut caller = say(&house, head("GET", "bare", "")).await;
        let mut target = bare.accept().await;
        target.hear_head().await;
        target.say(format!("HTTP/1.1 200 OK\r\n{framing}\r\n{}", chunk("half of it"))).await;
        caller.hear("half of it").await;
        drop(target);
        let heard = caller.hear_the_end().await;
        assert!(!heard.ends_with("0\r\n\r\n"), "it must not look whole: {heard}");
        assert_eq!(code_of_the_last(&house).await, "answer_broken");
    }
}

#[tokio::test]
async fn what_is_only_on_the_way_to_an_answer_stays_with_us() {
    let (house, bare) = with_bare("").await;
    let mut caller = say(&house, head("POST", "bare", "content-length: 2\r\n")).await;
    caller.say("{}").await;
    let mut target = bare.accept().await;
    target.hear("{}").await;
    target
        .say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await;
    assert_eq!(caller.reply().await.expect(200).body, "ok");
    assert_eq!(caller.left(), "");
}

#[tokio::test]
async fn a_body_is_asked_for_when_it_is_wanted_and_not_before() {
    let (house, bare) = with_bare(SKIP).await;
    const EXPECT: &str = "content-length: 4\r\nexpect: 100-continue\r\n";
    // Of whom nobody knows, none is wanted.
    let mut stranger = Line::to(house.data).await;
    stranger.say(format!("POST /functions/v1/bare HTTP/1.1\r\nhost: gate.example\r\n{EXPECT}\r\n")).await;
    let told = stranger.hear_head().await;
    assert!(told.starts_with("HTTP/1.1 401 "), "{told}");
    let mut lost = say(&house, head("POST", "no-such-target", EXPECT)).await;
    assert!(lost.hear_head().await.starts_with("HTTP/1.1 404 "));

    // Judged bodies are wanted once the caller is known; streaming ones once there is a target.
    let mut judged = say(&house, head("POST", "get-embedding", EXPECT)).await;
    assert!(judged.hear_head().await.starts_with("HTTP/1.1 100 "));
    judged.say("{  }").await;
    judged.reply().await.expect(200);
    let mut streaming = say(&house, head("POST", "bare", EXPECT)).await;
    let mut target = bare.accept().await;
    assert!(streaming.hear_head().await.starts_with("HTTP/1.1 100 "));
    streaming.say("body").await;
    target.hear("body").await;
    assert!(!target.left().contains("expect"), "that was between the caller and us");
    target.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    streaming.reply().await.expect(200);
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let inspects = [SKIP, "inspect = \"required\""];
    for inspect in inspects {
        let (house, bare) = with_bare(inspect).await;
        let announced =
            "trailer: x-checksum, x-eliza-key, client-cert, content-length, authorization\r\nte: trailers\r\nconnection: te\r\n";
        let mut caller = say(&house, head("POST", "bare", &format!("{CHUNKED}{announced}"))).await;
        caller
            .say(chunk("text") + "0\r\nx-checksum: abc\r\nx-eliza-key: secret\r\nclient-cert: :a:\r\nauthorization: secret\r\nx-unannounced: 1\r\n\r\n")
            .await;
        let mut target = bare.accept().await;
        let got = target.hear_head().await;
        assert!(got.contains("trailer: x-checksum\r\n") && got.contains("te: trailers\r\n") && got.contains("connection: te\r\n"), "{got}");
        let body = target.hear_up_to("\r\n\r\n").await;
        assert_eq!(body, chunk("text") + "0\r\nx-checksum: abc\r\n\r\n", "{inspect}");

        target.say(format!("HTTP/1.1 200 OK\r\n{CHUNKED}trailer: x-after, x-eliza-note\r\n\r\n")).await;
        target.say(chunk("answer") + "0\r\nx-after: 7\r\nx-eliza-note: theirs\r\nset-cookie: a=b\r\n\r\n").await;
        assert!(caller.hear_head().await.contains("trailer: x-after\r\n"));
        assert_eq!(caller.hear_up_to("\r\n\r\n").await, chunk("answer") + "0\r\nx-after: 7\r\n\r\n");
        assert_eq!(code_of_the_last(&house).await, "answered");
    }
}

/// 1 GB up to a target that takes it slowly, and 1 GB down to a caller that does: whoever is slow is waited for, and nothing piles up.
#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_take_no_memory() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 1024;
    let bare = Bare::listen().await;
    let program = Program::new();
    let policies = crate::support::house::lay_policies(program.folder(), &[("own.toml".to_owned(), bare.target("bare", SKIP))]);
    let program = program.variable("GATEKEEPER_POLICIES", policies.to_str().unwrap()).serve().await;

    let call = |method: &str, more: &str| head(method, "bare", more);
    let mut caller = Line::to(program.data).await;
    caller.say(call("POST", &format!("content-length: {}\r\n", PIECE * PIECES))).await;
    let mut target = bare.accept().await;
    target.hear_head().await;
    caller.say(vec![b'x'; PIECE]).await;
    target.skip(PIECE).await;
    let before = program.peak_memory();
    let sending = async {
        for _ in 1..PIECES {
            caller.say(vec![b'x'; PIECE]).await;
        }
    };
    let taking = async {
        // Long enough for whatever would pile up to do so.
        tokio::time::sleep(Duration::from_millis(500)).await;
        target.skip(PIECE * (PIECES - 1)).await;
    };
    tokio::join!(sending, taking);
    target.say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", PIECE * PIECES)).await;
    caller.hear_head().await;
    let sending = async {
        for _ in 0..PIECES {
            target.say(vec![b'y'; PIECE]).await;
        }
    };
    let taking = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        caller.skip(PIECE * PIECES).await;
    };
    tokio::join!(sending, taking);
    let grown = program.peak_memory() - before;
    assert!(grown < 10 << 20, "{grown} bytes more than before");
    assert_eq!(program.stop().await.code, 0);
}

#[tokio::test]
async fn a_call_without_a_body_needs_none() {
    let (house, bare) = with_bare(SKIP).await;
    let calling = async { send(&house, Method::GET, "bare", &[], "").await.expect(200) };
    let answering = async {
        let mut target = bare.accept().await;
        let got = target.hear_head().await;
        assert!(!got.contains("content-length") && !got.contains("transfer-encoding") && !got.contains(KEY), "{got}");
        target.say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    };
    tokio::join!(calling, answering);
}
