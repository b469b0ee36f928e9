//! Schema validation: which calls it is about, whom to ask, whom to tell.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use crate::identity::Action;
use crate::policy::file::{self, Text};
use crate::policy::problems::Report;
use crate::policy::{Fail, SchemaPolicy, Target, Targets, values};

/// In the place of a target's name: nobody.
const OFF: &str = "off";
/// A caller waits for the validator, so it is no target like any other.
const LONGEST_QUESTION: Duration = Duration::from_secs(60);

pub fn compile(
    own: Option<Spanned<file::Schema>>,
    shipped: Option<Spanned<file::Schema>>,
    names: &BTreeMap<String, Range<usize>>,
    targets: &Targets,
    report: &mut Report<'_>,
) -> Option<SchemaPolicy> {
    let [own, shipped] = [own, shipped].map(|section| section.map(Spanned::into_inner).unwrap_or_default());
    // A copy of the shipped file says no more than its absence does.
    let is_as_shipped = |own: &Option<Text>, shipped: &Option<Text>| {
        own.as_ref().is_none_or(|own| shipped.as_ref().is_some_and(|shipped| shipped.get_ref() == own.get_ref()))
    };
    let inherits_validator = is_as_shipped(&own.validator, &shipped.validator);
    let inherits_fixer = is_as_shipped(&own.fixer, &shipped.fixer);
    let section = own.or(shipped);

    let who = Who { names, targets };
    let (validator_name, fixer_name) = (section.validator?, section.fixer?);
    let place = report.line(validator_name.span());
    let fail_place = section.fail.as_ref().map(|fail| report.line(fail.span()));
    let is_missing = inherits_validator && !names.is_empty() && who.is_missing(&validator_name);
    if is_missing {
        report.warn(format!(
            "no target is called `{0}`: schema operations are validated by nobody; list it under [[target]], or write validator = \"{OFF}\" in [schema]",
            validator_name.get_ref()
        ));
    }
    let validator = who.find(&validator_name, inherits_validator, report);
    let fixer = who.find(&fixer_name, inherits_fixer, report);

    let action = section.action.and_then(|text| report.parsed(&text, action));
    let timeout = section.timeout.and_then(|text| report.parsed(&text, values::duration_up_to(LONGEST_QUESTION)));
    let actions = section.actions.map(|list| list.get_ref().iter().filter_map(|text| report.parsed(text, self::action)).collect());
    let fix_cooldown = section.fix_cooldown.and_then(|text| report.parsed(&text, values::duration));
    Some(SchemaPolicy {
        validator,
        action: action?,
        timeout: timeout?,
        fail: match section.fail?.into_inner() {
            file::Fail::Open => Fail::Open,
            file::Fail::Closed => Fail::Closed,
            file::Fail::ClosedForDdl => Fail::ClosedForDdl,
        },
        operations: section.operations?.into_inner(),
        actions: actions?,
        fixer,
        fix_cooldown: fix_cooldown?,
        place,
        fail_place: fail_place?,
    })
}

struct Who<'a> {
    names: &'a BTreeMap<String, Range<usize>>,
    targets: &'a Targets,
}

impl Who<'_> {
    fn is_missing(&self, name: &Text) -> bool {
        name.get_ref() != OFF && !self.names.contains_key(name.get_ref())
    }

    /// A name that is inherited and that nobody has is nobody: whoever lists targets of their own need not have these.
    fn find(&self, name: &Text, is_inherited: bool, report: &mut Report<'_>) -> Option<Arc<Target>> {
        if self.is_missing(name) && !is_inherited {
            report.problem(name.span(), format!("there is no target `{}`: list it under [[target]], or write \"{OFF}\"", name.get_ref()));
        }
        if name.get_ref() == OFF { None } else { self.targets.find(name.get_ref()).cloned() }
    }
}

fn action(text: &str) -> Result<Action, String> {
    Action::parse(text).ok_or_else(|| "this is no action: write up to 128 characters without control characters".to_owned())
}
