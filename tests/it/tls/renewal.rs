//! Certificates that are renewed while calls go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use eliza_gatekeeper::tls::Look;
use serde_json::Value;

use super::authority::{Authority, Files, Pair};
use super::caller::{Caller, Streams, call};
use super::listener::behind_tls;
use crate::support::house::{House, eventually};

/// As SIGHUP does it.
async fn look_at_once(house: &House) {
    let gatekeeper = &house.gatekeeper;
    gatekeeper.locks.look_apart(Look::Asked, gatekeeper.pipeline.clock.now(), &gatekeeper.metrics).await;
}

async fn warnings(house: &House) -> Vec<String> {
    let page = house.get_ops("/health", &[]).await.json();
    page["warnings"].as_array().unwrap().iter().map(|warning| warning.as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_renewals_under_load_cost_no_call() {
    let (files, authority) = (Files::new(), Authority::new());
    let busy = "[tiers.busy]\nlimit = ['1000000/1m']\n[[source]]\nnames = ['busy']\ntier = 'busy'\n";
    let house = Arc::new(behind_tls(&files, &authority).policy("busy.toml", busy).open().await);
    let caller = Caller::trusting(authority.roots());
    let (done, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = Vec::new();
    for _ in 0..4 {
        let (house, caller, done, made) = (Arc::clone(&house), caller.clone(), Arc::clone(&done), Arc::clone(&made));
        load.push(tokio::spawn(async move {
            // A connection that outlives every renewal, beside one for each call.
            let kept = Streams::over(caller.connect(house.data, &["h2"]).await.unwrap()).await;
            while !done.load(Ordering::Relaxed) {
                caller.asks(house.data, call("busy", "render-api")).await.expect("no connection is refused").expect(200);
                assert_eq!(kept.call("https", "busy", "render-api", 1).await.0, 200);
                made.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    for _ in 0..50 {
        let before = made.load(Ordering::Relaxed);
        let next = authority.gatekeeper();
        files.put_pair(&next);
        look_at_once(&house).await;
        assert_eq!(caller.sees(house.data).await, next.chain()[0]);
        eventually("calls go on", || async { made.load(Ordering::Relaxed) > before + 4 }).await;
    }
    done.store(true, Ordering::Relaxed);
    for one in load {
        one.await.unwrap();
    }
    let metrics = house.metrics().await;
    assert!(metrics.contains(r#"gatekeeper_tls_reloads_total{listener="data",outcome="loaded"} 50"#), "{metrics}");
    assert!(!metrics.contains(r#"gatekeeper_tls_handshakes_total{listener="data",outcome="failed"}"#), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_files_are_found_by_themselves() {
    let (files, authority) = (Files::new(), Authority::new());
    let house = behind_tls(&files, &authority).open().await;
    let caller = Caller::trusting(authority.roots());
    let next = authority.gatekeeper();
    files.put_pair(&next);
    eventually("the new certificate is in force", || async { caller.sees(house.data).await == next.chain()[0] }).await;
    assert!(house.metrics().await.contains(r#"gatekeeper_tls_certificate_days_left{listener="data"} 90"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_stays_out_and_is_told_until_it_is_mended() {
    let (files, authority) = (Files::new(), Authority::new());
    let first = authority.gatekeeper();
    let house = behind_tls(&files, &authority).open().await;
    files.put_pair(&first);
    look_at_once(&house).await;
    let caller = Caller::trusting(authority.roots());

    let other = authority.gatekeeper();
    let mismatched = Pair { certificate: other.certificate.clone(), key: first.key.clone() };
    let cut = Pair { certificate: first.certificate[..first.certificate.len() / 2].to_owned(), key: first.key.clone() };
    let keyless = Pair { certificate: first.certificate.clone(), key: first.certificate.clone() };
    let cases = [
        (mismatched, "is not the key to the first certificate of"),
        (authority.server(&[super::authority::NAME], -1), "the certificate ended on"),
        (cut, "is broken or cut off"),
        (Pair { certificate: String::new(), key: first.key.clone() }, "holds no certificate"),
        (keyless, "holds no private key"),
    ];
    for (broken, words) in cases {
        files.put_pair(&broken);
        look_at_once(&house).await;
        let told = warnings(&house).await;
        assert!(told.iter().any(|warning| warning.contains(words) && warning.contains("stays in force")), "{words}: {told:?}");
        assert_eq!(caller.sees(house.data).await, first.chain()[0], "{words}");
        assert!(house.metrics().await.contains(r#"gatekeeper_tls_trouble{listener="data"} 1"#), "{words}");
        let secret = first.key.lines().nth(1).unwrap();
        assert!(!told.join(" ").contains(secret), "{told:?}");
    }
    std::fs::remove_file(files.path("key.pem")).unwrap();
    let is_told = || async { warnings(&house).await.iter().any(|warning| warning.contains("key.pem cannot be read")) };
    eventually("a file that is gone is told without being asked", is_told).await;

    let mended = authority.gatekeeper();
    files.put_pair(&mended);
    eventually("the new certificate is in force", || async { caller.sees(house.data).await == mended.chain()[0] }).await;
    assert_eq!(warnings(&house).await, Vec::<String>::new());
    assert!(house.metrics().await.contains(r#"gatekeeper_tls_trouble{listener="data"} 0"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_comes_near_is_told_in_time() {
    let (files, authority) = (Files::new(), Authority::new());
    let house = behind_tls(&files, &authority).open().await;
    for (days, words) in [(13, "in 13 days"), (0, "in 0 days")] {
        files.put_pair(&authority.server(&[super::authority::NAME], days));
        look_at_once(&house).await;
        let page = house.get_ops("/health", &[]).await.expect(200).json();
        assert!(page["warnings"].as_array().unwrap().iter().map(Value::to_string).any(|warning| warning.contains(words)), "{page}");
        let metric = format!(r#"gatekeeper_tls_certificate_days_left{{listener="data"}} {days}"#);
        assert!(house.metrics().await.contains(&metric), "{metric}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_a_certificate_that_has_ended_serves_and_says_so() {
    let (files, authority) = (Files::new(), Authority::new());
    let (certificate, key) = files.put_pair(&authority.server(&[super::authority::NAME], -3));
    let house = House::plan().variable("GATEKEEPER_TLS_CERT", &certificate).variable("GATEKEEPER_TLS_KEY", &key).open().await;
    assert!(warnings(&house).await.iter().any(|warning| warning.contains("the certificate in force ended on")));
    assert!(Caller::trusting(authority.roots()).connect(house.data, &[]).await.is_err(), "callers who look at it refuse it");
}
