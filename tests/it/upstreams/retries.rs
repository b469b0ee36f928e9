//! What is sent again, and what never is.

use bytes::Bytes;
use eliza_gatekeeper::call::Passage;
use eliza_gatekeeper::policy::Retry;
use eliza_gatekeeper::upstream::{Order, Outgoing, Towards};
use eliza_gatekeeper::verdict::Failure;
use futures_util::future::join_all;
use http::Method;

use super::Scene;
use crate::support::targets::Conduct;
use crate::upstream::{body, head, upstream};

fn down() -> Conduct {
    Conduct::empty_502()
}

#[tokio::test]
async fn a_body_that_may_have_arrived_is_not_sent_again_unless_that_does_no_harm() {
    // How the first address behaves; the second one is well. What the first call of a fresh target comes to, and what both were sent.
    let table = [
        ("POST, reset", Method::POST, Retry::Safe, Conduct::reset(), None, [1, 0]),
        ("POST, closed", Method::POST, Retry::Safe, Conduct::close(), None, [1, 0]),
        ("POST, 502", Method::POST, Retry::Safe, down(), Some(502), [1, 0]),
        ("PATCH, reset", Method::PATCH, Retry::Safe, Conduct::reset(), None, [1, 0]),
        ("POST to a target that takes it twice", Method::POST, Retry::All, Conduct::reset(), Some(200), [1, 1]),
        ("the same, 503", Method::POST, Retry::All, Conduct::status(503, "text/plain", ""), Some(200), [1, 1]),
        ("GET, reset", Method::GET, Retry::Safe, Conduct::reset(), Some(200), [1, 1]),
        ("GET, 502", Method::GET, Retry::Safe, down(), Some(200), [1, 1]),
        ("GET, 504", Method::GET, Retry::Safe, Conduct::status(504, "text/plain", ""), Some(200), [1, 1]),
        ("PUT, nonsense", Method::PUT, Retry::Safe, Conduct::garbage(), Some(200), [1, 1]),
        ("DELETE, closed within the head", Method::DELETE, Retry::Safe, Conduct::close_mid_head(), Some(200), [1, 1]),
        ("GET, its own error", Method::GET, Retry::Safe, Conduct::html_500(), Some(500), [1, 0]),
        ("GET, too many", Method::GET, Retry::Safe, Conduct::status(429, "text/plain", ""), Some(429), [1, 0]),
        ("GET, but off", Method::GET, Retry::Off, down(), Some(502), [1, 0]),
    ];
    for (case, method, retry, conduct, expected, sent) in table {
        let mut scene = Scene::set([conduct, Conduct::Function]).await;
        scene.target.terms.retry = retry;
        scene.follow();
        assert_eq!(scene.send(method).await.ok(), expected, "{case}");
        assert_eq!(scene.arrived(), sent, "{case}");
    }
}

#[tokio::test]
async fn what_was_never_sent_goes_elsewhere_whatever_it_is() {
    let scene = Scene::set([Conduct::Function]).await;
    let urls =
        [scene.servers[0].refusing_url("brain"), "http://no-such-host.invalid/brain".parse().unwrap(), scene.servers[0].url("brain")];
    let scene = scene.at(urls);
    assert_eq!(scene.posts(30).await, 0);
    assert_eq!(scene.arrived(), [30], "and nowhere twice");

    let mut off = scene;
    off.target.terms.retry = Retry::Off;
    let fresh = Scene { upstream: upstream(), ..off };
    fresh.follow();
    assert_eq!(fresh.post().await, Err(Failure::Unreachable { target: fresh.target.name.clone() }));
}

#[tokio::test]
async fn all_addresses_fail_and_the_last_that_was_heard_is_what_the_caller_gets() {
    let scene = Scene::set([down(), down(), down(), down()]).await;
    assert_eq!(scene.send(Method::GET).await, Ok(502));
    assert_eq!(scene.arrived_in_all(), 3, "a call is tried three times at most");
    let two = Scene::set([Conduct::reset(), down()]).await;
    assert_eq!(two.send(Method::GET).await, Ok(502));
    assert_eq!(two.arrived(), [1, 1]);
}

#[tokio::test]
async fn a_total_outage_is_no_storm() {
    let mut scene = Scene::set([Conduct::reset(), down(), Conduct::close()]).await;
    scene.target.terms.retry = Retry::All;
    scene.follow();
    let mut calls = 0;
    for _ in 0..50 {
        let outcomes = join_all((0..8).map(|_| scene.post())).await;
        assert!(outcomes.iter().all(|outcome| *outcome != Ok(200)));
        calls += outcomes.len();
    }
    let arrived = scene.arrived_in_all();
    assert!(arrived >= calls && arrived * 10 <= calls * 11, "{arrived} of {calls}");
    let retries = scene.upstream.targets()[0].1.retries;
    assert_eq!(retries.retries as usize, arrived - calls);
    assert!(retries.refused > 0);
}

#[tokio::test]
async fn how_often_a_call_was_tried_is_noted() {
    let scene = Scene::set([down(), Conduct::Function]).await;
    let target = &scene.target;
    for expected in [2, 1] {
        let mut passage = Passage::default();
        let head = head();
        let headers = http::HeaderMap::new();
        let order = Order {
            head: &head,
            target,
            method: Method::GET,
            rest: "",
            headers: &headers,
            body: Outgoing::AsSent(Bytes::new()),
            towards: Towards::Injected,
            caller: Some("gemini-chat"),
            action: None,
            timeout: target.timeout,
        };
        let answer = scene.upstream.forward_noting(order, &mut passage).await.unwrap();
        assert_eq!((answer.status.as_u16(), passage.tries), (200, expected));
        body(answer).await;
        scene.servers[0].mend("brain");
    }
}
