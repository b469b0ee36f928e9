//! A new policy forgets nothing of the addresses that stay.

use eliza_gatekeeper::upstream::SiteCondition;

use super::{FIRST, Scene};
use crate::support::targets::Conduct;

#[tokio::test]
async fn what_is_known_of_an_address_outlives_a_new_policy() {
    let scene = Scene::set([Conduct::empty_502(), Conduct::Function, Conduct::Function]).await;
    scene.posts(12).await;
    let calls: u64 = scene.view().iter().map(|site| site.calls).sum();
    assert_eq!((scene.condition(0), calls), (SiteCondition::Ejected { left: FIRST }, 12));

    // In another order, and one of them gone.
    let urls = [scene.servers[2].url("brain"), scene.servers[0].url("brain")];
    let scene = scene.at(urls);
    assert_eq!(scene.condition(1), SiteCondition::Ejected { left: FIRST });
    assert_eq!(scene.posts(10).await, 0);
    assert_eq!(scene.arrived()[0], 3, "it is still left out");

    // Gone, and there again: nothing is known of it.
    let urls = [scene.servers[2].url("brain")];
    let scene = scene.at(urls);
    let urls = [scene.servers[0].url("brain"), scene.servers[2].url("brain")];
    let scene = scene.at(urls);
    assert_eq!((scene.condition(0), scene.view()[0].calls), (SiteCondition::Well, 0));
    assert!(scene.view()[1].calls >= 10);
}

#[tokio::test]
async fn a_call_of_a_former_policy_goes_where_that_one_said_and_brings_nothing_back() {
    let scene = Scene::set([Conduct::Function, Conduct::Function]).await;
    let former = scene.target.sites.clone();
    let urls = [scene.servers[1].url("brain")];
    let mut scene = scene.at(urls);
    scene.target.sites = former;
    assert_eq!(scene.posts(4).await, 0);
    assert!(scene.arrived()[0] > 0);
    assert_eq!(scene.view().len(), 1);
}
