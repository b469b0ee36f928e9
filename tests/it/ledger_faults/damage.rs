//! A byte of what waits in a dead process's journal is not what it was.

use super::load::{Load, Mix};
use super::rows::{self, Missing};
use super::{Site, seed, segments};
use crate::support::house::eventually;
use crate::support::operator::texts;
use crate::support::postgres::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_costs_one_record_and_is_named() {
    let server = Cluster::private();
    let site = Site::with(Some(server.database()), &[]).await;
    let serving = site.serve().await;
    tokio::task::block_in_place(|| server.stop());
    let load = Load::full(serving.data, 4, Mix::Everything);
    eventually("records wait", || async { load.heard() >= 200 }).await;
    let heard = load.end().await;
    assert_eq!(heard.broken, 0);
    serving.running.kill().await;

    let files = segments(&site.journals());
    let file = files.iter().max_by_key(|file| std::fs::metadata(file).unwrap().len()).unwrap();
    let mut bytes = std::fs::read(file).unwrap();
    let at = bytes.len() / 4 + usize::try_from(seed()).unwrap() % (bytes.len() / 2);
    bytes[at] ^= 0x10;
    std::fs::write(file, &bytes).unwrap();

    tokio::task::block_in_place(|| server.start());
    let serving = site.serve().await;
    serving.settled().await;
    let told = serving.running.log_line("records cannot be read: they are lost").await;
    assert_eq!((&told["level"], &told["file"]), (&"ERROR".into(), &file.display().to_string().into()), "{told}");
    assert_eq!(told["first"], told["last"], "{told}");
    let offset = usize::try_from(told["offset"].as_u64().unwrap()).unwrap();
    assert!((offset..offset + 4096).contains(&at), "the byte at {at}: {told}");

    let there = rows::ids(&site.database).await;
    let lost: Vec<_> = heard.whole.iter().filter(|answer| !there.contains(&answer.id)).collect();
    assert_eq!((lost.len(), there.len()), (1, heard.whole.len() - 1), "{lost:?}");
    assert_eq!(Missing::in_all(&site.database).await, Missing { explained: 1, unexplained: 0 });
    let gap = texts(&site.database, "select reason || ' ' || instance || ' ' || first_seq from gatekeeper_log_gaps").await;
    assert_eq!(gap, [format!("damaged {} {}", told["instance"].as_str().unwrap(), told["first"])]);
    assert_eq!(serving.metric("records_dropped").await, 1.0);
    // For whoever wants to look at it.
    let kept: Vec<_> = std::fs::read_dir(site.journals().join("damaged")).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(std::fs::read(&kept[0]).unwrap(), bytes);
    serving.stop().await.expect(0);
}
