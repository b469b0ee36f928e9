//! Bodies that come encoded are judged, and forwarded, as what they say: no encoding hides a statement, and none takes more memory or
//! time than the body could without it.

use std::io::Write as _;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};

use crate::support::house::{House, Reply};

fn encoded(encoding: &str, body: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" | "x-gzip" => {
            let mut out = GzEncoder::new(Vec::new(), Compression::default());
            out.write_all(body).unwrap();
            out.finish().unwrap()
        }
        "deflate" => {
            let mut out = ZlibEncoder::new(Vec::new(), Compression::default());
            out.write_all(body).unwrap();
            out.finish().unwrap()
        }
        "br" => {
            let mut out = Vec::new();
            brotli::BrotliCompress(&mut &*body, &mut out, &brotli::enc::BrotliEncoderParams::default()).unwrap();
            out
        }
        "zstd" => ruzstd::encoding::compress_to_vec(body, ruzstd::encoding::CompressionLevel::Fastest),
        "identity" => body.to_vec(),
        other => panic!("{other}"),
    }
}

/// The encodings as a header lists them, put around the body in that order.
fn all_around(header: &str, body: &[u8]) -> Vec<u8> {
    header.split(',').fold(body.to_vec(), |body, encoding| encoded(&encoding.trim().to_ascii_lowercase(), &body))
}

async fn send(house: &House, encoding: &str, body: impl Into<Bytes>) -> Reply {
    house.call("gemini-chat").raw(body).header("content-encoding", encoding).send().await
}

fn envelope(payload: &Value) -> Vec<u8> {
    json!({"target": "get-embedding", "payload": payload}).to_string().into_bytes()
}

const ENCODINGS: [&str; 8] = ["gzip", "X-GZIP", "deflate", "br", "zstd", "identity", "gzip, br", "deflate,identity, zstd, gzip"];

#[tokio::test]
async fn a_target_gets_what_was_judged_and_no_encoding() {
    let house = House::open().await;
    let payload = json!({"text": "hello ".repeat(20_000)});
    for (index, encoding) in ENCODINGS.into_iter().enumerate() {
        let body = all_around(encoding, &envelope(&payload));
        let length = body.len();
        let answered = send(&house, encoding, body).await.expect(200);
        let received = house.targets.arrival("get-embedding", index + 1).await.pop().unwrap();
        assert_eq!(received.json(), payload, "{encoding}");
        assert_eq!(received.header("content-encoding"), None, "{encoding}");
        assert_eq!(house.record_of(&answered).await.metadata["request_bytes"], json!(length), "{encoding}: as it came");
    }
}

#[tokio::test]
async fn no_encoding_hides_a_statement() {
    let house = House::open().await;
    for encoding in ENCODINGS {
        let body = all_around(encoding, &envelope(&json!({"filler": "x".repeat(1000), "sql": "DROP TABLE users"})));
        let refused = send(&house, encoding, body).await.expect(403);
        assert_eq!((refused.code().as_str(), &refused.json()["pointer"]), ("dangerous_operation", &json!("/payload/sql")), "{encoding}");
    }
    assert!(house.targets.received("get-embedding").is_empty());
}

#[tokio::test]
async fn what_unfolds_beyond_the_bound_is_refused_at_once() {
    let house = House::open().await;
    let bomb = envelope(&json!(" ".repeat(10 << 20)));
    for encoding in ["gzip", "deflate", "br", "zstd", "gzip, gzip", "br, gzip"] {
        let body = all_around(encoding, &bomb);
        assert!(body.len() < 200_000, "{encoding}");
        let began = Instant::now();
        let refused = send(&house, encoding, body).await.expect(413);
        assert_eq!(refused.code(), "body_too_large", "{encoding}");
        assert!(began.elapsed() < Duration::from_secs(10), "{encoding}: {:?}", began.elapsed());
    }
}

/// All bodies under way share one memory, and what they unfold to is part of it.
#[tokio::test]
async fn what_unfolds_beyond_the_memory_is_refused() {
    let house = House::plan().variable("GATEKEEPER_BODY_MEMORY_MIB", "16").policy("service.toml", "[body]\nmax = \"32MiB\"\n").open().await;
    let body = envelope(&json!({"text": " ".repeat(20 << 20)}));
    let refused = send(&house, "gzip", encoded("gzip", &body)).await.expect(503);
    assert_eq!(refused.code(), "overloaded");
    send(&house, "gzip", encoded("gzip", &envelope(&json!({"text": "short"})))).await.expect(200);
}

#[tokio::test]
async fn what_is_not_what_it_says_is_refused() {
    let house = House::open().await;
    let fine = envelope(&json!({"text": "hello"}));
    for encoding in ["gzip", "deflate", "br", "zstd"] {
        let whole = encoded(encoding, &fine);
        let flawed = [
            ("plain", fine.clone()),
            ("empty", Vec::new()),
            ("cut off", whole[..whole.len() - 1].to_vec()),
            ("followed", [&whole[..], b"\n"].concat()),
            ("doubled", whole.repeat(2)),
        ];
        for (how, body) in flawed {
            let refused = send(&house, encoding, body).await.expect(400);
            assert_eq!(refused.code(), "bad_encoding", "{encoding}, {how}");
        }
    }
    for encoding in ["compress", "gzip, compress", "gzip, gzip, gzip, gzip", "br;q=1"] {
        let refused = send(&house, encoding, fine.clone()).await.expect(415);
        assert_eq!(refused.code(), "unsupported_encoding", "{encoding}");
        assert_eq!(refused.header("accept-encoding"), Some("gzip, deflate, br, zstd"), "{encoding}");
    }
    assert!(house.targets.received("get-embedding").is_empty());
}
