//! Windows and bursts: from what an operator wrote to an [`Allowance`].

use std::num::NonZeroU32;

use toml::Spanned;

use crate::policy::file::{List, Text};
use crate::policy::problems::Report;
use crate::policy::values;
use crate::policy::{Allowance, Burst, Window};

/// A burst that is not stated is the shortest window's limit at once, refilled in this time: it only softens the edge
/// between two windows and never refuses what one window allows.
const REFILL_SECS: u32 = 5;

pub fn allowance(limit: &List, burst: Option<&Text>, report: &mut Report<'_>) -> Option<Allowance> {
    let mut windows: Vec<Spanned<Window>> = Vec::new();
    let mut sound = true;
    for text in limit.get_ref() {
        let Some(window) = report.parsed(text, values::window) else {
            sound = false;
            continue;
        };
        if windows.iter().any(|other| other.get_ref().secs == window.secs) {
            report.problem(text.span(), format!("`{}` is a second limit for the same window: keep one of them", text.get_ref()));
            sound = false;
        }
        windows.push(Spanned::new(text.span(), window));
    }
    if limit.get_ref().is_empty() {
        report.problem(limit.span(), "no limit is given: write at least one, as in [\"100/1m\"]");
    }
    windows.sort_by_key(|window| window.get_ref().secs);
    for (short, long) in windows.iter().zip(windows.iter().skip(1)) {
        if short.get_ref().limit >= long.get_ref().limit && sound {
            let place = report.place(short.span());
            report.warn(format!("{place}: the shorter window never counts, for the longer one allows no more calls"));
        }
    }
    let stated = burst.map(|text| report.parsed(text, values::burst));
    let windows: Box<[Window]> = windows.into_iter().map(Spanned::into_inner).collect();
    let shortest = windows.first().filter(|_| sound)?.limit;
    let place = report.line(limit.span());
    let (burst, burst_place) = match (stated, burst) {
        (Some(stated), Some(text)) => (stated?, report.line(text.span())),
        _ => (implied(shortest), place.clone()),
    };
    Some(Allowance { windows, burst, place, burst_place })
}

fn implied(limit: u32) -> Option<Burst> {
    Some(Burst { size: NonZeroU32::new(limit)?, per_second: NonZeroU32::new(limit.div_ceil(REFILL_SECS))? })
}

/// `total` with as much room as `by` in every window they share, so that raising an endpoint takes one edit.
/// A burst that was stated for the total stays.
pub fn raised(total: &Allowance, by: &Allowance, burst_is_stated: bool) -> Allowance {
    let of_same_length = |window: &Window| by.windows.iter().find(|other| other.secs == window.secs);
    let windows = total.windows.iter();
    let windows: Box<[Window]> =
        windows.map(|own| Window { limit: of_same_length(own).map_or(own.limit, |w| w.limit.max(own.limit)), ..*own }).collect();
    let share = total.windows.iter().any(|window| of_same_length(window).is_some());
    let burst = match (total.burst, by.burst) {
        (own, _) if burst_is_stated || !share => own,
        (Some(a), Some(b)) => Some(Burst { size: a.size.max(b.size), per_second: a.per_second.max(b.per_second) }),
        _ => None,
    };
    // Whoever raised it last says what it is now.
    let place = if windows == total.windows { &total.place } else { &by.place };
    let burst_place = if burst == total.burst { &total.burst_place } else { &by.burst_place };
    Allowance { place: place.clone(), burst_place: burst_place.clone(), windows, burst }
}

/// Whether calls that `by` allows can be refused by `total`.
pub fn is_below(total: &Allowance, by: &Allowance) -> bool {
    total.windows.iter().any(|own| by.windows.iter().any(|other| other.secs == own.secs && other.limit > own.limit))
}
