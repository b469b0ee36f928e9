//! No more calls are under way at a target than it is given, and no source takes all of them.

use eliza_gatekeeper::policy::CrowdLimits;
use eliza_gatekeeper::verdict::{Crowd, Failure};
use serde_json::json;

use super::{Scene, count};
use crate::support::house::House;
use crate::support::targets::{Conduct, Gate, Targets};

const POLICY: &str = r#"
[[target]]
names = ["narrow"]
max_in_flight = 3
max_in_flight_per_source = 2
"#;

#[tokio::test]
async fn what_is_beyond_is_refused_at_once_and_those_who_leave_make_room() {
    let gate = Gate::shut();
    let mut scene = Scene::set([Conduct::Hang(gate.clone())]).await;
    scene.target.terms.crowd = CrowdLimits { in_all: Some(count(2)), per_source: None };
    scene.follow();
    let beyond = async {
        scene.servers[0].arrival("brain", 2).await;
        let refused = Failure::TargetBusy { target: scene.target.name.clone(), whose: Crowd::Everybodys };
        assert_eq!([scene.post().await, scene.post().await], [Err(refused.clone()), Err(refused)]);
        assert_eq!(scene.upstream.targets()[0].1.under_way, 2);
        gate.open();
    };
    let (one, other, ()) = tokio::join!(scene.post(), scene.post(), beyond);
    assert_eq!((one, other, scene.post().await), (Ok(200), Ok(200), Ok(200)));
    assert_eq!((scene.arrived_in_all(), scene.upstream.targets()[0].1.under_way), (3, 0));
}

#[tokio::test]
async fn callers_hear_that_the_target_is_busy_and_when_to_come_back() {
    let gate = Gate::shut();
    let targets = Targets::like_the_platform().but("narrow", Conduct::Hang(gate.clone()));
    let house = House::plan().targets(targets).policy("narrow.toml", POLICY).open().await;
    let call = |source| house.call(source).to("narrow").payload(json!({})).send();
    let beyond = async {
        house.targets.arrival("narrow", 2).await;
        let own = call("gemini-chat").await.expect(503);
        assert_eq!((own.code().as_str(), own.header("retry-after")), ("target_busy", Some("1")));
        assert!(own.json()["message"].as_str().unwrap().contains("your calls"), "{own:?}");
        let last = async {
            house.targets.arrival("narrow", 3).await;
            let everybodys = call("openai-chat").await.expect(503);
            assert_eq!(everybodys.code(), "target_busy");
            assert!(!everybodys.json()["message"].as_str().unwrap().contains("your calls"), "{everybodys:?}");
            gate.open();
            everybodys
        };
        let (third, everybodys) = tokio::join!(call("openai-chat"), last);
        third.expect(200);
        let metadata = house.record_of(&everybodys).await.metadata;
        assert_eq!(
            (&metadata["code"], &metadata["error_class"], &metadata["status"]),
            (&json!("target_busy"), &json!("limit"), &json!(503))
        );
    };
    let (one, other, ()) = tokio::join!(call("gemini-chat"), call("gemini-chat"), beyond);
    one.expect(200);
    other.expect(200);
    call("gemini-chat").await.expect(200);
    assert_eq!(house.targets.received("narrow").len(), 4);
}
