//! What operators rely on when they keep somebody out: it holds for every call from there and nobody else's, costs the source nothing of
//! its limits, ends when they said, and each refusal is recorded with their reason and its place.

use std::net::IpAddr;
use std::time::Duration;

use eliza_gatekeeper::audit::Actor;
use eliza_gatekeeper::clock::ManualClock;
use eliza_gatekeeper::control::ControlError;
use serde_json::json;

use crate::support::house::{House, KEY, Plan, Reply, SERVICE_KEY, call_at, midnight};
use crate::support::rows::rows;

/// Tests call from 127.0.0.1.
const HERE: &str = "\
[[block]]
networks = ['127.0.0.0/8']
reason = 'INC-4711'
until = 2026-03-04T00:01:00Z
";

const DISABLED: &str = "\
[[block]]
sources = ['gemini-chat', 'superduper-*']
reason = 'runs wild'
";

fn blocking(block: &str) -> Plan {
    House::plan().policy("own.toml", block)
}

#[tokio::test]
async fn a_blocked_network_is_refused_recorded_and_not_counted() {
    let house = blocking(HERE).at(&ManualClock::at(midnight())).open().await;
    let mut refused = Vec::new();
    refused.push(house.call("gemini-chat").to("get-embedding").send().await.expect(403));
    let bearer = format!("Bearer {SERVICE_KEY}");
    refused.push(house.nameless_call().header("authorization", &bearer).to("get-embedding").send().await.expect(403));
    for reply in refused {
        assert_eq!(reply.code(), "network_blocked");
        let told = String::from_utf8(reply.body.to_vec()).unwrap();
        assert!(!told.contains("INC-4711") && !told.contains("own.toml"), "{told}");
        let kept = house.record_of(&reply).await.metadata;
        let said = ["code", "reason", "policy_line"].map(|member| kept[member].clone());
        assert_eq!(said, [json!("network_blocked"), json!("INC-4711"), json!("own.toml:2")], "{kept}");
    }
    assert!(house.targets.received_in_all().is_empty());
    assert_eq!(rows(&house.database, "select count(*) from rate_limits").await, [["0"]]);
    // Whoever shows nothing is told nothing new.
    house.nameless_call().to("get-embedding").send().await.expect(401);
}

#[tokio::test]
async fn a_block_ends_when_it_was_said_to() {
    let clock = ManualClock::at(midnight());
    let house = blocking(HERE).at(&clock).open().await;
    clock.advance(Duration::from_micros(59_999_999));
    house.call("gemini-chat").to("get-embedding").send().await.expect(403);
    clock.advance(Duration::from_micros(1));
    house.call("gemini-chat").to("get-embedding").send().await.expect(200);
}

#[tokio::test]
async fn a_source_that_is_disabled_is_refused_and_nobody_else() {
    let house = blocking(DISABLED).open().await;
    for source in ["gemini-chat", "superduper-trader", "superduper-router"] {
        let reply = house.call(source).to("get-embedding").send().await.expect(403);
        assert_eq!(reply.code(), "source_disabled");
        assert_eq!(house.record_of(&reply).await.metadata["source"], source);
    }
    house.call("openai-chat").to("get-embedding").send().await.expect(200);
    // The service role only says that it is somebody.
    let bearer = format!("Bearer {SERVICE_KEY}");
    let platform = house.nameless_call().header("authorization", &bearer).header("x-eliza-source", "gemini-chat");
    platform.to("get-embedding").send().await.expect(200);
}

#[tokio::test]
async fn nobody_can_keep_everyone_out_at_a_moments_notice() {
    let house = House::open().await;
    let by = Actor::admin(Some("alice"), [192, 0, 2, 1].into());
    for everyone in ["0.0.0.0/0", "::/0", "*"] {
        let refused = house.gatekeeper.control.block(everyone, "panic", None, &by).await;
        assert!(matches!(refused, Err(ControlError::Invalid(_))), "{everyone}: {refused:?}");
    }
    house.call("gemini-chat").to("get-embedding").send().await.expect(200);
}

async fn forwarded(house: &House, said: &str) -> Reply {
    house.call("gemini-chat").header("x-forwarded-for", said).to("get-embedding").send().await
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_caller_is_whom_it_speaks_for() {
    let block = "[[block]]\nnetworks = ['203.0.113.7']\nreason = 'INC-4711'\n";
    let house = blocking(block).variable("GATEKEEPER_TRUSTED_PROXIES", "127.0.0.1, ::1").open().await;
    for said in ["203.0.113.7", "198.51.100.1, 203.0.113.7", "203.0.113.7, 127.0.0.1"] {
        let reply = forwarded(&house, said).await.expect(403);
        assert_eq!(house.record_of(&reply).await.metadata["network"], "203.0.113.0/24", "{said}");
    }
    let reply = forwarded(&house, "203.0.113.7, 198.51.100.1").await.expect(200);
    assert_eq!(house.record_of(&reply).await.metadata["network"], "198.51.100.0/24");
    let received = house.targets.received("get-embedding");
    assert_eq!(received.last().unwrap().headers["x-forwarded-for"], "198.51.100.1, 127.0.0.1", "the target is told who calls");

    // Anybody may say anything; only a trusted proxy is believed.
    let house = blocking(block).open().await;
    let reply = forwarded(&house, "203.0.113.7").await.expect(200);
    assert_eq!(house.record_of(&reply).await.metadata["network"], "127.0.0.0/24");
}

#[tokio::test]
async fn while_enforcement_is_off_a_block_is_noted() {
    let house = blocking(HERE).at(&ManualClock::at(midnight())).variable("GATEKEEPER_ENFORCE", "false").open().await;
    let reply = house.call("gemini-chat").to("get-embedding").send().await.expect(200);
    let kept = house.record_of(&reply).await.metadata;
    let would = &kept["would_deny"][0];
    let said = ["gate", "code", "reason"].map(|member| would[member].clone());
    assert_eq!(said, [json!("blocklist"), json!("network_blocked"), json!("INC-4711")], "{kept}");
}

#[tokio::test]
async fn an_ipv4_caller_on_an_ipv6_socket_is_an_ipv4_caller() {
    let house = blocking(HERE).at(&ManualClock::at(midnight())).variable("GATEKEEPER_LISTEN", "[::]:0").open().await;
    let mapped = std::net::SocketAddr::new(IpAddr::from([127, 0, 0, 1]), house.data.port());
    let envelope = json!({"target": "get-embedding"});
    let reply = call_at(mapped, KEY, "gemini-chat", &envelope).await;
    assert_eq!(reply.expect(403).code(), "network_blocked");
    // ::1 is another network.
    house.call("gemini-chat").to("get-embedding").send().await.expect(200);
}
