//! Runaway calls are stopped and seen: loops end, a target that keeps failing is left alone, and operators can look at both.

use serde_json::json;

use crate::support::house::{ADMIN_TOKEN, House};
use crate::support::targets::{Conduct, Targets};

const QUICK_BREAKER: &str = r#"
[target_defaults]
url = "${SUPABASE_URL}/functions/v1/{target}"
credentials = "service-role"
breaker = { failures = 3, open = "30s" }

[[target]]
names = ["python-executor", "openai-chat"]
"#;

const NO_VALIDATOR: &str = "[schema]\nvalidator = \"off\"\nfixer = \"off\"\n";

#[tokio::test]
async fn b11_a_call_that_goes_round_in_circles_ends() {
    let house = House::open().await;
    let hops = |n: &str| {
        house
            .call("gemini-chat")
            .to("openai-chat")
            .payload(json!({ "messages": [{ "role": "user", "content": "hi" }] }))
            .header("x-eliza-hops", n)
            .send()
    };
    assert_eq!(hops("7").await.status, 200);
    let ended = hops("8").await.expect(508);
    assert_eq!(ended.code(), "loop_detected");
    let passed_on = house.targets.received_once("openai-chat");
    assert_eq!(passed_on.header("x-eliza-hops"), Some("8"), "the next gatekeeper must be able to count on");
    assert_eq!(house.record_of(&ended).await.metadata["code"], "loop_detected");
}

#[tokio::test]
async fn b11_a_target_that_keeps_failing_is_left_alone_and_operators_see_it() {
    let targets = Targets::like_the_platform().but("python-executor", Conduct::close());
    let house = House::plan().policy("targets.toml", QUICK_BREAKER).policy("schema.toml", NO_VALIDATOR).targets(targets).open().await;
    let call = || house.call("gemini-chat").to("python-executor").payload(json!({ "code": "1" })).send();
    for _ in 0..3 {
        assert_eq!(call().await.expect(502).code(), "upstream_reset");
    }
    let refused = call().await.expect(503);
    assert_eq!(refused.code(), "breaker_open");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    house
        .call("gemini-chat")
        .to("openai-chat")
        .payload(json!({ "messages": [{ "role": "user", "content": "hi" }] }))
        .send()
        .await
        .expect(200);

    let metrics = house.get_ops("/metrics", &[]).await.expect(200);
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(text.contains("gatekeeper_breaker_state{target=\"python-executor\"} 1"), "{text}");
    assert!(text.contains("gatekeeper_calls_total{outcome=\"breaker_open\"} 1"), "{text}");

    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let listed = house.get_ops("/api/admin/breakers", &[("authorization", &bearer)]).await.expect(200).json();
    let open: Vec<_> = listed["breakers"].as_array().unwrap().iter().filter(|breaker| breaker["state"] == "open").collect();
    assert_eq!(open.len(), 1);
    assert_eq!((&open[0]["target"], &open[0]["opened"]), (&json!("python-executor"), &json!(1)));
}

#[tokio::test]
async fn the_admin_api_wants_its_token_and_is_off_without_one() {
    let house = House::open().await;
    assert_eq!(house.get_ops("/api/admin/breakers", &[]).await.expect(401).code(), "unauthorized");
    for wrong in ["Bearer x", "Bearer ", "Basic YTpi", ADMIN_TOKEN] {
        house.get_ops("/api/admin/breakers", &[("authorization", wrong)]).await.expect(401);
    }
    house.get("/api/admin/breakers").await.expect(404);
    let without = House::plan().variable("GATEKEEPER_ADMIN_TOKEN", "").open().await;
    let refused = without.get_ops("/api/admin/breakers", &[("authorization", "Bearer ")]).await.expect(403);
    assert_eq!(refused.code(), "admin_api_off");
}
