//! What the client sends.

use serde_json::{Value, json};

use super::{ANON, SOURCE, Supabase, answering, keeps_the_key, plan, recorded};
use crate::support::house::{House, KEY, SERVICE_KEY};
use crate::support::targets::{Conduct, Received};

const USER_TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyLTEifQ.c2lnbmF0dXJl";

async fn arrived(house: &House, target: &str) -> Received {
    let received = house.targets.received(target).pop().unwrap_or_else(|| panic!("nothing came to {target}"));
    keeps_the_key(&received);
    received
}

#[tokio::test]
async fn bodies_of_every_kind_arrive_as_they_were_sent() {
    let house = plan().open().await;
    let mut client = Supabase::of(&house, SOURCE).await;
    let every_byte: Vec<u8> = (0..=255).cycle().take(2000).collect();
    for target in ["brain", "streaming-brain"] {
        let json = json!({"messages": [{"role": "user", "content": "Grüße — drop by the table"}], "n": 1e21, "nothing": null});
        let kinds: [(Value, &str, Vec<u8>); 5] = [
            (json!({"json": json}), "application/json", Vec::new()),
            (json!({"text": "just a text: Grüße"}), "text/plain", "just a text: Grüße".into()),
            (json!({"bytes": every_byte}), "application/octet-stream", every_byte.clone()),
            (json!({"blob": {"bytes": every_byte, "type": "image/png"}}), "application/octet-stream", every_byte.clone()),
            (json!({}), "", Vec::new()),
        ];
        for (body, content_type, bytes) in kinds {
            let answer = client.invoke(target, &json!({}), &body).await;
            assert_eq!((&answer["error"], &answer["status"]), (&Value::Null, &json!(200)), "{body}");
            let received = arrived(&house, target).await;
            assert_eq!((received.method.as_str(), received.header("content-type").unwrap_or("")), ("POST", content_type), "{body}");
            assert!(received.header("x-client-info").is_some_and(|info| info.starts_with("supabase-js-")), "{received:?}");
            if body["json"].is_null() {
                assert_eq!(received.body, bytes, "{body}");
            } else {
                assert_eq!(received.json(), json);
            }
            assert_eq!(recorded(&house, &answer).await["request_bytes"], json!(received.body.len()), "{body}");
        }
    }
}

#[tokio::test]
async fn forms_and_files_arrive() {
    let house = plan().open().await;
    let mut client = Supabase::of(&house, SOURCE).await;
    let form =
        json!({"form": {"title": "Drop me a line; thanks", "file": {"file": "a,b\r\n1,2\r\n", "name": "table.csv", "type": "text/csv"}}});
    for target in ["brain", "streaming-brain"] {
        let answer = client.invoke(target, &json!({}), &form).await;
        assert_eq!(answer["error"], Value::Null);
        let received = arrived(&house, target).await;
        let kind = received.header("content-type").unwrap();
        let boundary = kind.strip_prefix("multipart/form-data; boundary=").unwrap_or_else(|| panic!("{kind}"));
        let body = String::from_utf8(received.body.to_vec()).unwrap();
        let parts: Vec<_> = body.split(&format!("--{boundary}")).collect();
        assert_eq!(parts.len(), 4, "{body}");
        assert!(parts[2].contains("name=\"title\"") && parts[2].ends_with("Drop me a line; thanks\r\n"), "{body}");
        assert!(parts[1].contains("filename=\"table.csv\"") && parts[1].ends_with("a,b\r\n1,2\r\n\r\n"), "{body}");
    }
}

#[tokio::test]
async fn every_method_arrives_with_path_and_query() {
    let house = plan().open().await;
    let mut client = Supabase::of(&house, SOURCE).await;
    for target in ["brain", "streaming-brain"] {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let body = if method == "GET" { json!({}) } else { json!({"json": {"method": method}}) };
            let name = format!("{target}/memories/7%20b?limit=3&order=a%2Cb");
            let answer = client.invoke(&name, &json!({"method": method}), &body).await;
            assert_eq!(answer["error"], Value::Null, "{method}");
            let received = arrived(&house, target).await;
            assert_eq!(received.method, method);
            assert_eq!(received.path, format!("/functions/v1/{target}/memories/7%20b"));
            assert_eq!(received.query.as_deref(), Some("limit=3&order=a%2Cb"));
            let record = recorded(&house, &answer).await;
            assert_eq!([&record["source"], &record["target"], &record["method"]], [SOURCE, target, method], "{record}");
            assert_eq!((&record["door"], &record["status"], &record["success"]), (&json!("direct"), &json!(200), &json!(true)));
        }
    }
}

#[tokio::test]
async fn headers_and_region_arrive() {
    let house = plan().open().await;
    let options = json!({"region": "eu-central-1", "headers": {"x-request-id": "r-1", "idempotency-key": "i-1", "Content-Type": "application/x-ndjson"}});
    Supabase::of(&house, SOURCE).await.invoke("brain", &options, &json!({"text": "{}\n{}\n"})).await;
    let received = arrived(&house, "brain").await;
    let expected =
        [("x-region", "eu-central-1"), ("x-request-id", "r-1"), ("idempotency-key", "i-1"), ("content-type", "application/x-ndjson")];
    for (name, value) in expected {
        assert_eq!(received.header(name), Some(value), "{name}");
    }
    assert_eq!(received.query.as_deref(), Some("forceFunctionRegion=eu-central-1"));
}

/// The project's key and a user's token are for the platform: here they end, unless policy says that the target judges them itself.
#[tokio::test]
async fn whose_credentials_a_target_sees_is_policy() {
    let house = answering("own-door", Conduct::json(200, &json!({}))).await;
    let ours = json!({"x-eliza-key": KEY, "x-eliza-source": SOURCE});
    let service = format!("Bearer {SERVICE_KEY}");
    for (token, passed) in [(None, format!("Bearer {ANON}")), (Some(USER_TOKEN), format!("Bearer {USER_TOKEN}"))] {
        let mut client = Supabase::with(&house, ANON, &ours, token).await;
        for (target, bearer, apikey) in [("brain", &service, SERVICE_KEY), ("own-door", &passed, ANON)] {
            let answer = client.post(target, &json!({"a": 1})).await;
            assert_eq!((&answer["status"], &answer["error"]), (&json!(200), &Value::Null), "{target}");
            let received = arrived(&house, target).await;
            assert_eq!((received.header("authorization"), received.header("apikey")), (Some(bearer.as_str()), Some(apikey)), "{target}");
            assert_eq!(received.header("x-eliza-source").is_some(), target == "own-door", "{target}");
            assert_eq!(recorded(&house, &answer).await["source"], SOURCE);
        }
    }
}

/// As servers of the project use it: the service role key for the client's key, and nothing of ours.
#[tokio::test]
async fn the_service_role_key_is_enough() {
    let house = answering("own-door", Conduct::json(200, &json!({}))).await;
    let mut client = Supabase::with(&house, SERVICE_KEY, &json!({}), None).await;
    let answer = client.post("brain", &json!({"a": 1})).await;
    assert_eq!(answer["error"], Value::Null);
    assert_eq!(recorded(&house, &answer).await["source"], "service_role");
    client.post("own-door", &json!({"a": 1})).await;
    let received = arrived(&house, "own-door").await;
    assert!(!format!("{received:?}").contains(SERVICE_KEY), "that key belongs to the platform, not to whoever a target is");
}

/// The older way in is one more function to this client.
#[tokio::test]
async fn the_envelope_is_a_function_too() {
    let house = plan().open().await;
    let answer = Supabase::of(&house, SOURCE).await.post("eliza-gatekeeper", &json!({"target": "brain", "payload": {"a": 1}})).await;
    assert_eq!(answer["error"], Value::Null);
    assert_eq!(arrived(&house, "brain").await.json(), json!({"a": 1}));
    assert_eq!(recorded(&house, &answer).await["door"], "envelope");
}
