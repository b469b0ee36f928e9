//! Who runs on which cores: what shares one is measured with what it shares it with.

use std::process::Command;

/// Keeps a process, and those it starts from now on, on these cores. False where that cannot be said.
pub fn keep_on(cores: &str, process: u32) -> bool {
    let told = Command::new("taskset").args(["-apc", cores, &process.to_string()]).output();
    told.is_ok_and(|told| told.status.success())
}

/// The same of those that it has started already.
pub fn keep_all_on(cores: &str, parent: u32) -> bool {
    let children = Command::new("pgrep").args(["-P", &parent.to_string()]).output();
    let children = children.map(|told| String::from_utf8_lossy(&told.stdout).into_owned()).unwrap_or_default();
    for child in children.lines().filter_map(|pid| pid.trim().parse().ok()) {
        // One that has ended meanwhile runs nowhere.
        keep_on(cores, child);
    }
    keep_on(cores, parent)
}
