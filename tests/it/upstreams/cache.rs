//! Answers that policy lets be kept are given again, to those who may have them and for no longer than it says; the call is a call like
//! any other for all that.

use std::time::Duration;

use eliza_gatekeeper::clock::ManualClock;
use eliza_gatekeeper::policy::{CachePolicy, Sharing};
use eliza_gatekeeper::upstream::AnswerBroken;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use super::Scene;
use crate::support::house::{House, Reply, midnight};
use crate::support::targets::{Conduct, Targets};
use crate::upstream::{body, call};

const POLICY: &str = r#"
[[target]]
names = ["catalog"]
cache = { ttl = "300s", actions = ["list"] }

[[target]]
names = ["weather"]
cache = { ttl = "60s", actions = ["*"], shared = true }
"#;

async fn house(clock: &ManualClock) -> House {
    House::plan().policy("cached.toml", POLICY).at(clock).open().await
}

async fn list(house: &House, source: &str, payload: Value) -> Reply {
    house.call(source).to("catalog").action("list").payload(payload).send().await.expect(200)
}

fn used(reply: &Reply) -> Option<&str> {
    reply.header("x-cache")
}

#[tokio::test]
async fn the_same_question_is_answered_once_by_the_target_and_then_from_what_was_kept() {
    let clock = ManualClock::at(midnight());
    let house = house(&clock).await;
    let first = list(&house, "gemini-chat", json!({ "page": 1 })).await;
    clock.advance(Duration::from_secs(7));
    let second = list(&house, "gemini-chat", json!({ "page": 1 })).await;
    assert_eq!([used(&first), used(&second), second.header("age")], [Some("miss"), Some("hit"), Some("7")]);
    assert_eq!((&first.body, &first.headers["content-type"]), (&second.body, &second.headers["content-type"]));
    assert_ne!(first.call_id(), second.call_id());
    house.targets.received_once("catalog");

    // It is counted, and recorded as what it is.
    let left = |reply: &Reply| reply.header("x-ratelimit-remaining").unwrap().parse::<u32>().unwrap();
    assert_eq!(left(&first) - left(&second), 1);
    let recorded = [house.record_of(&first).await.metadata, house.record_of(&second).await.metadata];
    assert_eq!(recorded.each_ref().map(|metadata| metadata["cache"].clone()), ["miss", "hit"]);
    assert_eq!((&recorded[1]["status"], &recorded[1]["success"], &recorded[1]["tries"]), (&json!(200), &json!(true), &Value::Null));

    clock.advance(Duration::from_secs(293));
    assert_eq!(used(&list(&house, "gemini-chat", json!({ "page": 1 })).await), Some("miss"), "its time is up");
    let metrics = house.metrics().await;
    for line in ["cache_hits{target=\"catalog\"} 1", "cache_misses{target=\"catalog\"} 2", "cache_answers{target=\"catalog\"} 1"] {
        assert!(metrics.contains(&format!("gatekeeper_{line}\n")), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn what_is_another_question_or_anothers_is_asked() {
    let house = house(&ManualClock::at(midnight())).await;
    list(&house, "gemini-chat", json!({ "page": 1 })).await;
    assert_eq!(used(&list(&house, "gemini-chat", json!({ "page": 2 })).await), Some("miss"));
    assert_eq!(used(&list(&house, "openai-chat", json!({ "page": 1 })).await), Some("miss"), "what a source was told is its own");
    let other = house.call("gemini-chat").to("catalog").action("delete").payload(json!({ "page": 1 })).send().await.expect(200);
    assert_eq!(used(&other), None, "of this action nothing is kept");
    let plain = house.call("gemini-chat").to("echoing-elsewhere").payload(json!({})).send().await;
    assert_eq!(used(&plain), None);
    assert_eq!(house.targets.received("catalog").len(), 4);

    let ask = |source| house.call(source).to("weather").payload(json!({ "at": "sea" })).send();
    assert_eq!([used(&ask("gemini-chat").await), used(&ask("openai-chat").await)], [Some("miss"), Some("hit")], "policy shares it");
}

#[tokio::test]
async fn what_the_target_or_the_caller_does_not_want_kept_is_not() {
    let house = house(&ManualClock::at(midnight())).await;
    let fine = || Conduct::json(200, &json!({ "fine": true }));
    let table = [
        ("an error", Conduct::json(404, &json!({ "error": "none" }))),
        ("no-store", fine().with("cache-control", "no-store")),
        ("private", fine().with("cache-control", "private, max-age=60")),
        ("a cookie", fine().with("set-cookie", "session=1")),
        ("all of it varies", fine().with("vary", "*")),
    ];
    for (case, conduct) in table {
        house.targets.let_be("catalog", conduct);
        let before = house.targets.received("catalog").len();
        let ask = || house.call("gemini-chat").to("catalog").action("list").payload(json!({ "case": case }));
        assert_eq!(used(&ask().send().await), Some("miss"), "{case}");
        house.targets.let_be("catalog", fine());
        assert_eq!(used(&ask().send().await.expect(200)), Some("miss"), "{case}");
        assert_eq!(house.targets.received("catalog").len() - before, 2, "{case}");
    }

    let ask =
        |header: &str| house.call("gemini-chat").to("catalog").action("list").payload(json!({ "case": 1 })).header("cache-control", header);
    assert_eq!(used(&ask("no-store").send().await), None, "neither kept nor looked for");
    assert_eq!(used(&ask("max-age=60").send().await), Some("miss"));
    assert_eq!(used(&ask("no-cache").send().await), Some("miss"), "the caller wants it fresh");
    assert_eq!(used(&ask("max-age=60").send().await), Some("hit"));
}

#[tokio::test]
async fn what_was_kept_passes_the_gates_as_any_call() {
    let clock = ManualClock::at(midnight());
    let house = house(&clock).await;
    list(&house, "gemini-chat", json!({ "page": 1 })).await;
    let wrong = house.nameless_call().header("x-eliza-key", "wrong").header("x-eliza-source", "gemini-chat");
    wrong.to("catalog").action("list").payload(json!({ "page": 1 })).send().await.expect(401);
    let sql = house.call("gemini-chat").to("catalog").action("list").payload(json!({ "sql": "DROP TABLE users" })).send().await;
    sql.expect(403);
    house.targets.received_once("catalog");
}

#[tokio::test]
async fn a_target_that_is_gone_still_answers_what_it_has_answered() {
    let targets = Targets::like_the_platform();
    let house = House::plan().targets(targets).policy("cached.toml", POLICY).open().await;
    list(&house, "gemini-chat", json!({ "page": 1 })).await;
    house.targets.let_be("catalog", Conduct::reset());
    assert_eq!(used(&list(&house, "gemini-chat", json!({ "page": 1 })).await), Some("hit"));
}

#[tokio::test]
async fn only_what_came_whole_is_kept() {
    let mut scene = Scene::set([Conduct::close_mid_body()]).await;
    let cache = CachePolicy { ttl: Duration::from_secs(60), actions: vec!["*".into()], max_bytes: 1 << 20, sharing: Sharing::SameSource };
    scene.target.terms.cache = Some(cache);
    scene.follow();
    let ask = async || call(&scene.target).through(&scene.upstream).await.unwrap();
    let broken = ask().await.body.collect().await.unwrap_err();
    assert_eq!(broken, AnswerBroken::Reset);
    scene.servers[0].mend("brain");
    drop(ask().await);
    for expected in ["miss", "hit", "hit"] {
        let answer = ask().await;
        assert_eq!(answer.headers["x-cache"], expected);
        assert_eq!(body(answer).await, "{}");
    }
    assert_eq!(scene.arrived(), [3]);
    let kept = scene.upstream.targets()[0].1.cache.unwrap();
    assert_eq!((kept.answers, kept.hits, kept.misses), (1, 2, 3));
}
