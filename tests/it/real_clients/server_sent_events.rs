//! Each event reaches its reader before the target has said the next.

use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::client_script::ClientScript;
use crate::support::house::{House, KEY};
use crate::support::targets::{Conduct, Gate, Targets, within};

const EVENTS: [&str; 3] = ["event: token\n\n", "data: {\"delta\":\"two\"}\n\n", "data: [DONE]\n\n"];
const BODY: &str = r#"{"messages":[{"role":"user","content":"hi"}],"stream":true}"#;

async fn dripping(gate: &Gate) -> House {
    let drip = Conduct::Drip { gate: gate.clone(), content_type: "text/event-stream", pieces: EVENTS.to_vec() };
    House::plan().targets(Targets::like_the_platform().but("openai-chat", drip)).open().await
}

#[tokio::test]
async fn curl_prints_each_event_as_it_comes() {
    let gate = Gate::shut();
    let house = dripping(&gate).await;
    let envelope = format!(r#"{{"target":"openai-chat","payload":{BODY}}}"#);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for (path, body) in [("openai-chat", BODY), ("eliza-gatekeeper", envelope.as_str())] {
            let mut curl = Command::new("curl");
            curl.args(["-sSN", version, "-H", "x-eliza-source: lovable-chat", "-H", "content-type: application/json", "-d", body]);
            curl.arg("-H").arg(format!("x-eliza-key: {KEY}")).arg(format!("http://{}/functions/v1/{path}", house.data));
            let mut curl = curl.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("curl: `make test` installs it");
            let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
            for event in EVENTS {
                gate.let_one();
                for line in event.lines() {
                    let printed = within("a line of curl", lines.next_line()).await.unwrap();
                    assert_eq!(printed.as_deref(), Some(line), "{version} {path}");
                }
            }
            assert_eq!(within("curl's end", lines.next_line()).await.unwrap(), None);
            assert!(within("curl's end", curl.wait()).await.unwrap().success(), "{version} {path}");
        }
    }
    let records = house.records().await;
    assert_eq!(records.len(), 4);
    for record in records {
        assert_eq!(record.metadata["response_bytes"], json!(EVENTS.concat().len()), "{:?}", record.metadata);
    }
}

#[tokio::test]
async fn fetch_reads_each_event_as_it_comes() {
    let gate = Gate::shut();
    let house = dripping(&gate).await;
    let url = format!("http://{}/functions/v1/openai-chat", house.data);
    let headers = json!({"x-eliza-key": KEY, "x-eliza-source": "lovable-chat", "content-type": "application/json"});
    let mut fetch = ClientScript::start("fetch.mjs", &json!({"url": url, "headers": headers, "body": BODY})).await;
    assert_eq!(fetch.tells().await, json!({"status": 200, "type": "text/event-stream"}));
    for event in EVENTS {
        gate.let_one();
        assert_eq!(fetch.tells().await, json!({"piece": event}));
    }
    assert_eq!(fetch.tells().await, json!({"ended": true}));
}
