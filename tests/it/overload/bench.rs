//! `make bench-overload`: what becomes of calls at twice what can be done, as figures.

use std::time::Duration;

use super::crowd::{Answer, Crowd, Heard, target};
use super::folder;
use crate::support::cores::keep_on;
use crate::support::house::{SERVICE_KEY, get};
use crate::support::operator::number;
use crate::support::program::{Program, Serving};

/// Enough to keep the gatekeeper busy, few enough to be answered at once.
const AT_EASE: u32 = 64;

/// The first core is the gatekeeper's, the others are its callers' and its target's: who shares one measures the other.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute and wants the machine for itself: make bench-overload"]
async fn at_twice_what_can_be_done() {
    let setting = |name: &str, default: u32| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let long = Duration::from_secs(setting("OVERLOAD_SECONDS", 30).into());
    let callers = setting("OVERLOAD_CALLERS", 2000);
    let factor = f64::from(setting("OVERLOAD_PERCENT", 200)) / 100.0;
    let cores = std::thread::available_parallelism().unwrap().get();

    let at = target().await;
    let (folder, policies) = folder();
    let database = format!("sqlite://{}", folder.path().join("calls.db").display());
    let mut program = Program::new()
        .variable("DATABASE_URL", &database)
        .variable("SUPABASE_URL", &format!("http://{at}"))
        .variable("SUPABASE_SERVICE_ROLE_KEY", SERVICE_KEY)
        .variable("GATEKEEPER_POLICIES", &policies.display().to_string())
        .variable("GATEKEEPER_LONGEST_WAIT_MS", &setting("OVERLOAD_LONGEST_WAIT_MS", 50).to_string());
    // All callers are one network here.
    program = program.variable("GATEKEEPER_MAX_CONNECTIONS_PER_NETWORK", "100000");
    let apart = cores > 1 && keep_on("0", std::process::id());
    let serving = program.serve().await;
    if apart {
        assert!(keep_on(&format!("1-{}", cores - 1), std::process::id()));
    }
    println!("{cores} cores, the gatekeeper {} one; {callers} callers", if apart { "alone on" } else { "not alone on any" });

    let warm = run(&serving, AT_EASE, None, long / 10).await;
    let few = run(&serving, AT_EASE, None, long / 10).await;
    say("few callers", &few, long / 10);
    // Over as many connections as are open later: each takes its room in the caches of the processor, whether there are too many calls or not.
    let at_its_peak = async || {
        let crowd = Crowd::over(serving.data, AT_EASE, (callers / AT_EASE) as usize, None);
        tokio::time::sleep(long / 3).await;
        crowd.end().await
    };
    let ease = at_its_peak().await;
    let peak = rate(&ease, long / 3);
    say("at its peak", &ease, long / 3);

    let before = times(&serving).await;
    let crowd = Crowd::start(serving.data, callers, Some(peak * factor));
    let mut memories = Vec::new();
    for _ in 0..10 {
        tokio::time::sleep(long / 10).await;
        memories.push(serving.memory());
    }
    let probed = tokio::time::Instant::now();
    get(serving.data, "/readyz").await.expect(200);
    println!("ready, and says so within {:.0} ms", probed.elapsed().as_secs_f64() * 1e3);
    let heard = crowd.end().await;
    for (name, after, before) in times(&serving).await.into_iter().zip(before).map(|(after, before)| (after.0, after, before)) {
        println!("{name:>18}: {:.2} ms on average", (after.1 - before.1) / (after.2 - before.2) * 1e3);
    }
    say(&format!("at {factor} times"), &heard, long);
    for part in 0..5 {
        let (from, to) = (long * part / 5, long * (part + 1) / 5);
        let whole = heard.whole.iter().filter(|answer| (from..to).contains(&answer.at)).copied().collect();
        say(&format!("from {:.0} s on", from.as_secs_f64()), &Heard { whole, broken: 0 }, long / 5);
    }
    println!("{:>14}: memory {:?} MiB", "", memories.iter().map(|bytes| bytes >> 20).collect::<Vec<_>>());

    let after = run(&serving, callers, Some(peak / 2.0), Duration::from_secs(5)).await;
    let last = after.of(503).map(|answer| answer.at).max().unwrap_or_default();
    say("at half", &after, Duration::from_secs(5));
    println!("{:>14}: the last refusal {:.1} s after the load fell", "", last.as_secs_f64());

    let again = at_its_peak().await;
    say("its peak again", &again, long / 3);
    // A machine that others use, too, is not the same for a minute.
    let again_peak = rate(&again, long / 3);
    let [good, by_first, by_second] = [f64::midpoint(peak, again_peak), peak, again_peak].map(|peak| rate(&heard, long) / peak * 100.0);
    println!("{:>14}: goodput {good:.1} % of the peak: {by_first:.1} of that before, {by_second:.1} of that after", "");

    let all = [warm, few, ease, heard, after, again];
    serving.settled().await;
    serving.stop().await.expect(0);
    let recorded = |rest: &str| format!("select count(*) from eliza_activity_log where {rest}");
    let made = number(&database, &recorded("status = 'completed'")).await;
    let one_by_one = number(&database, &recorded("activity_type = 'gatekeeper_error'")).await;
    let summed = "select coalesce(sum(json_extract(metadata, '$.folded') - 1), 0) from eliza_activity_log";
    let refused = one_by_one + number(&database, summed).await;
    let heard = |status: u16| i64::try_from(all.iter().map(|heard| heard.count(status)).sum::<usize>()).unwrap();
    let unheard = i64::try_from(all.iter().map(|heard| heard.broken).sum::<usize>()).unwrap();
    println!("recorded: {made} calls made, {refused} refused; heard: {}, {}, and {unheard} without an answer", heard(200), heard(503));
    assert!((heard(200)..=heard(200) + unheard).contains(&made) && (heard(503)..=heard(503) + unheard).contains(&refused));
}

async fn run(serving: &Serving, callers: u32, a_second: Option<f64>, long: Duration) -> Heard {
    let crowd = Crowd::start(serving.data, callers, a_second);
    tokio::time::sleep(long).await;
    crowd.end().await
}

fn rate(heard: &Heard, long: Duration) -> f64 {
    heard.of(200).filter(|Answer { at, .. }| *at <= long).count() as f64 / long.as_secs_f64()
}

#[expect(clippy::print_stdout, reason = "figures are what it is run for")]
fn say(what: &str, heard: &Heard, long: Duration) {
    let at = |per_mille| heard.millis(200, per_mille);
    println!(
        "{what:>14}: {:>6.0} calls/s made, p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms; {:>6.0}/s refused; {} without an answer",
        heard.count(200) as f64 / long.as_secs_f64(),
        at(500),
        at(990),
        at(999),
        heard.count(503) as f64 / long.as_secs_f64(),
        heard.broken
    );
}

/// Where time goes, as the gatekeeper sees it: what it took in all, and how often.
async fn times(serving: &Serving) -> Vec<(&'static str, f64, f64)> {
    let mut all = Vec::new();
    for name in ["turn_seconds", "overhead_seconds", "target_seconds"] {
        all.push((name, serving.metric(&format!("{name}_sum")).await, serving.metric(&format!("{name}_count")).await));
    }
    all
}
