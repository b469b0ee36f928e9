//! `inspect`: what the SQL filter makes of texts and envelopes, without a gatekeeper: of one for people, of a stream for programs.

mod judge;
mod line;
mod people;

use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::output::Output;
use super::{Exit, setup};
use crate::call::Reading;
use crate::clock::Clock;
use crate::identity::{SourceName, TargetName};
use crate::settings::Environment;
use judge::Judge;

/// A longer line is not read: more than any policy lets into the door.
const LONGEST: usize = 16 << 20;

/// What is read, and written, at once.
const PORTION: usize = 64 << 10;

#[derive(Debug, Args)]
pub struct Options {
    /// One text, judged for people: exit 0 if it is allowed, 1 if it is denied.
    #[arg(value_name = "SQL", conflicts_with = "rules")]
    text: Option<String>,
    /// What that text stands in: a field that holds SQL, or any other string.
    #[arg(long = "as", value_name = "FIELD", default_value = "sql", requires = "text")]
    field: As,
    /// Who would send it, for what policy says of this source.
    #[arg(long, value_parser = source)]
    source: Option<SourceName>,
    /// Whom it would be sent to; else whom the envelope names.
    #[arg(long, value_parser = target)]
    target: Option<TargetName>,
    /// List the rules instead: what each refuses, with examples of what is refused and what is not.
    #[arg(long)]
    rules: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum As {
    Sql,
    String,
}

impl From<As> for Reading {
    fn from(field: As) -> Self {
        match field {
            As::Sql => Self::Sql,
            As::String => Self::Text,
        }
    }
}

fn source(text: &str) -> Result<SourceName, String> {
    SourceName::parse(text).ok_or_else(|| "a source's name has letters, digits, `.`, `_` and `-`".into())
}

fn target(text: &str) -> Result<TargetName, String> {
    TargetName::parse(text).ok_or_else(|| "a target's name has letters, digits, `.`, `_` and `-`".into())
}

pub fn run(output: &Output, policies: Option<PathBuf>, options: Options) -> Exit {
    if options.rules {
        return people::rules(output);
    }
    let policy = match setup::local_policy(&Environment::process(), policies).1 {
        Ok(policy) => policy,
        Err(problems) => {
            output.problems(problems.as_slice());
            return Exit::Configuration;
        }
    };
    let judge = Judge::new(&policy.sql, options.source, options.target, Clock::system().now());
    match options.text {
        Some(text) => people::one(output, &judge, &text, options.field.into()),
        None => stream(output, &judge),
    }
}

fn stream(output: &Output, judge: &Judge<'_>) -> Exit {
    let input = BufReader::with_capacity(PORTION, std::io::stdin().lock());
    let to = BufWriter::with_capacity(PORTION, std::io::stdout().lock());
    match filter(judge, input, to) {
        Ok(Lines::AllFine) => Exit::Fine,
        Ok(Lines::SomeWrong) => Exit::NotSo,
        // Whoever reads has read enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Fine,
        Err(error) => {
            output.problem(&format!("standard input and output: {error}"));
            Exit::NotSo
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    AllFine,
    SomeWrong,
}

/// An answer for every line, in order. What is answered is out before this waits for more.
fn filter<R: Read>(judge: &Judge<'_>, mut input: BufReader<R>, mut to: impl Write) -> std::io::Result<Lines> {
    let (mut line, mut lines) = (Vec::new(), Lines::AllFine);
    for number in 1_u64.. {
        if !input.buffer().contains(&b'\n') {
            to.flush()?;
        }
        line.clear();
        let most = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(1);
        if input.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        let answer = if line.pop_if(|last| *last == b'\n').is_none() && line.len() > LONGEST {
            input.skip_until(b'\n')?;
            Err(line::Wrong::too_long(number))
        } else {
            line::answer(judge, &line, number)
        };
        match answer {
            Ok(answer) => serde_json::to_writer(&mut to, &answer)?,
            Err(wrong) => {
                lines = Lines::SomeWrong;
                serde_json::to_writer(&mut to, &wrong)?;
            }
        }
        to.write_all(b"\n")?;
    }
    to.flush()?;
    Ok(lines)
}
