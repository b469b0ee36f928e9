//! The process is killed, again and again, at moments nobody chose.

use std::time::Duration;

use super::load::{Heard, Load, Mix};
use super::rows::{self, Missing};
use super::{Site, seed};
use crate::support::operator::number;
use crate::support::{Database, on_each_database};

const KILLS: usize = 20;

on_each_database!(a_gatekeeper_that_is_killed_loses_nothing_that_was_answered);

#[expect(clippy::print_stdout, reason = "what a run that fails has to say")]
async fn a_gatekeeper_that_is_killed_loses_nothing_that_was_answered(database: Database) {
    let site = Site::on(database).await;
    let mut random = Random(seed() | 1);
    let mut heard = Heard::default();
    for kill in 0..KILLS {
        let serving = site.serve().await;
        let load = Load::full(serving.data, 8, Mix::Everything);
        tokio::time::sleep(Duration::from_millis(random.below(700))).await;
        serving.running.kill().await;
        heard = heard.and(load.end().await);
        // In every fourth round the next one is killed too, while it is carrying over what this one left.
        if kill % 4 == 0 {
            let started = site.program.start(&["serve"]);
            tokio::time::sleep(Duration::from_millis(random.below(300))).await;
            started.kill().await;
        }
    }

    let serving = site.serve().await;
    serving.settled().await;
    assert!(heard.whole.len() > KILLS * 10, "that was hardly a load: {} answers", heard.whole.len());
    for status in [200, 401, 403, 404] {
        assert!(!heard.ids(status).is_empty(), "nothing was answered {status}");
    }
    let there = rows::hold(&site.database, heard.whole.iter().map(|answer| answer.id.as_str())).await;
    let missing = Missing::in_all(&site.database).await;
    println!("{} answers, {} calls cut off, {} records, {missing:?}", heard.whole.len(), heard.broken, there.len());
    assert_eq!(missing.unexplained, 0);
    // At most the one entry that a kill tore apart, of which nobody was told.
    assert!(missing.explained <= i64::try_from(2 * KILLS).unwrap());
    serving.stop().await.expect(0);
    assert_eq!(super::segments(&site.journals()), Vec::<std::path::PathBuf>::new(), "nothing is left behind");
    let runs = if site.database.starts_with("sqlite") { "gatekeeper_instances" } else { "gatekeeper.instances" };
    assert_eq!(number(&site.database, &format!("select count(*) from {runs} where ended_at is null")).await, 0, "every run has its end");
}

/// Enough of a generator for moments (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
