//! Many calls on one connection: none waits for another, and each is a call of its own.

use std::collections::HashSet;

use serde_json::json;

use crate::support::client_script::ClientScript;
use crate::support::house::{House, KEY};
use crate::support::targets::{Conduct, Gate, Targets};

const STREAMS: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_streams_share_a_connection() {
    let gate = Gate::shut();
    let house = House::plan().targets(Targets::like_the_platform().but("get-embedding", Conduct::Hang(gate.clone()))).open().await;
    let given = json!({
        "url": format!("http://{}", house.data), "path": "/functions/v1/get-embedding", "streams": STREAMS, "body": "{\"text\":\"hi\"}",
        "headers": {"x-eliza-key": KEY, "x-eliza-source": "agent-manager", "content-type": "application/json"},
    });
    let mut client = ClientScript::start("http2.mjs", &given).await;
    // All of them are at the target before any is answered.
    let arrived = house.targets.arrival("get-embedding", STREAMS).await;
    gate.open();
    let mut ids = HashSet::new();
    for _ in 0..STREAMS {
        let answer = client.tells().await;
        assert_eq!(answer["status"], 200, "{answer}");
        ids.insert(answer["id"].as_str().unwrap().to_owned());
    }
    let queries: HashSet<_> = arrived.iter().map(|received| received.query.clone().unwrap()).collect();
    assert_eq!((arrived.len(), queries.len(), ids.len()), (STREAMS, STREAMS, STREAMS));
    assert!(arrived.iter().all(|received| received.header("x-eliza-key").is_none()));
    let recorded: HashSet<_> = house.records().await.into_iter().map(|row| row.id.to_string()).collect();
    assert_eq!(recorded, ids);
}
