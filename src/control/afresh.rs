//! Reading afresh what others have changed in the database: each kind by itself, so that one that cannot be read keeps no other back.
//! What could not be read is due until it could.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::{Control, lock};
use crate::store::StoreError;

/// Whoever changes one kind must not wait for another kind's answer.
const ANSWER: Duration = Duration::from_secs(2);

/// What the database keeps of operators' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    Rulings,
    Flags,
    Blocks,
    Keys,
}

impl Kept {
    pub const ALL: [Self; 4] = [Self::Rulings, Self::Flags, Self::Blocks, Self::Keys];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rulings => "rulings",
            Self::Flags => "feature flags",
            Self::Blocks => "blocks",
            Self::Keys => "keys",
        }
    }
}

#[derive(Default)]
pub(super) struct Due {
    kinds: Mutex<BTreeSet<Kept>>,
    /// What could not be read the last time, and why.
    unread: Mutex<BTreeMap<Kept, String>>,
}

impl Control {
    /// These may have changed in the database.
    pub fn is_due(&self, kinds: impl IntoIterator<Item = Kept>) {
        lock(&self.due.kinds).extend(kinds);
    }

    /// What could not be read the last time it was due.
    pub fn unread(&self) -> Vec<Kept> {
        lock(&self.due.unread).keys().copied().collect()
    }

    /// Reads all that is due, at once. False if something could not be read: it stays due.
    pub async fn reread(&self) -> bool {
        let due = std::mem::take(&mut *lock(&self.due.kinds));
        join_all(due.into_iter().map(|kind| self.read_afresh(kind))).await.into_iter().all(|read| read)
    }

    async fn read_afresh(&self, kind: Kept) -> bool {
        let reading = async {
            match kind {
                Kept::Rulings => self.reread_rulings().await,
                Kept::Flags => self.reread_flags().await,
                Kept::Blocks => self.reread_blocks().await,
                Kept::Keys => self.reread_keys().await,
            }
        };
        let read = timeout(ANSWER, reading).await;
        let read = read.unwrap_or_else(|_| Err(StoreError::Away(format!("no answer within {} s", ANSWER.as_secs()))));
        let mut unread = lock(&self.due.unread);
        let Err(error) = read else {
            if unread.remove(&kind).is_some() {
                tracing::info!("the {} in the database can be read again", kind.as_str());
            }
            return true;
        };
        lock(&self.due.kinds).insert(kind);
        let why = error.to_string();
        // Tried again all the time, told once.
        if unread.insert(kind, why.clone()).as_ref() != Some(&why) {
            tracing::error!(why, "the {} in the database cannot be read: those known hold", kind.as_str());
        }
        false
    }
}
