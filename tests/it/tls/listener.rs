//! What a connection to a listener with a certificate meets.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::authority::{Authority, Files};
use super::caller::{Caller, call};
use crate::support::house::{House, Plan, eventually};
use crate::support::line::Line;

/// A house that speaks TLS where calls arrive.
pub fn behind_tls(files: &Files, authority: &Authority) -> Plan {
    let (certificate, key) = files.put_pair(&authority.gatekeeper());
    House::plan().variable("GATEKEEPER_TLS_CERT", &certificate).variable("GATEKEEPER_TLS_KEY", &key)
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_arrive_over_tls_in_the_protocol_that_was_agreed_on() {
    let (files, authority) = (Files::new(), Authority::new());
    let house = behind_tls(&files, &authority).open().await;
    let caller = Caller::trusting(authority.roots());
    let reply = caller.asks(house.data, call("gemini-chat", "render-api")).await.unwrap().expect(200);
    assert_eq!(house.record_of(&reply).await.metadata["source"], "gemini-chat");

    for (offered, agreed) in [(vec!["h2", "http/1.1"], Some("h2")), (vec!["http/1.1"], Some("http/1.1")), (vec![], None)] {
        let stream = caller.connect(house.data, &offered).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), agreed.map(str::as_bytes), "{offered:?}");
    }
    let stranger = Caller::trusting(Authority::new().roots());
    stranger.asks(house.data, call("gemini-chat", "render-api")).await.expect_err("nobody need believe an authority it does not know");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_told_to_speak_tls_and_is_no_call() {
    let (files, authority) = (Files::new(), Authority::new());
    let house = behind_tls(&files, &authority).open().await;
    let mut line = Line::to(house.data).await;
    line.begin_call("gemini-chat", 2).await.say("{}").await;
    let heard = line.hear_the_end().await;
    assert!(heard.starts_with("HTTP/1.1 400 ") && heard.ends_with("use https://\n"), "{heard}");
    let counted = || async { house.metrics().await.contains(r#"gatekeeper_tls_handshakes_total{listener="data",outcome="not_tls"} 1"#) };
    eventually("it is counted", counted).await;
    assert!(house.records().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_stalls_is_cut_and_holds_up_nobody() {
    let (files, authority) = (Files::new(), Authority::new());
    let house = behind_tls(&files, &authority).bounds(|bounds| bounds.head = Duration::from_millis(500)).open().await;
    // Silent, half a record, and a whole hello that nothing follows: at once, and with calls in between.
    let mut stalling = Vec::new();
    for begins in [&b""[..], b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"] {
        let mut line = Line::to(house.data).await;
        line.say(begins).await;
        stalling.push(line);
    }
    Caller::trusting(authority.roots()).asks(house.data, call("gemini-chat", "render-api")).await.unwrap().expect(200);
    for mut line in stalling {
        assert_eq!(line.hear_the_end().await, "");
    }
    let too_slow = || async { house.metrics().await.contains(r#"gatekeeper_tls_handshakes_total{listener="data",outcome="too_slow"} 3"#) };
    eventually("they are counted", too_slow).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_call_is_cut_over_tls_as_without() {
    let (files, authority) = (Files::new(), Authority::new());
    let house = behind_tls(&files, &authority).bounds(|bounds| bounds.head = Duration::from_millis(300)).open().await;
    for offered in ["h2", "http/1.1"] {
        let mut stream = Caller::trusting(authority.roots()).connect(house.data, &[offered]).await.unwrap();
        let mut heard = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut heard)).await;
        assert!(ended.is_ok(), "{offered}: it is kept for ever");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_in_place_of_a_handshake_costs_nobody_else_anything() {
    let (files, authority) = (Files::new(), Authority::new());
    let house = behind_tls(&files, &authority).open().await;
    for n in 0..50_u8 {
        let mut line = Line::to(house.data).await;
        let garbage: Vec<u8> = (0..200_u8).map(|b| b.wrapping_mul(n).wrapping_add(n)).collect();
        let _taken = line.try_say([&[0x16, 3, n][..], &garbage].concat()).await;
    }
    drop(TcpStream::connect(house.data).await.unwrap());
    Caller::trusting(authority.roots()).asks(house.data, call("gemini-chat", "render-api")).await.unwrap().expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_does_not_wait_for_handshakes() {
    let (files, authority) = (Files::new(), Authority::new());
    let house = behind_tls(&files, &authority).variable("GATEKEEPER_DRAIN_SECONDS", "0").open().await;
    let mut line = Line::to(house.data).await;
    line.say(b"\x16\x03\x01").await;
    // Whoever comes after it is taken after it.
    Caller::trusting(authority.roots()).asks(house.data, call("gemini-chat", "render-api")).await.unwrap().expect(200);
    let began = tokio::time::Instant::now();
    house.close().await;
    assert!(began.elapsed() < Duration::from_secs(15), "a handshake has as long as a head: 30 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_over_tls_rests_as_others_do_and_ends_in_order() {
    let (files, authority) = (Files::new(), Authority::new());
    let house = behind_tls(&files, &authority).open().await;
    let mut stream = Caller::trusting(authority.roots()).connect(house.data, &["http/1.1"]).await.unwrap();
    for _ in 0..3 {
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: gatekeeper\r\n\r\n").await.unwrap();
        let mut heard = [0; 15];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"HTTP/1.1 200 OK");
        tokio::time::sleep(Duration::from_millis(800)).await;
        let mut rest = vec![0; 4096];
        let _read = stream.read(&mut rest).await.unwrap();
    }
    drop(house.close().await);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("it is ended in order");
}
