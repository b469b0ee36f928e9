//! Targets over TLS: whom the gatekeeper believes, and who it says it is.

use http::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::authority::{Authority, Files};
use super::callee::{Callee, Tls};
use crate::support::house::{House, Plan, eventually};

const ALPN: &[&str] = &["h2", "http/1.1"];

/// A house with one more target, `secure`, of which policy says this too.
fn calling(callee: &Callee, says: &str) -> Plan {
    House::plan().policy("secure.toml", &target(callee, says))
}

fn target(callee: &Callee, says: &str) -> String {
    format!("[[target]]\nnames = ['secure']\nurl = 'https://{}/x'\ncredentials = 'none'\n{says}\n", callee.at)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_believed_by_the_authorities_that_policy_names_and_no_others() {
    let (files, ours, others) = (Files::new(), Authority::new(), Authority::new());
    let (our_file, other_file) = (files.put("ours.pem", &ours.pem), files.put("others.pem", &others.pem));
    let both = files.put("both.pem", &format!("{}{}", others.pem, ours.pem));
    let callee = Callee::start(Tls::of(&ours), ALPN).await;
    for (says, status) in [
        (format!("ca = '{our_file}'"), 200),
        (format!("ca = '{both}'"), 200),
        (format!("ca = '{other_file}'"), 502),
        ("ca = 'system'".to_owned(), 502),
        (String::new(), 502),
        // The certificate is for the address alone.
        (format!("ca = '{our_file}'\nserver_name = 'elsewhere.example'"), 502),
    ] {
        let house = calling(&callee, &says).open().await;
        let reply = house.call("gemini-chat").to("secure").send().await.expect(status);
        if status == 502 {
            assert_eq!(reply.code(), "upstream_unreachable", "{says}");
            assert!(!String::from_utf8_lossy(&reply.body).contains("certificate"), "the caller is told nothing of it");
        }
    }
    assert_eq!(callee.came().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_may_go_by_another_name_than_its_address() {
    let (files, authority) = (Files::new(), Authority::new());
    let ca = files.put("ca.pem", &authority.pem);
    let callee = Callee::start(Tls::With(authority.server(&["brain.internal"], 90)), ALPN).await;
    for (says, status) in [("server_name = 'brain.internal'", 200), ("", 502)] {
        let house = calling(&callee, &format!("ca = '{ca}'\n{says}")).open().await;
        house.call("gemini-chat").to("secure").send().await.expect(status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_asks_for_a_certificate_gets_the_one_of_policy() {
    let (files, authority, clients) = (Files::new(), Authority::new(), Authority::new());
    let ca = files.put("ca.pem", &authority.pem);
    let (certificate, key) = files.put_pair(&clients.client(&["spiffe://gatekeeper"]));
    let asking = Tls::Asking(authority.server(&["127.0.0.1"], 90), clients.roots());
    let callee = Callee::start(asking, ALPN).await;
    let shown = format!("ca = '{ca}'\nclient_cert = '{certificate}'\nclient_key = '{key}'");
    for (says, status) in [(shown, 200), (format!("ca = '{ca}'"), 502)] {
        let house = calling(&callee, &says).open().await;
        house.call("gemini-chat").to("secure").send().await.expect(status);
    }
    assert!(callee.came().iter().all(|came| came.has_certificate));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_opened_with_one_targets_certificates_is_never_used_for_another() {
    let (files, authority, clients) = (Files::new(), Authority::new(), Authority::new());
    let ca = files.put("ca.pem", &authority.pem);
    let (certificate, key) = files.put_pair(&clients.client(&["spiffe://gatekeeper"]));
    let callee = Callee::start(Tls::of(&authority), ALPN).await;
    // The same address three times: with a certificate, without, and with again.
    let one = |name: &str, says: &str| {
        format!("[[target]]\nnames = ['{name}']\nurl = 'https://{}/x'\ncredentials = 'none'\nca = '{ca}'\n{says}\n", callee.at)
    };
    let shown = format!("client_cert = '{certificate}'\nclient_key = '{key}'");
    let policy = [one("first", &shown), one("second", ""), one("third", &shown)].concat();
    let house = House::plan().policy("secure.toml", &policy).open().await;
    for target in ["first", "second", "third"] {
        house.call("gemini-chat").to(target).send().await.expect(200);
    }
    let connections: Vec<usize> = callee.came().iter().map(|came| came.connection).collect();
    assert_eq!(connections, [1, 2, 1], "targets whose policy says the same share connections, others do not");
}

#[tokio::test(flavor = "multi_thread")]
async fn renewed_files_count_without_a_restart_and_broken_ones_not_at_all() {
    let (files, old, new) = (Files::new(), Authority::new(), Authority::new());
    let ca = files.put("ca.pem", &new.pem);
    let callee = Callee::start(Tls::of(&old), ALPN).await;
    let house = calling(&callee, &format!("ca = '{ca}'")).open().await;
    house.call("gemini-chat").to("secure").send().await.expect(502);
    files.put("ca.pem", &old.pem);
    let believed = || async { house.call("gemini-chat").to("secure").send().await.status == 200 };
    eventually("the authority is believed", believed).await;
    files.put("ca.pem", "nothing");
    let is_told = || async { !house.gatekeeper.control.policy_status().problems.is_empty() };
    eventually("the problem is told", is_told).await;
    let problems = house.gatekeeper.control.policy_status().problems;
    assert!(problems[0].contains("secure.toml:5:") && problems[0].contains("holds no certificate"), "{problems:?}");
    house.call("gemini-chat").to("secure").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_targets_health_is_asked_for_as_it_is_called() {
    let (files, authority) = (Files::new(), Authority::new());
    let ca = files.put("ca.pem", &authority.pem);
    let callee = Callee::start(Tls::of(&authority), ALPN).await;
    let house = calling(&callee, &format!("ca = '{ca}'\nhealth = '/healthz'")).open().await;
    eventually("it is up", || async { house.metrics().await.contains(r#"gatekeeper_target_up{target="secure"} 1"#) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_is_called_in_the_protocol_of_policy() {
    let (files, authority) = (Files::new(), Authority::new());
    let ca = files.put("ca.pem", &authority.pem);
    let (h1, h2) = (Version::HTTP_11, Version::HTTP_2);
    // What the target offers over TLS, what policy says, and what comes of it.
    for (offered, protocol, came) in [
        (ALPN, None, h1),
        (ALPN, Some("http1"), h1),
        (ALPN, Some("auto"), h2),
        (ALPN, Some("http2"), h2),
        (&["http/1.1"][..], Some("auto"), h1),
        (&[][..], Some("auto"), h1),
    ] {
        let callee = Callee::start(Tls::of(&authority), offered).await;
        let protocol = protocol.map(|protocol| format!("protocol = '{protocol}'")).unwrap_or_default();
        let house = calling(&callee, &format!("ca = '{ca}'\n{protocol}")).open().await;
        let reply = house.call("gemini-chat").to("secure").payload(serde_json::json!({ "n": 7 })).send().await.expect(200);
        assert_eq!(reply.json(), serde_json::json!({ "n": 7 }));
        assert_eq!(callee.came()[0].version, came, "{offered:?} {protocol}");
    }
    for (protocol, came) in [("http1", h1), ("auto", h1), ("http2", h2)] {
        let callee = Callee::start(Tls::None, &[]).await;
        let policy =
            format!("[[target]]\nnames = ['plain']\nurl = 'http://{}/x'\ncredentials = 'none'\nprotocol = '{protocol}'\n", callee.at);
        let house = House::plan().policy("plain.toml", &policy).open().await;
        house.call("gemini-chat").to("plain").send().await.expect(200);
        assert_eq!(callee.came()[0].version, came, "{protocol}");
    }
}

/// Policy says HTTP/2; what is there does this with each connection.
async fn code_from<F: Future<Output = ()> + Send>(does: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            does(listener.accept().await.unwrap().0).await;
        }
    });
    let policy = format!("[[target]]\nnames = ['odd']\nurl = '{url}'\ncredentials = 'none'\nprotocol = 'http2'\n");
    let house = House::plan().policy("odd.toml", &policy).open().await;
    house.call("gemini-chat").to("odd").send().await.expect(502).code()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_without_the_protocol_of_policy_is_a_bad_gateway() {
    let old = |mut stream: TcpStream| async move {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    };
    // Whichever is noticed first: what it says, or that the connection is over.
    let code = code_from(old).await;
    assert!(["upstream_invalid_response", "upstream_reset"].contains(&code.as_str()), "{code}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_drops_its_connection_or_the_stream_has_reset_the_call() {
    let drops = |stream: TcpStream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        // The call is read, and then nothing more is heard.
        let call = connection.accept().await;
        drop((connection, call));
    };
    let resets = |stream: TcpStream| async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        respond.send_reset(h2::Reason::INTERNAL_ERROR);
        while connection.accept().await.is_some() {}
    };
    assert_eq!(code_from(drops).await, "upstream_reset");
    assert_eq!(code_from(resets).await, "upstream_reset");
}
