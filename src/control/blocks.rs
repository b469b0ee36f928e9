//! Networks and sources that are kept out: by policy for good, and by rows of the database at a moment's notice.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use uuid::Uuid;

use super::{Control, ControlError, lock, outbox, within_calendar};
use crate::audit::{Actor, AuditAction, AuditEntry};
use crate::blocklist::{Block, Blocklist, Subject};
use crate::clock::Timestamp;
use crate::identity::Place;
use crate::policy::Policy;
use crate::store::StoreError;
use crate::store::control::{MOST_BLOCKS, StoredBlock};

impl Control {
    /// Those of the database; policy's own are in [`crate::live::Snapshot::blocklist`] too.
    pub async fn blocks(&self) -> Result<Vec<StoredBlock>, ControlError> {
        Ok(self.store.blocks(self.now()).await?)
    }

    /// `subject`: an address, a network, a source or a pattern of sources.
    pub async fn block(&self, subject: &str, reason: &str, until: Option<Timestamp>, by: &Actor) -> Result<StoredBlock, ControlError> {
        let unfit = "subject: must be an address, a network, a source or a pattern of sources";
        let subject = read(subject.trim()).ok_or_else(|| ControlError::Invalid(unfit.into()))?;
        let _turn = self.turns.blocks.lock().await;
        let (now, until) = (self.now(), until.map(within_calendar));
        let others = lock(&self.blocks).iter().filter(|block| block.until.is_none_or(|until| now < until)).count();
        let block = StoredBlock::new(&subject, reason, now, until, by, others).map_err(|unfit| ControlError::Invalid(unfit.to_string()))?;
        let entry = block.added(by);
        self.store.insert_block(&block, &entry).await?;
        self.change_blocks(|blocks| {
            blocks.retain(|known| known.until.is_none_or(|until| now < until));
            blocks.push(block.clone());
        });
        outbox::tell(&entry);
        Ok(block)
    }

    /// False if there is no such block in force.
    pub async fn unblock(&self, id: Uuid, reason: Option<&str>, by: &Actor) -> Result<bool, ControlError> {
        let _turn = self.turns.blocks.lock().await;
        let now = self.now();
        let known = lock(&self.blocks).iter().find(|block| block.id == id).cloned();
        let entry = match &known {
            Some(block) => block.ended(now, reason, by),
            None => AuditEntry::new(now, by, AuditAction::BlockEnded, &id.to_string()).because(reason),
        };
        let ended = self.store.end_block(id, now, &entry).await?;
        self.change_blocks(|blocks| blocks.retain(|block| block.id != id));
        if ended {
            outbox::tell(&entry);
        }
        Ok(ended)
    }

    /// Reads what the database keeps.
    pub(super) async fn reread_blocks(&self) -> Result<(), StoreError> {
        let _turn = self.turns.blocks.lock().await;
        let mut stored = self.store.blocks(self.now()).await?;
        if stored.len() > MOST_BLOCKS {
            tracing::error!("there are more than {MOST_BLOCKS} blocks: the newest are passed over");
            stored.truncate(MOST_BLOCKS);
        }
        let before = lock(&self.blocks).clone();
        let was: HashMap<Uuid, &StoredBlock> = before.iter().map(|block| (block.id, block)).collect();
        let is: HashSet<Uuid> = stored.iter().map(|block| block.id).collect();
        for block in stored.iter().filter(|block| was.get(&block.id) != Some(block)) {
            match read(&block.subject) {
                Some(_) => tracing::warn!(subject = block.subject, reason = block.reason, actor = block.actor, "blocked"),
                None => tracing::error!(id = %block.id, "this block's subject is neither a network nor a source: it blocks nothing"),
            }
        }
        for block in before.iter().filter(|before| !is.contains(&before.id)) {
            tracing::info!(subject = block.subject, reason = block.reason, "no longer blocked");
        }
        self.change_blocks(|blocks| *blocks = stored);
        Ok(())
    }

    pub(super) fn change_blocks(&self, change: impl FnOnce(&mut Vec<StoredBlock>)) {
        let mut stored = lock(&self.blocks);
        change(&mut stored);
        self.pipeline.live.change(|snapshot| snapshot.blocklist = Arc::new(join(&snapshot.policy, &stored)));
    }
}

/// All that is kept out: what policy says, and what was added since.
pub(super) fn join(policy: &Policy, stored: &[StoredBlock]) -> Blocklist {
    let stored = stored.iter().filter_map(|block| {
        let place = Place::new(&format!("blocks: {}", block.id));
        Some(Block { subject: read(&block.subject)?, reason: block.reason.clone(), until: block.until, place })
    });
    Blocklist::of(policy.blocks.iter().cloned().chain(stored))
}

fn read(subject: &str) -> Option<Subject> {
    Subject::network(subject).or_else(|| Subject::source(subject))
}
