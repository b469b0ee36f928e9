//! What `check` says of certificates before they get anywhere.

use super::authority::{Authority, Files, Pair, restrict};
use crate::support::program::Program;

fn program(certificate: &str, key: &str) -> Program {
    Program::new().variable("GATEKEEPER_TLS_CERT", certificate).variable("GATEKEEPER_TLS_KEY", key)
}

#[tokio::test]
async fn check_takes_a_good_pair_and_names_what_is_wrong_with_any_other() {
    let (files, authority) = (Files::new(), Authority::new());
    let good = authority.gatekeeper();
    let other = authority.gatekeeper();
    let (certificate, key) = files.put_pair(&good);
    let ran = program(&certificate, &key).run(&["check"]).await.expect(0);
    assert!(!ran.out.contains("cert.pem): "), "{ran:?}");

    let cases = [
        (Pair { certificate: other.certificate, key: good.key.clone() }, "key.pem is not the key to the first certificate of"),
        (authority.server(&["127.0.0.1"], -1), "the certificate ended on"),
        (Pair { certificate: "x".into(), key: good.key.clone() }, "cert.pem holds no certificate"),
        (Pair { certificate: good.certificate.clone(), key: "x".into() }, "key.pem holds no private key"),
    ];
    for (pair, words) in cases {
        files.put_pair(&pair);
        let ran = program(&certificate, &key).run(&["check"]).await.expect(78);
        assert!(ran.err.contains("GATEKEEPER_TLS_CERT (") && ran.err.contains(words), "{words}: {ran:?}");
    }
    std::fs::remove_file(files.path("key.pem")).unwrap();
    let ran = program(&certificate, &key).run(&["check"]).await.expect(78);
    assert!(ran.err.contains("key.pem cannot be read"), "{ran:?}");
}

#[tokio::test]
async fn check_warns_of_a_near_end_and_of_a_key_that_anybody_can_read() {
    let (files, authority) = (Files::new(), Authority::new());
    let (certificate, key) = files.put_pair(&authority.server(&["127.0.0.1"], 5));
    for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true), (0o660, true)] {
        restrict(&files.path("key.pem"), mode);
        let ran = program(&certificate, &key).run(&["check"]).await.expect(0);
        assert!(ran.out.contains("in 5 days"), "{ran:?}");
        assert_eq!(ran.out.contains("chmod 640"), warned, "{mode:o}: {ran:?}");
    }
}

#[tokio::test]
async fn settings_of_tls_that_say_half_are_named() {
    let secret = "-----BEGIN PRIVATE KEY-----abc";
    let table: &[(&[(&str, &str)], &str)] = &[
        (&[("GATEKEEPER_TLS_CERT", "/c")], "GATEKEEPER_TLS_KEY is not set, and GATEKEEPER_TLS_CERT is"),
        (&[("GATEKEEPER_OPS_TLS_KEY", "/k")], "GATEKEEPER_OPS_TLS_CERT is not set, and GATEKEEPER_OPS_TLS_KEY is"),
        (&[("GATEKEEPER_TLS_CLIENT_CA", "/a")], "GATEKEEPER_TLS_CLIENT_CA says nothing without GATEKEEPER_TLS_CERT"),
        (&[("GATEKEEPER_TLS_CERT", "/c"), ("GATEKEEPER_TLS_KEY", secret)], "GATEKEEPER_TLS_KEY is to name a PEM file"),
        (
            &[
                ("GATEKEEPER_LISTEN", "127.0.0.1:9"),
                ("GATEKEEPER_OPS_LISTEN", "127.0.0.1:9"),
                ("GATEKEEPER_OPS_TLS_CERT", "/c"),
                ("GATEKEEPER_OPS_TLS_KEY", "/k"),
            ],
            "GATEKEEPER_OPS_TLS_CERT says nothing where calls and operators share an address",
        ),
    ];
    for (variables, words) in table {
        let program = variables.iter().fold(Program::new(), |program, (name, value)| program.variable(name, value));
        let ran = program.run(&["check"]).await.expect(78);
        assert!(ran.err.contains(words), "{words}: {ran:?}");
        assert!(!ran.out.contains("PRIVATE") && !ran.err.contains("PRIVATE"), "{ran:?}");
        assert_eq!(program.run(&["serve"]).await.code, 78, "{words}");
    }
}

#[tokio::test]
async fn mistakes_of_policy_about_certificates_have_their_line() {
    let (files, authority) = (Files::new(), Authority::new());
    let (certificate, key) = files.put_pair(&authority.client(&["spiffe://gatekeeper"]));
    let other = files.put("other.pem", &authority.client(&["a"]).key);
    let ca = files.put("ca.pem", &authority.pem);
    let (source, target) = ("[[source]]\nnames = ['s']\n", "[[target]]\nnames = ['t']\nurl = 'https://h'\ncredentials = 'none'\n");
    let cases = [
        (format!("{source}certificates = ['*.agents']"), "p.toml:3:17: `*.agents` names no certificate"),
        (format!("{source}certificates = []"), "p.toml:3:16: an empty list names no certificate"),
        (format!("{source}require_certificate = true"), "p.toml:3:23: no certificate is named that could be required"),
        (format!("{source}certificates = ['a', 'A']"), "p.toml:3:22: certificate `a` is named in p.toml:3 already"),
        (format!("{target}ca = 'ca.pem'"), "p.toml:5:6: `ca.pem` is no absolute path"),
        (format!("{target}ca = '/nowhere/ca.pem'"), "p.toml:5:6: /nowhere/ca.pem cannot be read"),
        (format!("{target}ca = '{key}'"), "key.pem holds no certificate"),
        (format!("{target}client_cert = '{certificate}'"), "p.toml:5:15: a certificate without its key"),
        (format!("{target}client_key = '{key}'"), "p.toml:5:14: a key without its certificate"),
        (format!("{target}client_cert = '{certificate}'\nclient_key = '{other}'"), "p.toml:5:15: "),
        (format!("{target}server_name = 'a b'"), "p.toml:5:15: `a b` is no name of a server"),
        (format!("{target}protocol = 'http3'"), "p.toml:5:12: unknown value `http3`"),
    ];
    let policies = tempfile::tempdir().unwrap();
    let check = async |text: &str| {
        std::fs::write(policies.path().join("p.toml"), text).unwrap();
        Program::new().run(&["policy", "check", "--policies", policies.path().to_str().unwrap()]).await
    };
    for (text, words) in cases {
        let ran = check(&text).await;
        assert!(ran.code != 0 && format!("{}{}", ran.out, ran.err).contains(words), "{words}: {ran:?}");
    }
    let sound = format!("{source}certificates = ['a']\n{target}ca = '{ca}'\nclient_cert = '{certificate}'\nclient_key = '{key}'\n");
    let ran = check(&sound).await.expect(0);
    assert!(ran.out.contains("GATEKEEPER_TLS_CLIENT_CA is not set"), "{ran:?}");
    let ran = check(&format!("{target}ca = '{ca}'").replace("https:", "http:")).await.expect(0);
    assert!(ran.out.contains("called over plain http"), "{ran:?}");
}
