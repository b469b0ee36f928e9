//! Networks and sources that are kept out: by policy for good, and by rows of the database at a moment's notice.

use std::sync::Arc;

use uuid::Uuid;

use super::{Control, ControlError, lock, outbox, within_calendar};
use crate::audit::{Actor, AuditAction, AuditEntry};
use crate::blocklist::{Block, Blocklist, Subject};
use crate::clock::Timestamp;
use crate::identity::Place;
use crate::policy::Policy;
use crate::store::StoreError;
use crate::store::control::StoredBlock;

/// Each call is held against every one of them.
const MOST: usize = 10_000;

impl Control {
    /// Those of the database; policy's own are in [`crate::live::Snapshot::blocklist`] too.
    pub async fn blocks(&self) -> Result<Vec<StoredBlock>, ControlError> {
        Ok(self.store.blocks(self.now()).await?)
    }

    /// `subject`: an address, a network, a source or a pattern of sources.
    pub async fn block(&self, subject: &str, reason: &str, until: Option<Timestamp>, by: &Actor) -> Result<StoredBlock, ControlError> {
        let invalid = |why: &str| ControlError::Invalid(why.to_owned());
        let subject =
            read(subject.trim()).ok_or_else(|| invalid("subject: must be an address, a network, a source or a pattern of sources"))?;
        if subject.is_everything() {
            return Err(invalid("subject: would keep everyone out; to stop all calls, stop the gatekeeper"));
        }
        if reason.trim().is_empty() {
            return Err(invalid("reason: say why, for those who find it blocked"));
        }
        let (now, until) = (self.now(), until.map(within_calendar));
        if until.is_some_and(|until| until <= now) {
            return Err(invalid("until: is over already"));
        }
        let block = StoredBlock::new(&subject, reason, now, until, by);
        let entry = block.added(by);

        let _turn = self.turns.blocks.lock().await;
        if lock(&self.blocks).iter().filter(|block| block.until.is_none_or(|until| now < until)).count() >= MOST {
            return Err(ControlError::Invalid(format!("there are {MOST} blocks already: block networks, or patterns of sources")));
        }
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
        if stored.len() > MOST {
            tracing::error!(blocks = stored.len(), "there are more than {MOST} blocks: the newest are passed over");
            stored.truncate(MOST);
        }
        let before = lock(&self.blocks).clone();
        for block in stored.iter().filter(|block| !before.contains(block)) {
            match read(&block.subject) {
                Some(_) => tracing::warn!(subject = block.subject, reason = block.reason, actor = block.actor, "blocked"),
                None => tracing::error!(id = %block.id, "this block's subject is neither a network nor a source: it blocks nothing"),
            }
        }
        for block in before.iter().filter(|before| stored.iter().all(|block| block.id != before.id)) {
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
