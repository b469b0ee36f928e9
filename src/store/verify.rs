//! Proving the audit log: every chain row by row, what was published of them, and that the tables people look at still say what was sealed.
//!
//! In the memory of one page, while gatekeepers go on writing: whatever was published before the walk began is committed and must be found.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use uuid::Uuid;

use super::audit_log::Table;
use super::{Store, StoreError};
use crate::clock::Timestamp;
use crate::seal::walk::{Chain, Finding, Place, StoredRow, Walk, Wrong};
use crate::seal::{AuditKeys, Head, Kind, SealedRow, seen};

/// Heads asked about at once.
const HEADS: usize = 200;
/// Chains whose end is known to be missing; of more, some may be told twice.
const MOST_TOLD: usize = 10_000;

/// What was looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub chains: u64,
    pub rows: u64,
    /// Places where something is wrong, all of them; of each chain the first was told.
    pub breaks: u64,
    /// Published heads that were looked for, those that chains tell of one another too.
    pub heads: u64,
    /// Calls and entries that were held against their rows in the tables.
    pub compared: u64,
    /// Sealed calls that the logs have let go of, and entries that `security_audit` has, where policy says so.
    pub calls_gone: u64,
    pub entries_gone: u64,
    /// Entries that no gatekeeper has sealed yet.
    pub unsealed: u64,
    /// The moment of the oldest of them.
    pub unsealed_since: Option<Timestamp>,
}

/// Whether entries of `security_audit` stay for ever, or policy lets go of old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    Stay,
    MayGo,
}

/// `heads`: what was published, read before this is called.
pub async fn verify(
    store: &dyn Store,
    keys: &AuditKeys,
    heads: &HashMap<Uuid, Head>,
    entries: Entries,
    tell: &mut (dyn FnMut(Finding) + Send),
) -> Result<Verified, StoreError> {
    let mut proof = Proof { store, entries, tell, done: Verified::default(), cut: HashSet::new() };
    let mut walk = Walk::new(keys);
    let mut place: Option<Place> = None;
    loop {
        let page = store.rows_after(place.as_ref()).await?;
        let Some(last) = page.last() else { break };
        if place.as_ref().is_some_and(|before| *before >= last.place) {
            return Err(StoreError::Refused("the audit log's rows are in no order: is its index broken?".into()));
        }
        place = Some(last.place.clone());
        let mut sealed = Vec::with_capacity(page.len());
        for row in &page {
            let taken = walk.take(row);
            taken.ended.into_iter().for_each(|chain| proof.ended(chain));
            sealed.extend(row.row.as_ref().filter(|_| taken.sealed).map(|sealed| (row, sealed)));
        }
        proof.hold_against_tables(&sealed).await?;
        for (_, row) in sealed.iter().filter(|(_, row)| row.kind == Kind::ChainOpened.as_str()) {
            proof.look_for(&seen(&row.content)).await?;
        }
    }
    walk.end().into_iter().for_each(|chain| proof.ended(chain));
    let heads: Vec<Head> = heads.values().copied().collect();
    for heads in heads.chunks(HEADS) {
        proof.look_for(heads).await?;
    }
    for call in store.unsealed_calls().await? {
        let id = Uuid::try_parse(&call.id).ok();
        proof.breaks(Finding { instance: call.instance, n: call.seq, id, wrong: Wrong::Unsealed });
    }
    let unsealed = store.unsealed_entries().await?;
    (proof.done.unsealed, proof.done.unsealed_since) = (unsealed.count, unsealed.oldest);
    Ok(proof.done)
}

struct Proof<'a> {
    store: &'a dyn Store,
    entries: Entries,
    tell: &'a mut (dyn FnMut(Finding) + Send),
    done: Verified,
    /// Chains that were told to be shorter than they were, or others.
    cut: HashSet<Uuid>,
}

impl Proof<'_> {
    fn ended(&mut self, chain: Chain) {
        self.done.chains += 1;
        self.done.rows += chain.rows;
        self.done.breaks += chain.breaks;
        chain.first.into_iter().for_each(&mut *self.tell);
    }

    fn breaks(&mut self, finding: Finding) {
        self.done.breaks += 1;
        (self.tell)(finding);
    }

    async fn look_for(&mut self, heads: &[Head]) -> Result<(), StoreError> {
        let witnesses = self.store.witness(heads).await?;
        self.done.heads += heads.len() as u64;
        for (head, witness) in heads.iter().zip(witnesses) {
            if witness.is_there || self.cut.contains(&head.instance) {
                continue;
            }
            if self.cut.len() < MOST_TOLD {
                self.cut.insert(head.instance);
            }
            let n = i64::try_from(head.n).unwrap_or(i64::MAX);
            let wrong = match witness.last {
                Some(last) if last >= n => Wrong::Replaced,
                last => Wrong::Cut { last },
            };
            self.breaks(Finding { instance: head.instance.to_string(), n, id: None, wrong });
        }
        Ok(())
    }

    /// Only rows that hold can say what was recorded.
    async fn hold_against_tables(&mut self, sealed: &[(&StoredRow, &SealedRow)]) -> Result<(), StoreError> {
        for table in [Table::Activity, Table::SecurityAudit] {
            let is_there = |row: &SealedRow| Kind::parse(&row.kind).and_then(Table::of) == Some(table);
            let rows: HashMap<Uuid, (&Place, Timestamp, &str)> = sealed
                .iter()
                .filter(|(_, row)| is_there(row))
                .map(|(stored, row)| (row.id, (&stored.place, row.at, row.content.as_str())))
                .collect();
            if rows.is_empty() {
                continue;
            }
            let ids: Vec<Uuid> = rows.keys().copied().collect();
            let logged = self.store.logged(table, &ids).await?;
            let found: HashSet<Uuid> = logged.iter().map(|logged| logged.id).collect();
            for (StoredRow { place, .. }, SealedRow { id, .. }) in
                sealed.iter().filter(|(_, row)| is_there(row) && !found.contains(&row.id))
            {
                match (table, self.entries) {
                    (Table::Activity, _) => self.done.calls_gone += 1,
                    (Table::SecurityAudit, Entries::MayGo) => self.done.entries_gone += 1,
                    (Table::SecurityAudit, Entries::Stay) => {
                        let wrong = Wrong::Gone { table: table.as_str() };
                        self.breaks(Finding { instance: place.instance.clone(), n: place.n, id: Some(*id), wrong });
                    }
                }
            }
            self.done.compared += found.len() as u64;
            for logged in logged {
                let Some((place, at, content)) = rows.get(&logged.id) else { continue };
                if !logged.agrees(*at, &serde_json::from_str(content).unwrap_or(Value::Null)) {
                    let wrong = Wrong::Log { table: table.as_str() };
                    self.breaks(Finding { instance: place.instance.clone(), n: place.n, id: Some(logged.id), wrong });
                }
            }
        }
        Ok(())
    }
}
