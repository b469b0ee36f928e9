//! The two logs' rows of records, as SQLite takes them with the least ado: all columns are named in the order of the table, so that none is
//! copied once more; rows come in the order of their keys, so that indexes grow at their end; and what the rows of a statement share stands
//! in its text, for each text that is bound is copied twice on its way.

use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::moment::Texts;
use super::statement::{Statement, Text};
use crate::store::batch::{FUNCTION, plain, plain_json};
use crate::store::ledger::number;
use crate::store::{ActivityStatus, ActivityType, ApiStatus, Record};

// Or fail: a statement that fails takes its transaction with it. Otherwise SQLite notes what each changes, to take back that one alone.
const ACTIVITY: &str = "insert or fail into eliza_activity_log (id, activity_type, title, description, metadata, status, mentioned_to_user, \
                        created_at, updated_at, instance, seq) values ";
const API_CALLS: &str = "insert or fail into api_call_logs (id, function_name, called_at, execution_time_ms, status, error_message, \
                         request_payload, response_data, caller_context, created_at) values ";
const IF_NEW: &str = " on conflict (id, created_at) do nothing";

/// What rows share that are written by one statement.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Alike {
    instance: Option<Uuid>,
    /// Calls that went well, nearly all of them: no word about it is bound.
    is_good: bool,
}

impl Alike {
    fn of(record: &Record<'_>) -> Self {
        let is_good = record.activity_type == ActivityType::Call
            && record.activity_status == ActivityStatus::Completed
            && record.api_status == ApiStatus::Success
            && record.error_message.is_none();
        Self { instance: record.origin.map(|origin| origin.instance), is_good }
    }
}

/// How the rows of such records are written.
pub(super) struct Form {
    alike: Alike,
    activity: Text,
    api_calls: Text,
    said: Said,
}

/// What the last record said in words that the next is likely to say, too.
#[derive(Default)]
struct Said {
    title: Word,
    description: Word,
    request: Word,
    caller_context: Word,
}

#[derive(Default)]
struct Word(Arc<str>);

impl Word {
    /// The text as it was said last, where that is the same: looking is less than another copy, which SQLite's thread has to let go.
    fn of(&mut self, text: &str) -> Arc<str> {
        if *self.0 != *text {
            self.0 = Arc::from(text);
        }
        Arc::clone(&self.0)
    }
}

/// Forms that there were, with their texts. There is one for each instance whose journal is carried over, so they are no more than a few.
#[derive(Default)]
pub(super) struct Forms(Mutex<Vec<Form>>);

/// More than one process's own.
const FORMS: usize = 4;

impl Forms {
    /// The records as they are written together: of each form in the order of their ids, which is that of time.
    pub(super) fn runs<'a>(&self, records: &[&'a Record<'a>]) -> Vec<(Form, Vec<&'a Record<'a>>)> {
        let mut sorted = records.to_vec();
        sorted.sort_unstable_by_key(|record| record.id.as_u128());
        let mut runs: Vec<(Form, Vec<_>)> = Vec::new();
        for record in sorted {
            let alike = Alike::of(record);
            match runs.iter_mut().find(|(form, _)| form.alike == alike) {
                Some((_, records)) => records.push(record),
                None => runs.push((self.take(alike), vec![record])),
            }
        }
        runs
    }

    fn take(&self, alike: Alike) -> Form {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = known.iter().position(|form| form.alike == alike);
        place.map_or_else(|| Form::of(alike), |place| known.swap_remove(place))
    }

    /// For the next batch.
    pub(super) fn put_back(&self, form: Form) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= FORMS {
            known.remove(0);
        }
        known.push(form);
    }
}

/// The rows of such records in the one log and in the other.
pub(super) fn rows(form: &mut Form, records: &[&Record<'_>], moments: &mut Texts) -> (Statement, Statement) {
    let Form { alike, activity, api_calls, said } = form;
    let (mut activity, mut api_calls) = (activity.of(records.len()), api_calls.of(records.len()));
    let mut id = [0; Hyphenated::LENGTH];
    for record in records {
        let id: Arc<str> = Arc::from(&*record.id.hyphenated().encode_lower(&mut id));
        let at: Arc<str> = Arc::from(moments.of(record.at));
        activity.bind(Arc::clone(&id));
        if !alike.is_good {
            activity.text(record.activity_type.as_str());
        }
        activity.bind(said.title.of(&plain(&record.title))).bind(said.description.of(&plain(&record.description)));
        activity.text(&plain_json(&record.metadata));
        if !alike.is_good {
            activity.text(record.activity_status.as_str());
        }
        activity.bind(Arc::clone(&at)).bind(Arc::clone(&at));
        if let Some(origin) = record.origin {
            activity.bind(number(origin.seq));
        }
        api_calls.bind(id).bind(Arc::clone(&at)).bind(record.execution_ms);
        if !alike.is_good {
            api_calls.text(record.api_status.as_str()).bind(record.error_message.as_deref().map(|message| plain(message).into_owned()));
        }
        api_calls.bind(said.request.of(&plain_json(&record.request)));
        api_calls.bind(said.caller_context.of(&plain_json(&record.caller_context))).bind(at);
    }
    (activity, api_calls)
}

impl Form {
    /// Words of ours and an id in its own form: nothing in it needs to be quoted with care.
    fn of(alike: Alike) -> Self {
        let (activity_type, status, api_status, error) = match alike.is_good {
            false => ("?".into(), "?".into(), "?".into(), "?"),
            true => {
                let word = |word: &str| format!("'{word}'");
                (word(ActivityType::Call.as_str()), word(ActivityStatus::Completed.as_str()), word(ApiStatus::Success.as_str()), "null")
            }
        };
        let origin = alike.instance.map_or_else(|| "null, null".into(), |instance| format!("'{instance}', ?"));
        Self {
            alike,
            activity: Text::new(ACTIVITY, format!("(?, {activity_type}, ?, ?, ?, {status}, false, ?, ?, {origin})"), IF_NEW),
            api_calls: Text::new(API_CALLS, format!("(?, '{FUNCTION}', ?, ?, {api_status}, {error}, ?, null, ?, ?)"), IF_NEW),
            said: Said::default(),
        }
    }
}
