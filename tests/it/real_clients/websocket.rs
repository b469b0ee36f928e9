//! A WebSocket between a client and a target that know nothing of the gatekeeper, but for its two headers.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::client_script::ClientScript;
use crate::support::house::{House, KEY};

struct World {
    house: House,
    target: ClientScript,
}

impl World {
    async fn open() -> Self {
        let mut target = ClientScript::start("echo.mjs", &json!({})).await;
        let port = target.tells().await["port"].clone();
        let policy = format!(
            "[target_defaults]\nurl = \"http://127.0.0.1:{port}/{{target}}\"\ncredentials = \"none\"\n\n\
             [[target]]\nnames = [\"voice\"]\ninspect = \"skip\"\n\n[[target]]\nnames = [\"judged-voice\"]\n"
        );
        Self { house: House::plan().policy("targets.toml", &policy).open().await, target }
    }

    async fn client(&self, path: &str, key: &str) -> ClientScript {
        let url = format!("ws://{}/functions/v1/{path}", self.house.data);
        let headers = json!({"x-eliza-key": key, "x-eliza-source": "gemini-chat", "cookie": "a=b", "authorization": "Bearer mine"});
        ClientScript::start("websocket.mjs", &json!({"url": url, "headers": headers, "protocols": ["chat.v1", "chat.v2"]})).await
    }
}

#[tokio::test]
async fn whatever_is_said_comes_back() {
    let mut world = World::open().await;
    let mut client = world.client("voice/room/7?lang=de", KEY).await;
    assert_eq!(client.tells().await, json!({"open": "chat.v2"}), "the target's choice");
    let asked = world.target.tells().await;
    assert_eq!((&asked["path"], &asked["headers"]["cookie"]), (&json!("/voice/room/7?lang=de"), &json!("a=b")));
    assert!(!asked.to_string().contains(KEY) && asked["headers"]["authorization"].is_null(), "{asked}");

    assert_eq!(client.wish(&json!({"text": "Grüße"})).await.tells().await, json!({"text": "Grüße"}));
    assert_eq!(client.wish(&json!({"text": ""})).await.tells().await, json!({"text": ""}));
    // Nobody judges what is said here: policy says so.
    assert_eq!(client.wish(&json!({"text": "DROP TABLE users"})).await.tells().await, json!({"text": "DROP TABLE users"}));
    const LARGE: u64 = 3 << 20;
    assert_eq!(client.wish(&json!({"bytes": LARGE})).await.tells().await, json!({"bytes": LARGE, "sum": LARGE * 7}));
    assert_eq!(client.wish(&json!({"ping": "there?"})).await.tells().await, json!({"pong": "there?"}));
    assert_eq!(world.target.tells().await, json!({"pinged": "there?"}));

    client.wish(&json!({"close": [4001, "enough"]})).await;
    let closed = json!({"closed": 4001, "reason": "enough"});
    assert_eq!((client.tells().await, world.target.tells().await), (closed.clone(), closed));
    let [record] = &world.house.records().await[..] else { panic!("not one record") };
    let metadata = &record.metadata;
    assert_eq!([&metadata["source"], &metadata["target"], &metadata["method"]], ["gemini-chat", "voice", "GET"]);
    assert_eq!((&metadata["status"], &metadata["success"]), (&json!(101), &json!(true)), "{metadata}");
    for direction in ["request_bytes", "response_bytes"] {
        assert!(metadata[direction].as_u64().unwrap() > LARGE, "{metadata}");
    }
}

#[tokio::test]
async fn many_talk_at_once_and_one_that_vanishes_is_noticed() {
    let mut world = World::open().await;
    let mut clients = join_all((0..5).map(|_| world.client("voice", KEY))).await;
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.tells().await, json!({"open": "chat.v2"}));
        world.target.tells().await;
        assert_eq!(client.wish(&json!({"text": number.to_string()})).await.tells().await, json!({"text": number.to_string()}));
    }
    drop(clients);
    for _ in 0..5 {
        assert_eq!(world.target.tells().await["closed"], 1006, "without a word");
    }
    assert_eq!(world.house.records().await.len(), 5);
}

#[tokio::test]
async fn the_gates_stand_before_it() {
    let world = World::open().await;
    let refusals: [(&str, &str, &str, Value); 3] = [
        ("voice", "wrong", "Unexpected server response: 401", json!("unauthorized")),
        ("judged-voice", KEY, "Unexpected server response: 403", json!("upgrade_not_allowed")),
        ("nobody", KEY, "Unexpected server response: 404", json!("unknown_target")),
    ];
    for (path, key, message, _) in &refusals {
        assert_eq!(world.client(path, key).await.tells().await, json!({"error": message}), "{path}");
    }
    let codes: Vec<_> = world.house.records().await.into_iter().map(|row| row.metadata["code"].clone()).collect();
    assert_eq!(codes, refusals.map(|(.., code)| code));
}
