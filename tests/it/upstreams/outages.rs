//! Some addresses fail, and callers hardly notice.

use std::time::Duration;

use eliza_gatekeeper::policy::BreakerPolicy;
use eliza_gatekeeper::upstream::{BreakerState, SiteCondition};
use eliza_gatekeeper::verdict::Failure;
use futures_util::future::join_all;
use http::Method;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::{FIRST, Scene, count};
use crate::support::targets::{Conduct, Gate, within};
use crate::upstream::call;

#[tokio::test]
async fn one_dead_and_one_slow_of_three_are_left_out_and_no_call_fails_after_that() {
    let mut scene = Scene::set([Conduct::Hang(Gate::shut()), Conduct::Function]).await;
    let dead = scene.servers[0].refusing_url("brain");
    let urls = [dead, scene.servers[0].url("brain"), scene.servers[1].url("brain")];
    scene.target.timeout = Duration::from_millis(300);
    let scene = scene.at(urls);

    let (mut calls, mut failed) = (0, 0);
    while !matches!(scene.condition(1), SiteCondition::Ejected { .. }) {
        let round = join_all((0..6).map(|_| scene.post())).await;
        (calls, failed) = (calls + round.len(), failed + round.iter().filter(|outcome| **outcome != Ok(200)).count());
        assert!(calls < 100, "never left out: {:?}", scene.view());
    }
    assert!(failed <= 6, "of the calls until then only those failed that the slow one had: {failed}");
    for _ in 0..50 {
        assert!(join_all((0..8).map(|_| scene.post())).await.iter().all(|outcome| *outcome == Ok(200)));
        calls += 8;
    }
    assert!(matches!(scene.condition(0), SiteCondition::Ejected { .. }), "{:?}", scene.view());
    let arrived = scene.arrived_in_all();
    assert!(arrived * 10 <= calls * 11, "{arrived} of {calls}");
}

#[tokio::test]
async fn an_address_that_is_back_gets_calls_again() {
    let scene = Scene::set([Conduct::empty_502(), Conduct::Function]).await;
    assert_eq!(scene.posts(20).await, 3);
    assert_eq!(scene.condition(0), SiteCondition::Ejected { left: FIRST });
    scene.hand.advance(FIRST);
    assert_eq!(scene.posts(10).await, 1, "one call tries it");
    assert_eq!(scene.condition(0), SiteCondition::Ejected { left: FIRST * 2 });
    scene.servers[0].mend("brain");
    assert_eq!(scene.posts(10).await, 0, "its time is not up");
    scene.hand.advance(FIRST * 2);
    let before = scene.arrived()[0];
    assert_eq!(scene.posts(20).await, 0);
    assert!(scene.arrived()[0] - before >= 9, "{:?}", scene.arrived());
}

#[tokio::test]
async fn the_address_with_the_fewest_calls_under_way_gets_the_next() {
    let gate = Gate::shut();
    let scene = Scene::set([Conduct::Function, Conduct::Hang(gate.clone()), Conduct::Function]).await;
    let held = async { join_all((0..2).map(|_| scene.post())).await };
    let others = async {
        scene.servers[1].arrival("brain", 1).await;
        let before = scene.arrived();
        for _ in 0..10 {
            assert_eq!(scene.post().await, Ok(200));
        }
        let went: Vec<_> = scene.arrived().iter().zip(before).map(|(now, before)| now - before).collect();
        assert_eq!(went, [5, 0, 5]);
        gate.open();
    };
    let (held, ()) = tokio::join!(held, others);
    assert_eq!(held, [Ok(200), Ok(200)]);
    assert!(scene.view().iter().all(|site| site.under_way == 0));
}

/// An answer that streams keeps its address busy for as long as it streams.
#[tokio::test]
async fn an_answer_under_way_counts_until_its_end() {
    let gate = Gate::shut();
    let drip = Conduct::Drip { gate: gate.clone(), content_type: "text/event-stream", pieces: vec!["data: 1\n\n"] };
    let scene = Scene::set([drip]).await;
    let answer = crate::upstream::call(&scene.target).through(&scene.upstream).await.unwrap();
    assert_eq!(scene.view()[0].under_way, 1);
    gate.open();
    assert_eq!(crate::upstream::body(answer).await, "data: 1\n\n");
    assert_eq!(scene.view()[0].under_way, 0);
    let given_up = crate::upstream::call(&scene.target).through(&scene.upstream).await.unwrap();
    drop(given_up);
    assert_eq!(scene.view()[0].under_way, 0);
}

#[tokio::test]
async fn the_breaker_of_the_target_opens_only_once_no_address_answers() {
    let mut scene = Scene::set([Conduct::empty_502(), Conduct::Function]).await;
    scene.target.breaker = BreakerPolicy { failures: count(5), open_for: Duration::from_secs(30) };
    scene.target.terms.ejection.failures = count(1000);
    scene.follow();
    assert_eq!(scene.posts(60).await, 30);
    let state = || scene.upstream.breakers()[0].1.state;
    assert_eq!(state(), BreakerState::Closed, "the other one answers");
    scene.servers[1].let_be("brain", Conduct::reset());
    assert_eq!(scene.posts(6).await, 6);
    assert_eq!(state(), BreakerState::Open);
    let before = scene.arrived();
    assert!(matches!(scene.post().await, Err(Failure::BreakerOpen { .. })));
    assert_eq!(scene.arrived(), before);

    // The trial that opens the way again finds the address that is back.
    scene.servers[0].mend("brain");
    scene.hand.advance(Duration::from_secs(30));
    let tried = [scene.send(Method::GET).await, scene.send(Method::GET).await];
    assert_eq!(tried, [Ok(200), Ok(200)]);
    assert_eq!(state(), BreakerState::Closed);
}

/// A port whose queue of connections is full: what knocks there is neither let in nor turned away.
async fn swallowing() -> (TcpSocket, tokio::net::TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let listener = socket.listen(1).unwrap();
    let mut knocking = Vec::new();
    while let Ok(Ok(stream)) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        knocking.push(stream);
        assert!(knocking.len() < 100, "the queue never fills");
    }
    (TcpSocket::new_v4().unwrap(), listener, knocking)
}

#[tokio::test]
async fn an_address_that_swallows_everything_costs_the_time_for_a_connection_and_no_more() {
    let (_socket, swallows, _knocking) = swallowing().await;
    let mut scene = Scene::set([Conduct::Function]).await;
    scene.target.terms.connect_timeout = Duration::from_millis(100);
    let black_hole = format!("http://{}/functions/v1/brain", swallows.local_addr().unwrap()).parse().unwrap();
    let urls = [black_hole, scene.servers[0].url("brain")];
    let scene = scene.at(urls.clone());
    assert_eq!(scene.posts(10).await, 0);
    assert!(matches!(scene.condition(0), SiteCondition::Ejected { .. }));

    let alone = scene.at([urls[0].clone()]);
    let failure = within("the time for a connection", alone.post()).await.unwrap_err();
    assert_eq!(failure, Failure::TargetTooSlow { target: alone.target.name.clone() });
}

#[tokio::test]
async fn a_connection_has_all_the_time_that_policy_gives_it() {
    let (_socket, swallows, _knocking) = swallowing().await;
    let mut scene = Scene::set([Conduct::Function]).await;
    scene.target.terms.connect_timeout = Duration::from_secs(50);
    scene.target.timeout = Duration::from_secs(300);
    let scene = scene.at([format!("http://{}/functions/v1/brain", swallows.local_addr().unwrap()).parse().unwrap()]);
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let failure = call(&scene.target).directly(Method::POST, "", "{}").however_long(&scene.upstream).await.unwrap_err();
    assert_eq!(failure, Failure::TargetTooSlow { target: scene.target.name.clone() });
    assert_eq!(began.elapsed().as_secs(), 50);
}

#[tokio::test]
async fn a_call_has_a_time_in_all_if_policy_gives_it_one() {
    use eliza_gatekeeper::upstream::AnswerBroken;
    use http_body_util::BodyExt;

    let gate = Gate::shut();
    let drip = Conduct::Drip { gate: gate.clone(), content_type: "text/plain", pieces: vec!["one", "two"] };
    let mut scene = Scene::set([drip]).await;
    scene.target.terms.total_timeout = Some(Duration::from_millis(300));
    gate.let_one();
    let mut answer = crate::upstream::call(&scene.target).through(&scene.upstream).await.unwrap();
    assert_eq!(within("a piece", answer.body.frame()).await.unwrap().unwrap().into_data().unwrap(), "one");
    assert_eq!(within("the end", answer.body.frame()).await.unwrap().unwrap_err(), AnswerBroken::TooLong);
    assert!(within("nothing more", answer.body.frame()).await.is_none());

    scene.servers[0].let_be("brain", Conduct::Hang(Gate::shut()));
    assert_eq!(scene.post().await, Err(Failure::TargetTooSlow { target: scene.target.name.clone() }), "it holds for the head too");
}
