//! Promises: with more calls than can be carried, some are refused at once and the others go on; probes are always answered, every call
//! is accounted for, and when the load falls it is over. Connections that stand still end within known times, each counted by its
//! reason, and no network takes all of them.

mod bench;
mod crowd;
mod http2;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use eliza_gatekeeper::clock::ManualClock;
use eliza_gatekeeper::settings::{Bounds, Pace};
use serde_json::json;
use tempfile::TempDir;

use crate::support::house::{House, KEY, eventually, lay_policies, midnight};
use crate::support::line::Line;
use crate::support::operator;
use crate::support::targets::{Conduct, Gate, Targets};
use crowd::Crowd;

const CHAT: &str = "gemini-chat";
/// Longer than any of the waits here, shorter than what is waited for in production.
const FIVE_SECONDS: Duration = Duration::from_secs(5);

/// High enough to refuse nothing.
fn limits() -> String {
    include_str!("../../policies/limits.toml").replace("00/1m\"", "00000000/1m\"")
}

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let policies = lay_policies(folder.path(), &[("limits.toml".to_owned(), limits())]);
    (folder, policies)
}

/// How many connections were cut for this reason.
async fn cut(house: &House, reason: &str) -> u32 {
    let start = format!("gatekeeper_connections_cut_total{{reason=\"{reason}\"}} ");
    house.metrics().await.lines().find_map(|line| line.strip_prefix(&start)).map_or(0, |count| count.parse().unwrap())
}

// Calls.

#[tokio::test(flavor = "multi_thread")]
async fn too_many_calls_are_refused_at_the_door_counted_and_soon_forgotten() {
    let clock = ManualClock::at(midnight());
    // So short that any crowd is one too many, however fast the machine.
    let crowded: fn(&mut Bounds) = |bounds| bounds.longest_wait = Some(Duration::from_micros(20));
    let house = House::plan().at(&clock).policy("limits.toml", &limits()).bounds(crowded).open().await;
    let shed = || house.gatekeeper.metrics.shed.get();
    let crowd = Crowd::start(house.data, 150, None);
    eventually("calls are refused", || async { shed() > 200 }).await;

    // Whoever asks how the gatekeeper is gets an answer, on both listeners; and it says that calls should be sent here.
    for path in ["/livez", "/readyz", "/healthz"] {
        house.get(path).await.expect(200);
        house.get_ops(path, &[]).await.expect(200);
    }
    let heard = crowd.end().await;
    let (made, refused) = (heard.count(200), heard.count(503));
    assert!(heard.broken == 0 && made > 0 && made + refused == heard.whole.len(), "{} {made} {refused}", heard.broken);

    // With nobody else there, a call is made.
    eventually("it is over", || async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let before = shed();
        for _ in 0..3 {
            house.call(CHAT).to("agent-manager").action("list_agents").send().await;
        }
        shed() == before
    })
    .await;
    let metrics = house.metrics().await;
    let value = |line: &str| metrics.lines().find_map(|there| there.strip_prefix(line)).map(|value| value.parse::<usize>().unwrap());
    assert_eq!(value("gatekeeper_calls_shed_total "), value("gatekeeper_calls_total{outcome=\"overloaded\"} "));

    let (all, late) = (usize::try_from(shed()).unwrap(), usize::try_from(shed()).unwrap() - refused);
    let closed = house.close().await;
    let number = async |what: &str| operator::number(&closed.database, &format!("select {what} from eliza_activity_log")).await;
    let one_by_one = number("count(*) filter (where json_extract(metadata, '$.code') = 'overloaded' and title not like '%refused')").await;
    assert_eq!(one_by_one, 100, "as many as policy says of strangers");
    let summed = number("sum(json_extract(metadata, '$.folded'))").await;
    assert_eq!(usize::try_from(one_by_one + summed).unwrap(), all);
    let calls = usize::try_from(number("count(*) filter (where status = 'completed')").await).unwrap();
    assert!(calls >= made + 3 && late < 1000, "{calls} of {made}, {late}");
}

#[tokio::test]
async fn slow_targets_are_no_overload() {
    let gate = Gate::shut();
    let targets = Targets::like_the_platform().but(CHAT, Conduct::Hang(gate.clone()));
    let longest: fn(&mut Bounds) = |bounds| bounds.longest_wait = Some(Duration::from_secs(1));
    let house = House::plan().targets(targets).policy("limits.toml", &limits()).bounds(longest).open().await;
    let mut waiting = Vec::new();
    for _ in 0..100 {
        let mut line = Line::to(house.data).await;
        line.call(CHAT, &json!({"target": CHAT, "payload": {"messages": [{"role": "user", "content": "hello"}]}})).await;
        waiting.push(line);
    }
    house.targets.arrival(CHAT, 100).await;
    let crowd = Crowd::start(house.data, 30, None);
    eventually("others call", || async { crowd.heard() > 500 }).await;
    let heard = crowd.end().await;
    assert_eq!((heard.count(200), heard.broken, house.gatekeeper.metrics.shed.get()), (heard.whole.len(), 0, 0));
    gate.open();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_hangs_up_while_being_kept_is_accounted_for_too() {
    let crowded: fn(&mut Bounds) = |bounds| bounds.longest_wait = Some(Duration::from_micros(20));
    let house = House::plan().policy("limits.toml", &limits()).bounds(crowded).open().await;
    let shed = || house.gatekeeper.metrics.shed.get();
    let crowd = Crowd::start(house.data, 150, None);
    eventually("calls are refused", || async { shed() > 200 }).await;
    // At least a tenth of a second passes before anybody is told.
    let before = shed();
    let mut gone = 0;
    while gone < 300 {
        let mut line = Line::to(house.data).await;
        line.call(CHAT, &json!({"target": "agent-manager", "action": "list_agents"})).await;
        gone += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let heard = crowd.end().await;
    let all = usize::try_from(shed()).unwrap();
    assert!(shed() > before && all > heard.count(503), "{all} of {} that heard of it", heard.count(503));
    let closed = house.close().await;
    let number = async |what: &str| operator::number(&closed.database, &format!("select {what} from eliza_activity_log")).await;
    let one_by_one = number("count(*) filter (where json_extract(metadata, '$.code') = 'overloaded' and title not like '%refused')").await;
    let summed = number("coalesce(sum(json_extract(metadata, '$.folded')), 0)").await;
    assert_eq!(usize::try_from(one_by_one + summed).unwrap(), all);
}

// Connections.

#[tokio::test]
async fn once_all_seats_are_taken_calls_are_told_so_and_probes_are_answered() {
    let house =
        House::plan().variable("GATEKEEPER_MAX_CONNECTIONS", "1").variable("GATEKEEPER_MAX_CONNECTIONS_PER_NETWORK", "9").open().await;
    let mut seated = seated(&house, 1).await;

    let mut standing = Line::to(house.data).await;
    standing.say("GET /readyz HTTP/1.1\r\nhost: gatekeeper\r\n\r\n").await;
    assert_eq!(standing.reply().await.status, 200);
    let refused = standing.call(CHAT, &json!({"target": "agent-manager"})).await.reply().await.expect(503);
    assert_eq!(
        (refused.code().as_str(), refused.header("retry-after"), refused.header("connection")),
        ("overloaded", Some("1"), Some("close"))
    );
    standing.hear_the_end().await;
    assert_eq!(cut(&house, "no_room").await, 1);

    let row = house.record_of(&refused).await;
    assert_eq!((&row.metadata["code"], &row.metadata["status"]), (&json!("overloaded"), &json!(503)));
    let seat = seated.pop().unwrap().call(CHAT, &json!({"target": "agent-manager", "action": "list_agents"})).await.reply().await;
    seat.expect(200);
}

/// So many connections, and no others.
async fn seated(house: &House, many: usize) -> Vec<Line> {
    let sit = || house.gatekeeper.metrics.connections.get();
    assert_eq!(sit(), 0, "the house's own client asks operators");
    let mut all = Vec::new();
    for _ in 0..many {
        let mut line = Line::to(house.data).await;
        line.say("GET /livez HTTP/1.1\r\nhost: gatekeeper\r\n\r\n").await;
        assert_eq!(line.reply().await.status, 200);
        all.push(line);
    }
    assert_eq!(sit(), i64::try_from(many).unwrap());
    all
}

#[tokio::test]
async fn no_network_has_more_than_its_share_of_connections() {
    let house = House::plan().variable("GATEKEEPER_MAX_CONNECTIONS_PER_NETWORK", "2").open().await;
    let mut held = seated(&house, 2).await;
    assert_eq!(Line::to(house.data).await.hear_the_end().await, "");
    assert_eq!(cut(&house, "network_full").await, 1);

    drop(held.pop());
    eventually("one has left", || async { house.gatekeeper.metrics.connections.get() == 1 }).await;
    let mut line = Line::to(house.data).await;
    line.call(CHAT, &json!({"target": "agent-manager", "action": "list_agents"})).await.reply().await.expect(200);
}

#[tokio::test]
async fn trusted_proxies_bring_as_many_connections_as_they_like() {
    let plan = House::plan().variable("GATEKEEPER_MAX_CONNECTIONS_PER_NETWORK", "1");
    let house = plan.variable("GATEKEEPER_TRUSTED_PROXIES", "127.0.0.0/8").open().await;
    for _ in 0..5 {
        let mut line = Line::to(house.data).await;
        line.say("GET /livez HTTP/1.1\r\nhost: gatekeeper\r\n\r\n").await;
        assert_eq!(line.reply().await.status, 200);
    }
    assert_eq!(cut(&house, "network_full").await, 0);
}

/// Says these things and nothing more, and waits for the end: what was answered, and when it came.
async fn end_of(house: &House, says: &str) -> (String, Duration) {
    let mut line = Line::to(house.data).await;
    line.say(says).await;
    let begun = Instant::now();
    (line.hear_the_end().await, begun.elapsed())
}

#[tokio::test]
async fn whoever_stands_still_is_cut_in_time_and_counted_by_reason() {
    const PROBE: &str = "GET /livez HTTP/1.1\r\nhost: gatekeeper\r\n\r\n";
    let short: fn(&mut Bounds) = |bounds| {
        bounds.head = Duration::from_millis(300);
        bounds.idle = Duration::from_millis(600);
        bounds.pace = Some(Pace { grace: Duration::from_millis(300), bytes_a_second: 100.try_into().unwrap() });
    };
    let house = House::plan().bounds(short).open().await;
    let slow_body = format!(
        "POST / HTTP/1.1\r\nhost: gatekeeper\r\nx-eliza-key: {KEY}\r\nx-eliza-source: {CHAT}\r\ncontent-length: 1000\r\n\r\n{{\"target\":"
    );
    let long_head = format!("GET /livez HTTP/1.1\r\nhost: gatekeeper\r\nx-long: {}\r\n\r\n", "x".repeat(100_000));
    let (head, idle) = (300, 600);
    let rows = [
        ("nothing", "", "", head, "slow_head"),
        ("half a head", "GET /livez HT", "", head, "slow_head"),
        ("half of HTTP/2's preface", "PRI * HTTP/2.0\r\n", "", head, "slow_head"),
        ("a call, and nothing more", PROBE, "HTTP/1.1 200", idle, "idle"),
        ("a body that stops", &slow_body, "HTTP/1.1 400", 300, "slow_body"),
        ("not HTTP", "hello\r\n\r\n", "HTTP/1.1 400", 0, "not_http"),
        ("too much of a head", &long_head, "HTTP/1.1 431", 0, "head_too_large"),
    ];
    for (name, says, answer, least, reason) in rows {
        let before = cut(&house, reason).await;
        let (heard, took) = end_of(&house, says).await;
        assert!(heard.starts_with(answer), "{name}: {heard}");
        assert!(took + Duration::from_millis(50) >= Duration::from_millis(least) && took < FIVE_SECONDS, "{name}: {took:?}");
        eventually(&format!("{name} is counted as {reason}"), || async { cut(&house, reason).await > before }).await;
    }
}

#[tokio::test]
async fn a_head_that_drips_between_two_calls_is_cut_before_the_idle_time_is_over() {
    let short: fn(&mut Bounds) = |bounds| bounds.head = Duration::from_millis(300);
    let house = House::plan().bounds(short).open().await;
    let mut line = Line::to(house.data).await;
    line.say("GET /livez HTTP/1.1\r\nhost: gatekeeper\r\n\r\n").await;
    assert_eq!(line.reply().await.status, 200);
    let begun = Instant::now();
    while line.try_say("G").await {
        assert!(begun.elapsed() < FIVE_SECONDS, "nobody minds");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(cut(&house, "slow_head").await, 1);
}

#[tokio::test]
async fn a_call_under_way_is_not_idle() {
    let gate = Gate::shut();
    let targets = Targets::like_the_platform().but(CHAT, Conduct::Hang(gate.clone()));
    let short: fn(&mut Bounds) = |bounds| (bounds.head, bounds.idle) = (Duration::from_millis(100), Duration::from_millis(100));
    let house = House::plan().targets(targets).bounds(short).open().await;
    let mut line = Line::to(house.data).await;
    line.call(CHAT, &json!({"target": CHAT, "payload": {"messages": [{"role": "user", "content": "hello"}]}})).await;
    house.targets.arrival(CHAT, 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    gate.open();
    assert_eq!(line.reply().await.status, 200);
    line.hear_the_end().await;
}

#[tokio::test]
async fn a_body_that_trickles_is_given_up_and_one_that_flows_is_not() {
    let short: fn(&mut Bounds) =
        |bounds| bounds.pace = Some(Pace { grace: Duration::from_millis(500), bytes_a_second: 1000.try_into().unwrap() });
    let house = House::plan().bounds(short).open().await;
    for (bytes, is_slow) in [(1, true), (400, false)] {
        let body = json!({"target": "agent-manager", "action": "list_agents", "payload": {"note": "x".repeat(8000)}}).to_string();
        let mut line = Line::to(house.data).await;
        line.begin_call(CHAT, body.len()).await;
        let begun = Instant::now();
        for piece in body.as_bytes().chunks(bytes) {
            if !line.try_say(piece).await || begun.elapsed() > FIVE_SECONDS {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (reply, took) = (line.reply().await, begun.elapsed());
        assert_eq!((reply.status, took < FIVE_SECONDS), if is_slow { (400, true) } else { (200, true) }, "{bytes} {took:?}");
    }
    assert_eq!(cut(&house, "slow_body").await, 1);
}
