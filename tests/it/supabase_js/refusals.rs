//! What the gatekeeper itself has to say, as the client shows it: a `FunctionsHttpError` whose response says all of it.

use eliza_gatekeeper::clock::ManualClock;
use serde_json::{Value, json};

use super::{ANON, SOURCE, Supabase, plan, recorded};
use crate::support::house::{KEY, midnight};
use crate::support::targets::Conduct;

/// The refusal's body, if that is what it is.
fn refusal(answer: &Value, status: u16) -> Value {
    assert_eq!((&answer["error"]["kind"], &answer["status"]), (&json!("FunctionsHttpError"), &json!(status)), "{answer}");
    let body: Value = serde_json::from_str(answer["error"]["body"].as_str().unwrap()).unwrap();
    assert!(body["error"].is_string() && body["message"].is_string(), "{body}");
    assert_eq!(body["call_id"], answer["headers"]["x-call-id"]);
    assert_eq!(answer["headers"]["content-type"], "application/json");
    body
}

#[tokio::test]
async fn strangers_are_401() {
    let house = plan().open().await;
    for headers in [json!({}), json!({"x-eliza-source": SOURCE}), json!({"x-eliza-key": "wrong", "x-eliza-source": SOURCE})] {
        let answer = Supabase::with(&house, ANON, &headers, None).await.post("brain", &json!({"a": 1})).await;
        assert_eq!(refusal(&answer, 401)["code"], "unauthorized", "{headers}");
        assert_eq!(recorded(&house, &answer).await["source"], "unauthenticated");
    }
    assert!(house.targets.received("brain").is_empty());
}

#[tokio::test]
async fn dangerous_sql_is_403_wherever_it_stands() {
    let house = plan().open().await;
    let mut client = Supabase::of(&house, SOURCE).await;
    let dangerous = [
        ("brain", json!({}), json!({"json": {"sql": "DROP TABLE users"}})),
        ("brain", json!({}), json!({"json": {"steps": [{"query": "drop table users"}]}})),
        ("brain", json!({"method": "PUT"}), json!({"json": {"note": "DROP TABLE users;"}})),
        ("brain?query=DROP%20TABLE%20users", json!({"method": "GET"}), json!({})),
        ("brain", json!({}), json!({"bytes": br#"{"sql":"DROP TABLE users"}"#})),
        ("streaming-brain?sql=DROP%20TABLE%20users", json!({}), json!({})),
    ];
    for (target, options, body) in dangerous {
        let answer = client.invoke(target, &options, &body).await;
        let refused = refusal(&answer, 403);
        assert_eq!((&refused["code"], &refused["blocked_pattern"]), (&json!("dangerous_operation"), &json!(r"/DROP\s+TABLE/i")), "{body}");
        assert_eq!(recorded(&house, &answer).await["code"], "dangerous_operation");
    }
    assert!(house.targets.received_in_all().is_empty());
}

#[tokio::test]
async fn a_target_for_others_is_403_and_an_unknown_one_404() {
    let house = plan().open().await;
    let mut client = Supabase::of(&house, SOURCE).await;
    let others = client.post("closed-shop", &json!({})).await;
    assert_eq!(refusal(&others, 403)["code"], "caller_not_allowed");
    let unknown = client.post("nobody-knows-it", &json!({})).await;
    assert_eq!(refusal(&unknown, 404)["code"], "unknown_target");
    assert_eq!(recorded(&house, &unknown).await["target"], "nobody-knows-it");
    assert!(house.targets.received_in_all().is_empty());
}

#[tokio::test]
async fn beyond_the_limit_is_429_with_the_time_to_wait() {
    let house = plan().at(&ManualClock::at(midnight())).open().await;
    let mut client = Supabase::of(&house, "hasty").await;
    for left in ["1", "0"] {
        let answer = client.post("brain", &json!({"a": 1})).await;
        assert_eq!((&answer["status"], &answer["headers"]["x-ratelimit-remaining"]), (&json!(200), &json!(left)));
    }
    let answer = client.post("brain", &json!({"a": 1})).await;
    refusal(&answer, 429);
    assert_eq!(answer["headers"]["retry-after"], "60");
    assert_eq!(recorded(&house, &answer).await["error_class"], "limit");
    assert_eq!(house.targets.received("brain").len(), 2);
}

#[tokio::test]
async fn a_target_that_fails_is_told_from_the_gatekeeper() {
    let house = plan().open().await;
    house.targets.let_be("brain", Conduct::reset());
    let answer = Supabase::of(&house, SOURCE).await.post("brain", &json!({"a": 1})).await;
    assert_eq!(refusal(&answer, 502)["code"], "upstream_reset");
    assert!(!answer.to_string().contains(KEY));
}
