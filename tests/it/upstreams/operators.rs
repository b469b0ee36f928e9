//! What operators see of a target's addresses, and what its health paths do.

use eliza_gatekeeper::audit::Actor;
use serde_json::{Value, json};

use crate::support::house::{ADMIN_TOKEN, House, eventually};
use crate::support::targets::{Conduct, Targets};

fn policy(urls: &[String], more: &str) -> String {
    format!("[[target]]\nnames = [\"trio\"]\nurls = {urls:?}\ncredentials = \"none\"\n{more}\n")
}

async fn server() -> Targets {
    Targets::like_the_platform().open_to_all().start().await
}

async fn seen(house: &House) -> Value {
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let listed = house.get_ops("/api/admin/breakers", &[("authorization", &bearer)]).await.expect(200).json();
    listed["breakers"].as_array().unwrap().iter().find(|breaker| breaker["target"] == "trio").unwrap().clone()
}

async fn warnings(house: &House) -> String {
    house.get_ops("/health", &[]).await.json()["warnings"].to_string()
}

#[tokio::test]
async fn an_address_that_is_left_out_is_seen_everywhere_and_its_callers_are_well() {
    let servers = [server().await, server().await];
    let urls = [servers[0].refusing_url("trio"), servers[1].url("trio")].map(|url| url.to_string());
    let house = House::plan().policy("trio.toml", &policy(&urls, "")).open().await;
    let call = || house.call("gemini-chat").to("trio").payload(json!({})).send();
    let mut last = call().await.expect(200);
    for _ in 0..9 {
        last = call().await.expect(200);
    }
    let trio = seen(&house).await;
    assert_eq!((&trio["state"], &trio["failures"], &trio["in_flight"]), (&json!("closed"), &json!(0), &json!(0)));
    let (dead, well) = (&trio["urls"][0], &trio["urls"][1]);
    assert_eq!(
        (&dead["url"], &dead["state"], &dead["failed"], &dead["ejections"]),
        (&json!(urls[0]), &json!("ejected"), &json!(3), &json!(1))
    );
    assert!((1..=10).contains(&dead["seconds_left"].as_u64().unwrap()), "{dead}");
    assert_eq!(
        (&well["state"], &well["calls"], &well["failed"], &well["seconds_left"]),
        (&json!("well"), &json!(10), &json!(0), &Value::Null)
    );

    let metrics = house.metrics().await;
    for (family, url, value) in [("state", &urls[0], 3), ("state", &urls[1], 0), ("calls", &urls[1], 10), ("failures", &urls[0], 3)] {
        let line = format!("gatekeeper_target_url_{family}{{target=\"trio\",url=\"{url}\"}} {value}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    assert!(warnings(&house).await.contains(&format!("trio: {} keeps failing and gets no calls for", urls[0])));
    let page = house.get_ops("/api/monitoring/health", &[]).await.json();
    assert_eq!(page["targets"]["trio"]["urls"], json!({ urls[0].as_str(): "ejected", urls[1].as_str(): "well" }));

    // The calls that were tried twice say so, the others nothing.
    let records = house.records().await;
    let tries: Vec<_> = records.iter().filter_map(|record| record.metadata["tries"].as_u64()).collect();
    assert_eq!(tries, [2, 2, 2]);
    assert_eq!(house.record_of(&last).await.metadata["tries"], Value::Null);
    let data = house.get("/health").await.body;
    assert!(!String::from_utf8_lossy(&data).contains("trio"), "the data listener names no address");
}

#[tokio::test]
async fn a_health_path_keeps_calls_from_the_address_that_is_down_and_from_no_other() {
    let servers = [server().await, server().await];
    let urls = [0, 1].map(|at: usize| servers[at].url("trio").to_string());
    let checked = "health = \"/functions/v1/state\"\nhealth_check = { interval = \"1s\", timeout = \"1s\", fails = 1, passes = 1 }";
    let house = House::plan().policy("trio.toml", &policy(&urls, checked)).open().await;
    let probe = async |at: usize| seen(&house).await["urls"][at]["probe"].clone();
    eventually("both are up", || async { probe(0).await == "up" && probe(1).await == "up" }).await;

    servers[0].let_be("state", Conduct::html_500());
    eventually("one is down", || async { probe(0).await == "down" }).await;
    assert_eq!(seen(&house).await["urls"][0]["state"], "down");
    for _ in 0..6 {
        house.call("gemini-chat").to("trio").payload(json!({})).send().await.expect(200);
    }
    assert_eq!([servers[0].received("trio").len(), servers[1].received("trio").len()], [0, 6]);
    assert!(warnings(&house).await.contains("does not answer at its health address and gets no calls"));

    servers[1].let_be("state", Conduct::html_500());
    eventually("the other is down too", || async { probe(1).await == "down" }).await;
    for _ in 0..6 {
        house.call("gemini-chat").to("trio").payload(json!({})).send().await.expect(200);
    }
    assert_eq!([servers[0].received("trio").len(), servers[1].received("trio").len()], [3, 9], "nobody is refused without asking");

    servers.iter().for_each(|server| server.mend("state"));
    eventually("both are up again", || async { probe(0).await == "up" && probe(1).await == "up" }).await;
}

#[tokio::test]
async fn a_reload_leaves_an_address_that_is_left_out_where_it_is() {
    let server = server().await;
    let urls = [server.refusing_url("trio"), server.url("trio")].map(|url| url.to_string());
    let house = House::plan().policy("trio.toml", &policy(&urls, "")).open().await;
    for _ in 0..10 {
        house.call("gemini-chat").to("trio").payload(json!({})).send().await.expect(200);
    }
    assert_eq!(seen(&house).await["urls"][0]["state"], "ejected");
    std::fs::write(house.policies().join("trio.toml"), policy(&urls, "timeout = \"5s\"\ncache = { ttl = \"1m\" }")).unwrap();
    house.gatekeeper.control.reload(&Actor::cause("test")).await.unwrap();
    let trio = seen(&house).await;
    assert_eq!((&trio["urls"][0]["state"], &trio["urls"][1]["calls"]), (&json!("ejected"), &json!(10)));
    assert_eq!(trio["cache"], json!({ "answers": 0, "bytes": 0, "hits": 0, "misses": 0 }));
}
