//! Looks for texts about which the judge and PostgreSQL's own parser disagree. Says what it found, and exits 1 if a caller could use it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use eliza_gatekeeper_oracle::generate::{Origin, Texts};
use eliza_gatekeeper_oracle::{Class, Disagreement, Random, check, minimize, shape};

const USAGE: &str =
    "differ [--seconds N | --executions N] [--seed N] [--seeds FILE] [--report N] [--only grammar|mutation] [--show N] [--text SQL]

  --seconds N     stop after N seconds (60)
  --executions N  stop after N texts, however long it takes
  --seed N        where the random numbers begin (1); the same seed gives the same texts
  --seeds FILE    one JSON object a line, each with \"text\", or an envelope as \"text\": more texts to mutate
  --report N      stop after N disagreements of different shape (20)
  --only WHICH    one of the two sources of texts
  --show N        print N texts of the generator, and whether PostgreSQL accepts them; judge nothing
  --text SQL      check this one text";

/// Of the same kind in the same words, no more than this are reported, so that one cause does not hide the others.
const ALIKE: u64 = 4;

/// PostgreSQL's parser and a deep tree need more of it than a main thread has.
const STACK: usize = 512 << 20;

struct Options {
    seconds: u64,
    executions: Option<u64>,
    seed: u64,
    seeds: Option<PathBuf>,
    report: usize,
    only: Option<Origin>,
    show: usize,
    text: Option<String>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self { seconds: 60, executions: None, seed: 1, seeds: None, report: 20, only: None, show: 0, text: None };
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = || value.replace('_', "").parse::<u64>().map_err(|_| format!("{name} {value}: no number"));
            match name.as_str() {
                "--seconds" => options.seconds = number()?,
                "--executions" => options.executions = Some(number()?),
                "--seed" => options.seed = number()?,
                "--seeds" => options.seeds = Some(value.into()),
                "--report" => options.report = number()? as usize,
                "--show" => options.show = number()? as usize,
                "--text" => options.text = Some(value),
                "--only" if value == "grammar" => options.only = Some(Origin::Grammar),
                "--only" if value == "mutation" => options.only = Some(Origin::Mutation),
                _ => return Err(format!("{name} {value}?")),
            }
        }
        Ok(options)
    }
}

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // A panic is what this looks for; it is reported with the text that caused it.
    std::panic::set_hook(Box::new(|_| {}));
    let worker = std::thread::Builder::new().stack_size(STACK).spawn(move || run(&options));
    match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(is_clean))) => ExitCode::from(u8::from(!is_clean)),
        Ok(Ok(Err(problem))) => {
            eprintln!("{problem}");
            ExitCode::from(2)
        }
        other => {
            eprintln!("it did not end as it should: {:?}", other.map(|joined| joined.is_ok()));
            ExitCode::from(2)
        }
    }
}

/// Whether nothing was found that a caller could use.
fn run(options: &Options) -> Result<bool, String> {
    if let Some(text) = &options.text {
        let checked = check(text);
        println!("{:?}", checked.oracle);
        println!("{}", checked.disagreement.as_ref().map_or("agreed".to_owned(), ToString::to_string));
        return Ok(checked.disagreement.is_none());
    }
    let texts = Texts::new(seeds(options.seeds.as_deref())?);
    let mut random = Random::new(options.seed);
    for _ in 0..options.show {
        let origin = options.only.unwrap_or(Origin::Grammar);
        let text = texts.text(origin, &mut random);
        println!(
            "{}\t{text:?}",
            eliza_gatekeeper_oracle::classify(&text).map_or("rejected".to_owned(), |oracle| format!("{:?}", oracle.must))
        );
    }
    if options.show > 0 {
        return Ok(true);
    }

    println!("seed {}", options.seed);
    let mut tally = Tally::default();
    let started = Instant::now();
    let end = Duration::from_secs(options.seconds);
    let mut said = Instant::now();
    while options.executions.map_or_else(|| started.elapsed() < end, |most| tally.executions < most) && tally.shapes.len() < options.report
    {
        let origin = options.only.unwrap_or(if random.once_in(2) { Origin::Grammar } else { Origin::Mutation });
        let text = texts.text(origin, &mut random);
        tally.weigh(&text, origin);
        if said.elapsed() > Duration::from_secs(10) {
            said = Instant::now();
            tally.say(started.elapsed());
        }
    }
    tally.say(started.elapsed());
    tally.say_rules();
    Ok(tally.classes.keys().all(|class| !class.is_a_hole()))
}

#[derive(Default)]
struct Tally {
    executions: u64,
    /// Per origin: texts, and how many of them PostgreSQL accepts.
    accepted: [(u64, u64); 2],
    dangerous: u64,
    rules: BTreeMap<&'static str, u64>,
    classes: BTreeMap<Class, u64>,
    /// How many of each were reported.
    alike: HashMap<Disagreement, u64>,
    shapes: HashSet<String>,
}

impl Tally {
    fn weigh(&mut self, text: &str, origin: Origin) {
        self.executions += 1;
        let checked = check(text);
        let (texts, accepted) = &mut self.accepted[origin as usize];
        *texts += 1;
        if let Some(oracle) = &checked.oracle {
            *accepted += 1;
            self.dangerous += u64::from(!oracle.must.is_empty());
            for rule in &oracle.must {
                *self.rules.entry(rule).or_default() += 1;
            }
        }
        let Some(disagreement) = checked.disagreement else { return };
        *self.classes.entry(disagreement.class).or_default() += 1;
        let alike = self.alike.entry(disagreement.clone()).or_default();
        if *alike >= ALIKE {
            return;
        }
        let least = minimize(text, &disagreement);
        if self.shapes.insert(shape(&least, &disagreement)) {
            *alike += 1;
            println!("\n{disagreement}\n  least: {least:?}\n  whole: {text:?}");
        }
    }

    fn say(&self, took: Duration) {
        let rate = self.executions as f64 / took.as_secs_f64();
        let share = |(texts, accepted): (u64, u64)| if texts == 0 { 0.0 } else { 100.0 * accepted as f64 / texts as f64 };
        let classes: Vec<String> =
            Class::ALL.iter().filter_map(|class| self.classes.get(class).map(|count| format!("{} {count}", class.as_str()))).collect();
        println!(
            "{} executions, {rate:.0}/s; PostgreSQL accepts {:.1} % of the grammar's, {:.1} % of the mutated; {} dangerous; {}",
            self.executions,
            share(self.accepted[Origin::Grammar as usize]),
            share(self.accepted[Origin::Mutation as usize]),
            self.dangerous,
            if classes.is_empty() { "no disagreement".to_owned() } else { classes.join(", ") },
        );
    }

    fn say_rules(&self) {
        let rules: Vec<String> = self.rules.iter().map(|(rule, count)| format!("{rule} {count}")).collect();
        println!("demanded: {}", rules.join(", "));
    }
}

/// The project's own corpus, and the texts of a file.
fn seeds(file: Option<&Path>) -> Result<Vec<String>, String> {
    let mut seeds = Vec::new();
    gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus"), &mut seeds);
    if let Some(file) = file {
        let lines = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        for (number, line) in lines.lines().enumerate() {
            let value: serde_json::Value =
                serde_json::from_str(line).map_err(|error| format!("{}:{}: {error}", file.display(), number + 1))?;
            let text = value.get("text").and_then(serde_json::Value::as_str);
            let text = text.ok_or_else(|| format!("{}:{}: no \"text\"", file.display(), number + 1))?;
            match serde_json::from_str::<serde_json::Value>(text) {
                Ok(envelope @ serde_json::Value::Object(_)) => strings(&envelope, &mut seeds),
                _ => seeds.push(text.to_owned()),
            }
        }
    }
    Ok(seeds)
}

fn strings(value: &serde_json::Value, into: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => into.push(text.clone()),
        serde_json::Value::Array(items) => items.iter().for_each(|item| strings(item, into)),
        serde_json::Value::Object(members) => members.values().for_each(|member| strings(member, into)),
        _ => {}
    }
}

/// In an order of their own, so that a seed gives the same texts on every machine.
fn gather(directory: &Path, into: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            gather(&path, into);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            into.push(text);
        }
    }
}
