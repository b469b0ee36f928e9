//! Taking enforcement off and on. It takes effect in memory before anything else, then goes to the state directory and to the database,
//! so that neither a restart nor a database that is away forgets it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::task::{JoinHandle, spawn_blocking};
use uuid::{Builder, Uuid, Variant, Version};

use super::{Control, forms, lock, within_calendar};
use crate::audit::{Actor, AuditAction, AuditEntry};
use crate::call::legible;
use crate::clock::Timestamp;
use crate::enforcement::{GateMode, Modes, Ruling};
use crate::sha256::Sha256;
use crate::store::StoreError;
use crate::switches::Flag;
use crate::telemetry::metrics::GateLabel;
use crate::verdict::GateName;

const FILE: &str = "enforcement.json";
/// What an order about all gates is called.
const EVERY_GATE: &str = "every gate";
const WORDS: usize = 500;

/// What an operator wants of enforcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnforceOrder {
    pub mode: GateMode,
    /// `None`: every gate.
    pub gate: Option<GateName>,
    pub until: Option<Timestamp>,
    pub reason: String,
}

/// How enforcement stands for one gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateStanding {
    pub gate: GateName,
    pub mode: GateMode,
    /// The ruling behind it; none where it is as the gatekeeper was started.
    pub ruling: Option<Ruling>,
    /// The feature flag that switches the gate off, if one does.
    pub flag: Option<Flag>,
}

/// Of the rulings that have ended, those whose end was told: the moment each was made.
#[derive(Default)]
pub(super) struct Told(Mutex<HashMap<GateName, Timestamp>>);

impl Control {
    /// Every gate, in the order a call meets them.
    pub fn enforcement(&self) -> Vec<GateStanding> {
        let (snapshot, now) = (self.pipeline.live.snapshot(), self.now());
        let modes = snapshot.modes(now);
        let standing = |gate| {
            // What has ended, and left nothing behind, is over.
            let stands = |ruling: &&Ruling| if ruling.has_ended(now) { ruling.afterwards.is_some() } else { ruling.mode.is_some() };
            GateStanding {
                gate,
                mode: modes.of(gate),
                ruling: snapshot.enforcement.ruling(gate).filter(stands).cloned(),
                flag: snapshot.switches.against_gate(gate).cloned(),
            }
        };
        GateName::ALL.into_iter().map(standing).collect()
    }

    /// Takes effect before it returns, whether or not the database is there. Whether it would survive a restart without the database
    /// says [`state_trouble`](Self::state_trouble).
    pub async fn enforce(&self, order: &EnforceOrder, by: &Actor) -> Vec<GateStanding> {
        // An end that has just come is told before the ruling is gone.
        let ends = self.tell_ends();
        let gates = order.gate.map_or_else(|| GateName::ALL.to_vec(), |gate| vec![gate]);
        let (now, until, reason) = (self.now(), order.until.map(within_calendar), legible(order.reason.trim(), WORDS));
        let modes =
            |modes: Modes| gates.iter().map(|gate| (gate.as_str().to_owned(), modes.of(*gate).as_str().into())).collect::<Map<_, _>>();
        let (before, after) = self.pipeline.live.change(|snapshot| {
            let before = modes(snapshot.modes(now));
            let enforcement = Arc::make_mut(&mut snapshot.enforcement);
            // Whoever gave the last order may have had a clock that is ahead of this one: it is still the earlier order.
            let known = gates.iter().filter_map(|gate| Some(enforcement.ruling(*gate)?.at)).max();
            let at = known.map_or(now, |known| now.max(known.plus(Duration::from_micros(1))));
            for gate in gates.iter().copied() {
                let afterwards = until.and_then(|until| enforcement.afterwards(gate, until));
                let (mode, reason, actor) = (Some(order.mode), reason.clone(), by.as_str().to_owned());
                enforcement.take(Ruling { gate, mode, until, afterwards, reason, actor, at });
            }
            let mut after = modes(snapshot.modes(now));
            after.insert("until".into(), until.map_or(Value::Null, |until| until.to_string().into()));
            (before, after)
        });
        self.show_enforcement();
        self.errands.bring_rulings();
        let entry = AuditEntry::new(now, by, AuditAction::EnforcementChanged, order.gate.map_or(EVERY_GATE, GateName::as_str));
        let noted = self.note(entry.because(Some(&reason)).from_to(before.into(), after.into()));
        // Both go on if whoever asked is gone.
        let (_kept, _noted) = tokio::join!(self.keep_rulings(ends), noted);
        self.enforcement()
    }

    /// The environment was read again. What operators have said beats it.
    pub fn start_with(&self, start: GateMode, by: &Actor) {
        let before = self.pipeline.live.change(|snapshot| {
            let before = snapshot.enforcement.start();
            Arc::make_mut(&mut snapshot.enforcement).start_with(start);
            before
        });
        if before != start {
            self.show_enforcement();
            let entry = AuditEntry::new(self.now(), by, AuditAction::EnforcementChanged, "GATEKEEPER_ENFORCE");
            self.note(entry.from_to(before.as_str().into(), start.as_str().into()));
        }
    }

    /// Reads what the database keeps. Of two rulings about a gate the later counts, wherever it is; what the database does not know of
    /// ours it is told.
    pub(super) async fn reread_rulings(&self) -> Result<(), StoreError> {
        let stored = self.store.rulings().await?;
        let mut ends = self.tell_ends();
        let known: HashSet<(GateName, Timestamp)> = stored.iter().map(|ruling| (ruling.gate, ruling.at)).collect();
        let now = self.now();
        let (taken, is_ahead) = self.pipeline.live.change(|snapshot| {
            let enforcement = Arc::make_mut(&mut snapshot.enforcement);
            let taken: Vec<(Ruling, GateMode)> = stored
                .into_iter()
                .filter_map(|ruling| {
                    let before = enforcement.mode_at(ruling.gate, now);
                    enforcement.take(ruling.clone()).then_some((ruling, before))
                })
                .collect();
            (taken, enforcement.rulings().any(|ruling| !known.contains(&(ruling.gate, ruling.at))))
        });
        if is_ahead {
            self.errands.bring_rulings();
        }
        if taken.is_empty() {
            self.keep_ends(ends);
            return Ok(());
        }
        let enforcement = Arc::clone(&self.pipeline.live.current().enforcement);
        for (Ruling { gate, until, reason, actor, .. }, before) in &taken {
            let mode = enforcement.mode_at(*gate, now);
            // At a start, most of what is read is what held anyway.
            if mode != *before || until.is_some_and(|until| until > now) {
                let until = until.map(|until| until.to_string());
                tracing::warn!(
                    gate = gate.as_str(),
                    mode = mode.as_str(),
                    until,
                    reason,
                    actor,
                    "the database says how a gate is enforced"
                );
            }
        }
        self.show_enforcement();
        ends.extend(self.tell_ends());
        let _kept = self.keep_rulings(ends).await;
        Ok(())
    }

    /// What an earlier run was told, before its first call and whether or not the database is there.
    pub(super) async fn restore_enforcement(&self) {
        let state = Arc::clone(&self.state);
        let read = spawn_blocking(move || state.read(FILE, forms::read_rulings)).await;
        for (ruling, ended) in read.ok().flatten().unwrap_or_default() {
            if ended {
                lock(&self.enforcement.0).insert(ruling.gate, ruling.at);
            }
            self.pipeline.live.change(|snapshot| Arc::make_mut(&mut snapshot.enforcement).take(ruling));
        }
        self.look_at_enforcement();
    }

    /// Called several times a second: rulings end by themselves, and flags switch gates, without anybody doing anything here.
    pub fn look_at_enforcement(&self) {
        let ends = self.tell_ends();
        self.keep_ends(ends);
        self.show_enforcement();
    }

    /// Called every few seconds: what could not be kept may be kept now.
    pub async fn keep_state(&self) {
        if self.state.trouble().is_some() {
            let entries = self.keep_entries(self.waiting_entries());
            let _kept = self.keep_rulings(vec![entries]).await;
            self.try_state().await;
        }
        self.metrics.state_unkept.set(i64::from(self.state.trouble().is_some()));
    }

    /// Called every minute, for as long as there is something to say.
    pub fn remind_of_enforcement(&self) {
        let mut said: Vec<(String, Vec<&'static str>)> = Vec::new();
        for GateStanding { gate, mode, ruling, flag } in self.enforcement() {
            if mode == GateMode::Enforce {
                continue;
            }
            let why = match (flag, ruling) {
                (Some(flag), _) => format!("the feature flag {} switches it off", flag.name),
                (None, Some(Ruling { actor, reason, until, .. })) => {
                    let until = until.filter(|until| *until > self.now()).map_or("further notice".to_owned(), |until| until.to_string());
                    format!("by {actor} ({reason}) until {until}")
                }
                (None, None) => "GATEKEEPER_ENFORCE=false".to_owned(),
            };
            match said.iter_mut().find(|(known, _)| *known == why) {
                Some((_, gates)) => gates.push(gate.as_str()),
                None => said.push((why, vec![gate.as_str()])),
            }
        }
        for (why, gates) in said {
            tracing::warn!(gates = gates.join(" "), why, "denials do not stand: these gates only observe");
        }
    }

    pub(super) fn show_enforcement(&self) {
        let modes = self.pipeline.live.current().modes(self.now());
        self.metrics.enforcing.set(i64::from(modes.is_on()));
        for gate in GateName::ALL {
            let label = GateLabel { gate: gate.as_str() };
            self.metrics.gate_enforcing.get_or_create(&label).set(i64::from(modes.of(gate) == GateMode::Enforce));
        }
    }

    /// Tells of each ruling that has ended, once. The handles end when the entries are on the disk.
    fn tell_ends(&self) -> Vec<JoinHandle<()>> {
        let (snapshot, now) = (self.pipeline.live.snapshot(), self.now());
        let mut told = lock(&self.enforcement.0);
        let mut ends = Vec::new();
        for ruling in snapshot.enforcement.rulings() {
            let Some(until) = ruling.until.filter(|until| *until <= now) else { continue };
            if told.get(&ruling.gate) == Some(&ruling.at) {
                continue;
            }
            let mode = |mode: Option<GateMode>| json!({ "mode": mode.unwrap_or(snapshot.enforcement.start()).as_str() });
            let entry = AuditEntry::new(until, &Actor::cause("its own end"), AuditAction::EnforcementEnded, ruling.gate.as_str())
                .because(Some(&ruling.reason))
                .from_to(mode(ruling.mode), mode(ruling.afterwards));
            ends.push(self.note(AuditEntry { id: id_of_the_end(ruling), ..entry }));
            told.insert(ruling.gate, ruling.at);
        }
        ends
    }

    fn keep_ends(&self, ends: Vec<JoinHandle<()>>) {
        if !ends.is_empty() {
            self.keep_rulings(ends);
        }
    }

    /// Writes the rulings once the entries about their `ends` are on the disk, and says of an end that it was told only if its entry is:
    /// whoever comes after a crash tells it otherwise. It goes on if nobody waits for it.
    fn keep_rulings(&self, ends: Vec<JoinHandle<()>>) -> JoinHandle<()> {
        let (state, pipeline, outbox, told) =
            (Arc::clone(&self.state), Arc::clone(&self.pipeline), Arc::clone(&self.outbox), Arc::clone(&self.enforcement));
        tokio::spawn(async move {
            for end in ends {
                let _kept = end.await;
            }
            let writing = spawn_blocking(move || {
                state.keep(FILE, || {
                    let enforcement = Arc::clone(&pipeline.live.current().enforcement);
                    let told = lock(&told.0).clone();
                    let is_told =
                        |ruling: &Ruling| told.get(&ruling.gate) == Some(&ruling.at) && outbox.is_safe(id_of_the_end(ruling), &state);
                    Some(forms::write_rulings(enforcement.rulings(), is_told))
                })
            });
            let _kept = writing.await;
        })
    }
}

/// The same for every gatekeeper that sees a ruling end, so that they write one row.
fn id_of_the_end(ruling: &Ruling) -> Uuid {
    let hash = Sha256::new().chain(ruling.gate.as_str()).chain(ruling.at.as_micros().to_be_bytes()).finish();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash).for_each(|(byte, from)| *byte = from);
    Builder::from_bytes(bytes).with_variant(Variant::RFC4122).with_version(Version::Custom).into_uuid()
}
