//! What operators rely on about targets: who may call them, what they are sent, and that no secret goes astray.

use eliza_gatekeeper::policy::load::Origin;
use eliza_gatekeeper::policy::{Credentials, Inspect};

use super::{Given, given, root, shipped_with};

#[test]
fn who_may_call_is_a_matter_of_policy() {
    let policy = given([("p.toml", "[[source]]\nnames = ['a', 'b-*']\n[[target]]\nnames = ['t']\ncallers = ['b-1']\n")]).load().unwrap();
    let target = policy.targets.find("t").unwrap();
    assert_eq!((target.admits("a"), target.admits("b-1"), target.admits("b-2")), (false, true, false));
}

#[test]
fn what_is_not_set_is_mentioned_once() {
    let nothing_set = Given { service_role: None, ..given([]).without("SUPABASE_URL") };
    let policy = nothing_set.load_from(&Origin::Shipped).unwrap();
    assert_eq!(
        policy.warnings,
        [
            "SUPABASE_URL is not set: no address for 34 targets, calls there answer 503 target_not_configured",
            "no service role key is set: 34 targets called without credentials",
        ]
    );
    let target = policy.targets.find("gemini-chat").unwrap();
    assert!(target.url.is_none() && matches!(target.credentials, Credentials::None));
}

#[test]
fn a_trailing_slash_of_the_platform_is_no_mistake() {
    let policy = given([]).with("SUPABASE_URL", "https://project.supabase.co/ ").load_from(&Origin::Shipped).unwrap();
    let url = policy.targets.find("openai-tts").unwrap().url.clone().unwrap();
    assert_eq!(url, "https://project.supabase.co/functions/v1/openai-tts");
}

#[test]
fn secrets_go_only_where_they_belong() {
    let target = |terms: &str| format!("[[source]]\nnames = ['a']\n[[target]]\nnames = ['t']\n{terms}\n");
    let foreign = "the service role key goes to the origin of SUPABASE_URL only";
    let exposed = "credentials would travel over plain http off this machine";
    let own_secret = "is a secret of the gatekeeper's own";
    let cases = [
        ("url = 'https://project.supabase.co/x'", None),
        ("url = 'https://PROJECT.supabase.co:443/x'", None),
        ("url = 'https://project.supabase.co:444/x'", Some(foreign)),
        ("url = 'https://project.supabase.co.evil.example/x'", Some(foreign)),
        ("url = 'http://project.supabase.co/x'", Some(foreign)),
        ("url = 'http://127.0.0.1:1/x'", Some(foreign)),
        ("url = 'https://project.supabase.co@evil.example/x'", Some("no user or password belongs in it")),
        ("url = 'https://elsewhere.example/x'\ncredentials = 'none'", None),
        ("url = 'http://10.0.0.1/x'\ncredentials = 'none'", None),
        ("url = 'https://elsewhere.example/x'\nauthorization = 'pass'", None),
        ("url = 'https://elsewhere.example/x'\nauthorization = 'stop'", Some(foreign)),
        ("url = 'https://elsewhere.example/x'\nbearer = 'TOKEN'", None),
        ("url = 'http://localhost:1/x'\nbearer = 'TOKEN'", None),
        ("url = 'http://elsewhere.example/x'\nbearer = 'TOKEN'", Some(exposed)),
        ("url = 'http://elsewhere.example/x'\nbearer = 'UNSET'", Some(exposed)),
        ("url = 'https://elsewhere.example/x'\nbearer = 'ALIAS'", Some(foreign)),
        ("url = 'https://elsewhere.example/x'\nbearer = 'INTERNAL_ELIZA_KEY'", Some(own_secret)),
        ("url = 'https://elsewhere.example/${SUPABASE_SERVICE_ROLE_KEY}'\ncredentials = 'none'", Some(own_secret)),
        ("bearer = 'BROKEN'", Some("fits into no header")),
        ("bearer = 'TOKEN'\ncredentials = 'none'", Some("keep one of them")),
        ("authorization = 'pass'\ncredentials = 'service-role'", Some("keep one of them")),
        ("authorization = 'pass'\nbearer = 'TOKEN'", Some("keep one of them")),
    ];
    for (terms, expected) in cases {
        let text = target(terms);
        let given = given([("p.toml", text.as_str())]).with("TOKEN", "t0ken").with("ALIAS", "service-role-key").with("BROKEN", "a\nb");
        let problems = given.problems();
        match expected {
            None => assert_eq!(problems, Vec::<String>::new(), "{terms}"),
            Some(words) => {
                assert!(problems.iter().any(|problem| problem.contains(words)), "{terms}: {problems:?}");
                assert!(problems.iter().all(|problem| problem.starts_with("p.toml:")), "{terms}: {problems:?}");
                assert!(!problems.concat().contains("service-role-key") && !problems.concat().contains("t0ken"), "{problems:?}");
            }
        }
    }
}

#[test]
fn a_platform_over_plain_http_gets_no_secret() {
    let local = given([]).with("SUPABASE_URL", "http://127.0.0.1:54321").load_from(&Origin::Shipped).unwrap();
    assert!(matches!(local.targets.find("gemini-chat").unwrap().credentials, Credentials::ServiceRole(_)));
    let exposed = shipped_with(&[]).with("SUPABASE_URL", "http://platform.example").problems();
    assert_eq!(exposed.len(), 1, "{exposed:?}");
    let targets = std::fs::read_to_string(root().join("policies/targets.toml")).unwrap();
    let line = 1 + targets.lines().position(|line| line.starts_with("url = ")).unwrap();
    assert!(exposed[0].starts_with(&format!("targets.toml:{line}:7: ")) && exposed[0].contains("plain http"), "{exposed:?}");
}

#[test]
fn each_target_is_given_what_its_policy_says() {
    let text = "[[source]]\nnames = ['a']\n[target_defaults]\nauthorization = 'pass'\n[[target]]\nnames = ['passing']\n\
                [[target]]\nnames = ['known']\nbearer = 'TOKEN'\n[[target]]\nnames = ['platform']\ncredentials = 'service-role'\n\
                [[target]]\nnames = ['bare']\ncredentials = 'none'\n[[target]]\nnames = ['lacking']\nbearer = 'UNSET'\n[schema]\nvalidator = 'off'\n";
    let policy = given([("p.toml", text)]).with("TOKEN", "t0ken").load().unwrap();
    let target = |name: &str| policy.targets.find(name).unwrap();
    assert!(target("passing").pass_authorization && matches!(target("passing").credentials, Credentials::None));
    assert!(matches!(&target("known").credentials, Credentials::Bearer(secret) if secret.reveal() == "t0ken"));
    assert!(matches!(target("platform").credentials, Credentials::ServiceRole(_)) && !target("platform").pass_authorization);
    assert!(matches!(target("bare").credentials, Credentials::None) && !target("bare").pass_authorization);
    assert!(matches!(target("lacking").credentials, Credentials::None));
    assert_eq!(policy.warnings, ["UNSET is not set: 1 target called without credentials"]);
    assert!(!format!("{policy:?}").contains("t0ken"));
}

#[test]
fn what_is_not_judged_is_said_by_name_and_warned_of() {
    let text = "[[source]]\nnames = ['a']\n[target_defaults]\ncredentials = 'none'\n[schema]\nvalidator = 'off'\n\
                [[target]]\nnames = ['judged']\n[[target]]\nnames = ['up', 'down']\ninspect = 'skip'\n\
                [[target]]\nnames = ['said']\ninspect = 'required'\n";
    let policy = given([("p.toml", text)]).load().unwrap();
    let inspects = ["judged", "up", "down", "said"].map(|name| policy.targets.find(name).unwrap().inspect);
    assert_eq!(inspects, [Inspect::Required, Inspect::Skip, Inspect::Skip, Inspect::Required]);
    let warned = ["up", "down"].map(|name| format!("p.toml:10: what direct calls to `{name}` carry is not judged"));
    assert_eq!(policy.warnings, warned);
    let pattern = text.replace("'up', 'down'", "'up-*'");
    let pattern = given([("p.toml", pattern.as_str())]).problems();
    assert!(pattern.iter().any(|problem| problem.starts_with("p.toml:10:10: `up-*` is no name")), "{pattern:?}");
}

#[test]
fn where_a_target_says_how_it_is_lies_on_its_own_origin() {
    let own = "\
[[target]]
names = ['brain', 'hands']
url = 'http://127.0.0.1:18080/t/{target}'
credentials = 'none'
health = '/t/healthz'
[[target]]
names = ['ears']
[[target]]
names = ['lost']
url = '${UNSET}/x'
health = '/healthz'
[[source]]
names = ['a']
";
    let policy = given([("p.toml", own)]).load().unwrap();
    let health = |name| policy.targets.find(name).unwrap().health.as_ref().map(ToString::to_string);
    let here = Some("http://127.0.0.1:18080/t/healthz".to_owned());
    assert_eq!([health("brain"), health("hands"), health("ears"), health("lost")], [here.clone(), here, None, None]);
}
