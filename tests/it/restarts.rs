//! A limit of N lets exactly N through in each of its windows: however many call at once, and whatever happens in between, a restart
//! of the gatekeeper included.

use std::time::Duration;

use eliza_gatekeeper::clock::ManualClock;
use futures_util::future::join_all;

use crate::support::house::{House, Plan, Reply, midnight};
use crate::support::{Database, on_each_database};

const MINUTE: Duration = Duration::from_secs(60);
/// As shipped: a hundred a minute.
const SOURCE: &str = "superduper-router";

on_each_database!(
    of_a_thousand_at_once_exactly_the_limit_pass,
    a_restart_in_mid_window_gives_nothing_back,
    two_windows_hold_at_once,
    an_endpoint_may_have_a_limit_of_its_own,
);

fn call(house: &House, target: &str) -> impl Future<Output = Reply> {
    house.call(SOURCE).to(target).send()
}

/// So many calls at once, each over a connection of its own; how many of them pass.
async fn crowd(house: &House, target: &str, size: usize) -> usize {
    let replies = join_all((0..size).map(|_| call(house, target))).await;
    let (passed, refused): (Vec<_>, Vec<_>) = replies.into_iter().partition(|reply| reply.status == 200);
    assert!(refused.iter().all(|reply| reply.status == 429 && reply.header("retry-after").is_some()), "{refused:?}");
    passed.len()
}

async fn restart(house: House, plan: Plan) -> House {
    plan.in_place_of(&house.close().await).open().await
}

async fn of_a_thousand_at_once_exactly_the_limit_pass(database: Database) {
    let clock = ManualClock::at(midnight());
    let house = House::plan().on(database).at(&clock).open().await;
    assert_eq!(crowd(&house, "render-api", 1000).await, 100);
    assert_eq!(house.targets.received_in_all().len(), 100);

    let house = restart(house, House::plan().at(&clock)).await;
    assert_eq!(crowd(&house, "render-api", 100).await, 0);
    clock.advance(MINUTE);
    assert_eq!(crowd(&house, "render-api", 1000).await, 100);
}

async fn a_restart_in_mid_window_gives_nothing_back(database: Database) {
    let clock = ManualClock::at(midnight());
    let mut house = House::plan().on(database).at(&clock).open().await;
    let standing =
        |reply: &Reply| ["ratelimit", "ratelimit-policy", "x-ratelimit-remaining"].map(|name| reply.header(name).unwrap().to_owned());
    assert_eq!(crowd(&house, "render-api", 40).await, 40);
    let mut twin = House::plan().on(database).at(&clock).open().await;
    assert_eq!(crowd(&twin, "render-api", 40).await, 40);
    // What this one knows after a restart, its twin knows without.
    for _ in 0..3 {
        clock.advance(Duration::from_secs(5));
        house = restart(house, House::plan().at(&clock)).await;
        let (other, reply) = (call(&twin, "vercel-manager").await.expect(200), call(&house, "vercel-manager").await.expect(200));
        assert_eq!(standing(&reply), standing(&other));
        let (other, reply) = (call(&twin, "render-api").await.expect(200), call(&house, "render-api").await.expect(200));
        assert_eq!(standing(&reply), standing(&other));
    }
    assert_eq!(crowd(&house, "render-api", 54).await, 54);
    call(&house, "render-api").await.expect(429);
    house = restart(house, House::plan().at(&clock)).await;
    call(&house, "render-api").await.expect(429);
    clock.advance(MINUTE);
    call(&house, "render-api").await.expect(200);
    twin = restart(twin, House::plan().at(&clock)).await;
    let fresh = call(&twin, "render-api").await.expect(200);
    assert_eq!(fresh.header("x-ratelimit-remaining"), Some("99"), "a window that ended before the restart is over");
}

async fn two_windows_hold_at_once(database: Database) {
    let clock = ManualClock::at(midnight());
    let plan = || House::plan().at(&clock).policy("limits.toml", include_str!("../../policies/presets/ops-002.toml"));
    let house = plan().on(database).open().await;
    let refused = async |house: &House, message: &str, wait: u64| {
        let reply = call(house, "render-api").await.expect(429);
        assert_eq!(reply.json()["message"], message);
        assert_eq!(reply.header("retry-after").unwrap().parse::<u64>().unwrap(), wait);
    };
    assert_eq!(crowd(&house, "render-api", 60).await, 60);
    refused(&house, "Maximum 60 requests per minute exceeded", 60).await;
    let house = restart(house, plan()).await;
    refused(&house, "Maximum 60 requests per minute exceeded", 60).await;

    // 62 so far, for what is refused counts too.
    for _ in 1..16 {
        clock.advance(MINUTE);
        assert_eq!(crowd(&house, "render-api", 60).await, 60);
    }
    let house = restart(house, plan()).await;
    clock.advance(MINUTE);
    assert_eq!(crowd(&house, "render-api", 38).await, 38);
    refused(&house, "Maximum 1000 requests per hour exceeded", 44 * 60).await;
    let house = restart(house, plan()).await;
    clock.advance(MINUTE);
    refused(&house, "Maximum 1000 requests per hour exceeded", 43 * 60).await;
    clock.advance(43 * MINUTE);
    assert_eq!(crowd(&house, "render-api", 61).await, 60);
}

async fn an_endpoint_may_have_a_limit_of_its_own(database: Database) {
    let clock = ManualClock::at(midnight());
    let raised = "[[override]]\nendpoint = \"render-api:*\"\nlimit = [\"1000/1m\"]\n";
    let plan = || House::plan().at(&clock).policy("raised.toml", raised);
    let house = plan().on(database).open().await;
    assert_eq!(crowd(&house, "vercel-manager", 110).await, 100);
    clock.advance(MINUTE);
    assert_eq!(crowd(&house, "render-api", 600).await, 600);
    let house = restart(house, plan()).await;
    assert_eq!(crowd(&house, "render-api", 450).await, 400);
}
