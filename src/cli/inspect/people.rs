//! Verdicts and rules for people: what, why, and how to allow it.

use serde_json::{Value, json};

use super::judge::{Judge, Judged, Standing, alone};
use super::line::Answer;
use crate::call::CUT;
use crate::call::Reading;
use crate::cli::Exit;
use crate::cli::output::Output;
use crate::gates::sql_filter::judge as judged;
use crate::sql::Backslashes;
use crate::sql::rules::{RULES, Rule};
use crate::verdict::SqlFinding;

pub fn one(output: &Output, judge: &Judge<'_>, text: &str, reading: Reading) -> Exit {
    let findings = judge.text(text, reading);
    let denied = findings.iter().any(Judged::denies);
    for judged in &findings {
        explain(output, judged);
    }
    if !denied {
        output.say(&format!("allowed{}", what_it_is(text, reading)));
    }
    output.value(&serde_json::to_value(Answer::new(None, findings)).unwrap_or_default());
    if denied { Exit::NotSo } else { Exit::Fine }
}

fn explain(output: &Output, judged: &Judged) {
    let finding = &judged.finding;
    let becomes = match judged.mode {
        Standing::Enforce => "denied",
        Standing::Observe => "observed",
        Standing::Excepted => "excepted",
    };
    output.say(&format!("{becomes}: {}", finding.reason));
    let say = |name: &str, value: &str| output.say(&format!("  {name:<11}  {value}"));
    say("rule", &format!("{} ({})", finding.rule, finding.severity));
    say("statement", &finding.statement);
    say("bytes", &format!("{} to {}", finding.span.start, finding.span.end));
    if !finding.objects.is_empty() {
        say("touches", &finding.objects.join(", "));
    }
    if !finding.fingerprint.is_empty() {
        say("fingerprint", &finding.fingerprint);
    }
    if let Some(place) = &finding.place {
        say("policy", place.as_str());
    }
    if let Some(exception) = &judged.exception {
        say("exception", exception);
    }
    if judged.denies() && !finding.fingerprint.is_empty() {
        output.say("");
        output.say("  to allow it, add to the policies:");
        output.say("");
        for line in exception(finding) {
            output.say(&format!("    {line}"));
        }
    }
    output.say("");
}

/// What lets it pass, to paste.
fn exception(finding: &SqlFinding) -> Vec<String> {
    // JSON's strings are strings of TOML too.
    let list = |names: &[String]| Value::from(names).to_string();
    let some_left_out = finding.objects.iter().any(|name| name.contains(CUT));
    let by_name = match finding.objects.as_slice() {
        [] => String::new(),
        _ if some_left_out => String::new(),
        objects => format!("  # or: objects = {}", list(objects)),
    };
    vec![
        "[[exception]]".to_owned(),
        format!("rules = [\"{}\"]", finding.rule),
        format!("statements = [\"{}\"]{by_name}", finding.fingerprint),
        "reason = \"why it is legitimate\"".to_owned(),
        "by = \"who answers for it\"".to_owned(),
    ]
}

/// What kinds of statements a text has, once each.
fn what_it_is(text: &str, reading: Reading) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for statement in judged(&alone(text, reading), Backslashes::Plain).statements {
        if !kinds.contains(&statement.kind.as_str()) {
            kinds.push(statement.kind.as_str());
        }
    }
    if kinds.is_empty() { ": it is no SQL".to_owned() } else { format!(": {}", kinds.join(", ")) }
}

/// Every rule with its examples.
pub fn rules(output: &Output) -> Exit {
    let rows: Vec<_> = RULES.iter().copied().flat_map(described).collect();
    output.table(&["rule", "severity", "what"], &rows);
    let values: Vec<Value> = RULES
        .iter()
        .map(|rule| {
            json!({
                "rule": rule.id, "severity": rule.tier.severity(), "refuses": rule.refuses, "blocked_pattern": rule.pattern,
                "refused": rule.refused, "allowed": rule.allowed,
            })
        })
        .collect();
    output.value(&json!({ "rules": values }));
    Exit::Fine
}

fn described(rule: &Rule) -> Vec<Vec<String>> {
    let row = |cells: [&str; 3]| cells.map(|cell| cell.split_whitespace().collect::<Vec<_>>().join(" ")).to_vec();
    let head = row([rule.id, rule.tier.severity(), rule.refuses]);
    let refused = rule.refused.iter().map(|example| row(["", "refused", example]));
    let allowed = rule.allowed.iter().map(|example| row(["", "allowed", example]));
    std::iter::once(head).chain(refused).chain(allowed).collect()
}
