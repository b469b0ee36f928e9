//! The program itself: SIGHUP, and commands that talk to an ops listener over TLS.

use super::authority::{Authority, Files, NAME};
use super::caller::Caller;
use crate::support::house::{ADMIN_TOKEN, eventually};
use crate::support::program::Program;

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_puts_renewed_certificates_in_force_and_says_at_once_what_is_wrong_with_them() {
    let (files, authority) = (Files::new(), Authority::new());
    let (certificate, key) = files.put_pair(&authority.gatekeeper());
    let program = Program::new().variable("GATEKEEPER_TLS_CERT", &certificate).variable("GATEKEEPER_TLS_KEY", &key);
    let serving = program.serve().await;
    let caller = Caller::trusting(authority.roots());
    let next = authority.gatekeeper();
    files.put_pair(&next);
    serving.running.signal("HUP");
    serving.running.log_line("a new certificate is in force").await;
    assert_eq!(caller.sees(serving.data).await, next.chain()[0]);

    files.put("key.pem", &authority.gatekeeper().key);
    serving.running.signal("HUP");
    let told = || async { serving.running.err().contains("is not the key to the first certificate of") };
    eventually("the log says what is wrong", told).await;
    assert_eq!(caller.sees(serving.data).await, next.chain()[0]);
    let ended = serving.stop().await.expect(0);
    assert!(!ended.err.contains("PRIVATE KEY"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_an_ops_listener_that_speaks_tls() {
    let (files, authority) = (Files::new(), Authority::new());
    let ca = files.put("ca.pem", &authority.pem);
    // By its name alone, and with its authority in the chain, as many keep their files.
    let mut pair = authority.server(&[NAME], 90);
    pair.certificate.push_str(&authority.pem);
    let (certificate, key) = files.put_pair(&pair);
    let program = Program::new()
        .variable("GATEKEEPER_ADMIN_TOKEN", ADMIN_TOKEN)
        .variable("GATEKEEPER_OPS_TLS_CERT", &certificate)
        .variable("GATEKEEPER_OPS_TLS_KEY", &key);
    let serving = program.serve().await;

    let here = program.clone().variable("GATEKEEPER_OPS_LISTEN", &serving.ops.to_string());
    assert_eq!(here.run(&["health", "--json"]).await.value()["status"], "healthy");
    here.run(&["enforce", "status"]).await.expect(0);

    // An address that is given is known by what it is called, and by whom this machine believes.
    let url = format!("https://{}", serving.ops);
    let ran = program.run(&["enforce", "status", "--url", &url]).await.expect(1);
    assert!(ran.err.contains("cannot be reached"), "{ran:?}");
    let trusting = program.clone().variable("SSL_CERT_FILE", &ca);
    trusting.run(&["enforce", "status", "--url", &url]).await.expect(1);
    let plain = program.run(&["enforce", "status", "--url", &format!("http://{}", serving.ops)]).await.expect(1);
    assert!(plain.err.contains("400") || plain.err.contains("not JSON"), "{plain:?}");
    serving.stop().await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_given_is_believed_by_the_authorities_of_the_machine() {
    let (files, authority) = (Files::new(), Authority::new());
    let ca = files.put("ca.pem", &authority.pem);
    let (certificate, key) = files.put_pair(&authority.gatekeeper());
    let program = Program::new()
        .variable("GATEKEEPER_ADMIN_TOKEN", ADMIN_TOKEN)
        .variable("GATEKEEPER_OPS_TLS_CERT", &certificate)
        .variable("GATEKEEPER_OPS_TLS_KEY", &key);
    let serving = program.serve().await;
    let url = format!("https://{}", serving.ops);
    program.run(&["health", "--url", &url]).await.expect(1);
    program.clone().variable("SSL_CERT_FILE", &ca).run(&["health", "--url", &url]).await.expect(0);
    serving.stop().await.expect(0);
}
