//! Who a caller is by its certificate, alone or beside its key: every combination, and no way to claim one in a header.

use super::authority::{Authority, Files, Pair};
use super::caller::{Caller, call_with};
use super::listener::behind_tls;
use crate::support::house::{House, KEY, SERVICE_KEY};

const SOURCES: &str = r#"
[[source]]
names = ["by-either"]
certificates = ["spiffe://agents/either", "either.agents.internal"]

[[source]]
names = ["by-both"]
certificates = ["spiffe://agents/both"]
require_certificate = true

[[source]]
names = ["one-of-many", "another-of-many"]
certificates = ["spiffe://agents/many"]

[[source]]
names = ["by-key"]
"#;

struct World {
    house: House,
    authority: Authority,
    callers: Authority,
    _files: Files,
}

impl World {
    async fn new() -> Self {
        let (files, authority, callers) = (Files::new(), Authority::new(), Authority::new());
        let ca = files.put("clients.pem", &callers.pem);
        let plan = behind_tls(&files, &authority).variable("GATEKEEPER_TLS_CLIENT_CA", &ca).policy("known.toml", SOURCES);
        Self { house: plan.open().await, authority, callers, _files: files }
    }

    fn caller(&self, certificate: Option<&[&str]>) -> Caller {
        let caller = Caller::trusting(self.authority.roots());
        match certificate {
            Some(names) => caller.showing(&self.callers.client(names)),
            None => caller,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_counts_as_policy_says_of_its_source() {
    let world = World::new().await;
    const EITHER: &[&str] = &["spiffe://agents/either"];
    const EITHER_DNS: &[&str] = &["Either.Agents.internal"];
    const BOTH: &[&str] = &["spiffe://agents/both"];
    const MANY: &[&str] = &["spiffe://agents/many"];
    const UNKNOWN: &[&str] = &["spiffe://agents/nobody"];
    const TWO: &[&str] = &["spiffe://agents/either", "spiffe://agents/both"];
    const NAMELESS: &[&str] = &[];
    type Case = (&'static str, Option<&'static [&'static str]>, Option<&'static str>, &'static str, Result<&'static str, &'static str>);
    // What it is, the certificate, the key, the source it says it is; and what it is recorded as, or what is wrong with it.
    let table: &[Case] = &[
        ("a certificate alone", Some(EITHER), None, "by-either", Ok("by-either")),
        ("its DNS name, in other letters", Some(EITHER_DNS), None, "by-either", Ok("by-either")),
        ("a certificate that can be one source's only", Some(EITHER), None, "", Ok("by-either")),
        ("the key instead", None, Some(KEY), "by-either", Ok("by-either")),
        ("the key beside it", Some(EITHER), Some(KEY), "by-either", Ok("by-either")),
        ("a wrong key beside it", Some(EITHER), Some("wrong"), "by-either", Err("wrong_key")),
        ("both where both are needed", Some(BOTH), Some(KEY), "by-both", Ok("by-both")),
        ("the certificate where both are needed", Some(BOTH), None, "by-both", Err("key_missing")),
        ("the same without a name", Some(BOTH), None, "", Err("key_missing")),
        ("the key where both are needed", None, Some(KEY), "by-both", Err("certificate_missing")),
        ("an unknown certificate where both are needed", Some(UNKNOWN), Some(KEY), "by-both", Err("certificate_unknown")),
        ("another's certificate where both are needed", Some(EITHER), Some(KEY), "by-both", Err("certificate_of_another")),
        ("another's certificate alone", Some(EITHER), None, "by-both", Err("certificate_of_another")),
        ("another's certificate beside a good key", Some(EITHER), Some(KEY), "by-key", Err("certificate_of_another")),
        ("a certificate and the name of no source", Some(EITHER), None, "nobody", Err("certificate_of_another")),
        ("an unknown certificate beside a good key", Some(UNKNOWN), Some(KEY), "by-key", Ok("by-key")),
        ("an unknown certificate alone", Some(UNKNOWN), None, "by-key", Err("certificate_unknown")),
        ("a certificate without names", Some(NAMELESS), None, "by-either", Err("certificate_unknown")),
        ("a certificate of a few, with a name", Some(MANY), None, "another-of-many", Ok("another-of-many")),
        ("a certificate of a few, without", Some(MANY), None, "", Err("source_missing")),
        ("a certificate of two sources, without a name", Some(TWO), None, "", Err("source_missing")),
        ("a certificate of two sources, as one of them", Some(TWO), None, "by-either", Ok("by-either")),
        ("nothing at all", None, None, "by-either", Err("key_missing")),
    ];
    for (case, certificate, key, source, expected) in table {
        let mut credentials = Vec::new();
        credentials.extend(key.map(|key| ("x-eliza-key", key)));
        credentials.extend((!source.is_empty()).then_some(("x-eliza-source", *source)));
        let reply = world.caller(*certificate).asks(world.house.data, call_with(&credentials, "render-api")).await.unwrap();
        let record = world.house.record_of(&reply).await.metadata;
        match expected {
            Ok(recorded) => {
                assert_eq!((reply.status, record["source"].as_str()), (200, Some(*recorded)), "{case}: {record}");
                assert_eq!(record["key"].is_string(), key.is_some(), "{case}: {record}");
                let known = certificate.is_some_and(|names| names != UNKNOWN);
                assert_eq!(record["certificate"].is_string(), known, "{case}: {record}");
            }
            Err(fault) => {
                assert_eq!((reply.status, record["fault"].as_str()), (401, Some(*fault)), "{case}: {record}");
                assert_eq!(record["shown_certificate"].is_string(), certificate.is_some(), "{case}: {record}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_role_key_is_what_it_is_unless_a_certificate_disputes_it() {
    let world = World::new().await;
    let bearer = format!("Bearer {SERVICE_KEY}");
    let ask = |source: Option<&'static str>| {
        let mut credentials = vec![("authorization", bearer.as_str())];
        credentials.extend(source.map(|source| ("x-eliza-source", source)));
        call_with(&credentials, "render-api")
    };
    let caller = world.caller(Some(&["spiffe://agents/either"]));
    for (source, status) in [(None, 200), (Some("by-either"), 200), (Some("by-key"), 401)] {
        caller.asks(world.house.data, ask(source)).await.unwrap().expect(status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_makes_a_certificate() {
    let world = World::new().await;
    let pem = world.callers.client(&["spiffe://agents/either"]).certificate.replace('\n', "");
    let claims = [
        ("x-forwarded-client-cert", "URI=spiffe://agents/either"),
        ("client-cert", pem.as_str()),
        ("x-client-cert", pem.as_str()),
        ("ssl-client-verify", "SUCCESS"),
        ("x-eliza-certificate", "spiffe://agents/either"),
    ];
    for claim in claims {
        let request = call_with(&[claim, ("x-eliza-source", "by-either")], "render-api");
        world.caller(None).asks(world.house.data, request).await.unwrap().expect(401);
    }
    // Nor the other way about: over plain HTTP there is none, whatever the settings of another house say.
    let plain = House::plan().policy("known.toml", SOURCES).open().await;
    plain.nameless_call().header("x-eliza-source", "by-either").to("render-api").send().await.expect(401);
    plain.call("by-both").to("render-api").send().await.expect(401);
    plain.call("by-either").to("render-api").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_certificates_of_the_authority_get_through_the_handshake() {
    let world = World::new().await;
    let forged = Caller::trusting(world.authority.roots()).showing(&Authority::new().client(&["spiffe://agents/either"]));
    let reply = forged.asks(world.house.data, call_with(&[("x-eliza-source", "by-either")], "render-api")).await;
    reply.expect_err("it was signed by somebody else");
    let server = Caller::trusting(world.authority.roots()).showing(&world.callers.server(&["either.agents.internal"], 90));
    let reply = server.asks(world.house.data, call_with(&[("x-eliza-source", "by-either")], "render-api")).await;
    reply.expect_err("a server's certificate is no client's");
    let ended: Pair = world.callers.server(&["either.agents.internal"], -1);
    Caller::trusting(world.authority.roots())
        .showing(&ended)
        .asks(world.house.data, call_with(&[], "render-api"))
        .await
        .expect_err("it has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_asked_for_anew_on_every_connection() {
    let world = World::new().await;
    let caller = world.caller(Some(&["spiffe://agents/either"]));
    let stream = caller.connect(world.house.data, &["http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
    assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0, "a session that is taken up again brings its certificate unverified");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fingerprint_names_one_certificate_and_none_after_it() {
    let (files, authority, callers) = (Files::new(), Authority::new(), Authority::new());
    let ca = files.put("clients.pem", &callers.pem);
    let [known, renewed] = [(); 2].map(|()| callers.client(&["agent.internal"]));
    let hex: String =
        eliza_gatekeeper::sha256::sha256(&known.chain()[0]).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    let policy = format!("[[source]]\nnames = ['pinned']\ncertificates = ['sha256:{hex}']\n");
    let house = behind_tls(&files, &authority).variable("GATEKEEPER_TLS_CLIENT_CA", &ca).policy("pinned.toml", &policy).open().await;
    for (pair, status) in [(known, 200), (renewed, 401)] {
        let caller = Caller::trusting(authority.roots()).showing(&pair);
        caller.asks(house.data, call_with(&[("x-eliza-source", "pinned")], "render-api")).await.unwrap().expect(status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explaining_is_judging_for_certificates_too() {
    let world = World::new().await;
    let explained = async |question: serde_json::Value| {
        let headers = [("authorization".to_owned(), format!("Bearer {}", crate::support::house::ADMIN_TOKEN))];
        let headers = [&headers[..], &[("content-type".to_owned(), "application/json".to_owned())]].concat();
        let body = question.to_string().into();
        world.house.request(world.house.ops, http::Method::POST, "/api/admin/explain", &headers, body).await
    };
    let target = serde_json::json!("render-api");
    for (source, certificate, key, would, saw) in [
        ("by-either", Some("spiffe://agents/either"), None, "forward", "source by-either with the certificate spiffe://agents/either"),
        ("by-both", Some("spiffe://agents/both"), None, "refuse", "somebody who says it is by-both"),
        (
            "by-both",
            Some("spiffe://agents/both"),
            Some("env:current"),
            "forward",
            "source by-both with the key env:current and the certificate spiffe://agents/both",
        ),
        ("by-both", None, Some("env:current"), "refuse", "somebody who says it is by-both"),
    ] {
        let mut question = serde_json::json!({ "source": source, "target": target });
        if let Some(certificate) = certificate {
            question["certificate"] = certificate.into();
        }
        if let Some(key) = key {
            question["key"] = key.into();
        }
        let answer = explained(question).await.expect(200).json();
        assert_eq!((answer["would"].as_str(), answer["steps"][0]["saw"].as_str()), (Some(would), Some(saw)), "{answer}");
    }
    explained(serde_json::json!({ "source": "by-either", "target": target, "certificate": "*.agents" })).await.expect(400);
}
