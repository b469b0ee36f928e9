//! What functions answer, as the client hands it to whoever called it.

use serde_json::{Value, json};

use super::{SOURCE, Supabase, answering, plan, recorded};
use crate::support::targets::{Conduct, Gate, Targets};

#[tokio::test]
async fn each_kind_of_answer_is_read_as_what_it_is() {
    let house = plan().open().await;
    let mut client = Supabase::of(&house, SOURCE).await;
    let form = "--b\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nGr\u{fc}\u{df}e\r\n--b--\r\n";
    let kinds = [
        ("application/json", r#"{"n":1.50,"text":"Grüße"}"#.as_bytes(), json!({"n": 1.5, "text": "Grüße"})),
        ("application/json; charset=utf-8", b"[1]", json!([1])),
        ("application/octet-stream", b"\0\xff\xfe\r\n", json!({"blob": "AP/+DQo=", "type": "application/octet-stream"})),
        ("application/pdf", b"%PDF-1.7", json!({"blob": "JVBERi0xLjc=", "type": "application/pdf"})),
        ("multipart/form-data; boundary=b", form.as_bytes(), json!({"form": {"a": "Grüße"}})),
        ("text/plain", "Grüße".as_bytes(), json!("Grüße")),
        ("text/html", b"<p>", json!("<p>")),
    ];
    for (content_type, body, data) in kinds {
        house.targets.let_be("brain", Conduct::status(200, content_type, body.to_vec()).with("x-theirs", "kept"));
        let answer = client.post("brain", &json!({"a": 1})).await;
        assert_eq!((&answer["data"], &answer["error"]), (&data, &Value::Null), "{content_type}");
        assert_eq!((&answer["headers"]["content-type"], &answer["headers"]["x-theirs"]), (&json!(content_type), &json!("kept")));
        assert_eq!(recorded(&house, &answer).await["response_bytes"], json!(body.len()), "{content_type}");
    }
    for status in [201, 202, 204, 206] {
        let conduct = if status == 204 { Conduct::no_content() } else { Conduct::status(status, "text/plain", "fine") };
        house.targets.let_be("brain", conduct);
        let answer = client.post("brain", &json!({"a": 1})).await;
        assert_eq!((&answer["status"], &answer["error"]), (&json!(status), &Value::Null));
    }
}

#[tokio::test]
async fn large_binary_answers_arrive_whole() {
    const SIZE: usize = 5 << 20;
    let house = answering("brain", Conduct::Large(SIZE)).await;
    let answer = Supabase::of(&house, SOURCE).await.post("brain", &json!({"a": 1})).await;
    assert_eq!(answer["data"]["blob"].as_str().unwrap().len(), SIZE.div_ceil(3) * 4);
    assert_eq!(recorded(&house, &answer).await["response_bytes"], json!(SIZE));
}

/// Each piece reaches the caller before the target has said the next.
#[tokio::test]
async fn a_stream_of_events_is_read_as_it_comes() {
    const PIECES: [&str; 3] = ["data: one\n\n", "data: two\n\n", "data: [DONE]\n\n"];
    let gate = Gate::shut();
    let drip = Conduct::Drip { gate: gate.clone(), content_type: "text/event-stream", pieces: PIECES.to_vec() };
    let house = plan().targets(Targets::like_the_platform().but("brain", drip.clone()).but("streaming-brain", drip)).open().await;
    let mut client = Supabase::of(&house, SOURCE).await;
    for target in ["brain", "streaming-brain"] {
        client.begin(target, &json!({}), &json!({"json": {"stream": true}})).await;
        let begun = client.0.tells().await;
        assert_eq!((&begun["stream"], &begun["headers"]["content-type"]), (&json!("begins"), &json!("text/event-stream")));
        for piece in PIECES {
            gate.let_one();
            assert_eq!(client.0.tells().await, json!({"piece": piece}));
        }
        assert_eq!(client.0.tells().await, json!({"stream": "ends"}));
        let record = recorded(&house, &begun).await;
        assert_eq!((&record["response_bytes"], &record["success"]), (&json!(PIECES.concat().len()), &json!(true)));
    }
}

/// A function's own error is the function's: status, headers and body as it sent them, though its body is no JSON.
#[tokio::test]
async fn errors_of_functions_are_theirs() {
    let house = plan().open().await;
    let mut client = Supabase::of(&house, SOURCE).await;
    for (status, content_type, body) in
        [(500, "text/html", "<h1>oops</h1>"), (422, "application/json", r#"{"code":"bad"}"#), (401, "text/plain", "")]
    {
        house.targets.let_be("brain", Conduct::status(status, content_type, body).with("x-theirs", "kept"));
        let answer = client.post("brain", &json!({"a": 1})).await;
        let message = "Edge Function returned a non-2xx status code";
        assert_eq!(answer["error"], json!({"kind": "FunctionsHttpError", "message": message, "body": body}));
        assert_eq!((&answer["status"], &answer["headers"]["x-theirs"]), (&json!(status), &json!("kept")));
        assert_eq!(recorded(&house, &answer).await["success"], false);
    }
    house.targets.let_be("brain", Conduct::status(500, "text/plain", "relay").with("x-relay-error", "true"));
    let answer = client.post("brain", &json!({"a": 1})).await;
    assert_eq!((&answer["error"]["kind"], &answer["error"]["body"]), (&json!("FunctionsRelayError"), &json!("relay")));
}

#[tokio::test]
async fn whoever_does_not_wait_is_recorded() {
    let gate = Gate::shut();
    let house = answering("brain", Conduct::Hang(gate)).await;
    let mut client = Supabase::of(&house, SOURCE).await;
    client.begin("brain", &json!({}), &json!({"json": {"a": 1}})).await;
    house.targets.arrival("brain", 1).await;
    client.0.wish(&json!({"abort": true})).await;
    let answer = client.0.tells().await;
    assert_eq!((&answer["error"]["kind"], &answer["error"]["cause"]), (&json!("FunctionsFetchError"), &json!("AbortError")));
    let records = house.records().await;
    assert_eq!((records.len(), &records[0].metadata["error_class"]), (1, &json!("caller")), "{records:?}");
}

#[tokio::test]
async fn nobody_there_is_a_fetch_error() {
    let house = plan().open().await;
    let mut client = Supabase::of(&house, SOURCE).await;
    house.close().await;
    let answer = client.post("brain", &json!({"a": 1})).await;
    assert_eq!((&answer["data"], &answer["error"]["kind"]), (&Value::Null, &json!("FunctionsFetchError")), "{answer}");
}
