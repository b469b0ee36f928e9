//! `/openapi.json` describes every route and nothing else, each with its schemas, its refusals and the token it wants. (That answers are
//! as described is what `admin_fuzz` shows.)

use std::collections::BTreeSet;

use http::Method;
use serde_json::{Value, json};

use super::Operator;
use crate::support::house::House;
use crate::support::program::Program;

const OPEN: [&str; 8] = ["/openapi.json", "/metrics", "/livez", "/readyz", "/healthz", "/health", "/api/health", "/api/monitoring/health"];

fn operations(description: &Value) -> Vec<(String, String, Value)> {
    let paths = description["paths"].as_object().unwrap().iter();
    let of_path = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(|(method, operation)| (method.to_uppercase(), path.clone(), operation.clone())).collect::<Vec<_>>()
    };
    paths.flat_map(of_path).collect()
}

/// Something that could stand in the address.
fn filled(path: &str) -> String {
    path.replace("{id}", "0192f0c1-2345-7abc-8def-0123456789ab").replace("{source}", "nobody")
}

#[tokio::test]
async fn every_description_is_a_route_that_is_as_open_as_it_says() {
    let house = House::open().await;
    let operator = Operator::of(&house);
    let stranger = Operator::of(&house).without("authorization");
    let description = stranger.get("/openapi.json").await.expect(200).json();
    assert_eq!(description["openapi"], "3.1.0");
    assert_eq!(description["components"]["securitySchemes"]["admin_token"], json!({ "type": "http", "scheme": "bearer" }));

    let (mut ids, mut open) = (BTreeSet::new(), BTreeSet::new());
    for (method, path, operation) in operations(&description) {
        let what = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{what}");
        assert!(operation["tags"][0].is_string() && operation["summary"].is_string(), "{what}");
        assert!(operation["responses"]["500"].is_null(), "{what}");
        if operation["security"].is_null() {
            assert!([200, 503].contains(&stranger.ask(&method, &filled(&path), "").await.status), "{what}");
            open.insert(path);
            continue;
        }
        assert_eq!(operation["security"], json!([{ "admin_token": [] }]), "{what}");
        stranger.ask(&method, &filled(&path), "").await.expect(401);
        for status in ["400", "401", "403"] {
            let schema = &operation["responses"][status]["content"]["application/json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Problem", "{what}: {status}");
        }
        // What is there answers to its address alone, and to nothing that it does not know.
        let refused = operator.ask(&method, &format!("{}?no-such-parameter=1", filled(&path)), "{}").await.expect(400);
        assert!(
            refused.json()["message"].as_str().unwrap().contains("\"no-such-parameter\" is not known here"),
            "{what}: {:?}",
            refused.body
        );
        if !operation["requestBody"].is_null() {
            let schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
            let schema = description.pointer(schema.trim_start_matches('#')).unwrap();
            assert_eq!(schema["additionalProperties"], false, "{what}");
        }
        let changes = method != "GET" && path != "/api/admin/explain";
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        assert_eq!(parameters.iter().any(|parameter| parameter["name"] == "X-Actor"), changes, "{what}");
    }
    assert_eq!(open, OPEN.map(str::to_owned).into());
}

#[tokio::test]
async fn the_methods_that_are_described_are_those_that_are_there() {
    let house = House::open().await;
    let operator = Operator::of(&house);
    let description = operator.get("/openapi.json").await.expect(200).json();
    for (path, item) in description["paths"].as_object().unwrap() {
        if OPEN.contains(&path.as_str()) {
            continue;
        }
        let reply = operator.ask("PATCH", &filled(path), "").await.expect(405);
        let mut there: BTreeSet<_> = reply.header("allow").unwrap().split(',').map(str::to_lowercase).collect();
        there.remove("head");
        assert_eq!(there, item.as_object().unwrap().keys().cloned().collect(), "{path}");
    }
}

#[tokio::test]
async fn the_command_prints_what_the_listener_serves() {
    let house = House::open().await;
    let served = house.request(house.ops, Method::GET, "/openapi.json", &[], "".into()).await.expect(200).json();
    let for_machines = Program::bare().run(&["openapi", "--json"]).await.expect(0).value();
    let for_people: Value = serde_json::from_str(&Program::bare().run(&["openapi"]).await.expect(0).out).unwrap();
    assert_eq!((&for_machines, &for_people), (&served, &served));
}
