//! Reads what the kernel counts for a process: its time and its memory. Linux only.

use std::error::Error;
use std::process::Command;
use std::time::Duration;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// User and system time of a process so far, in steps of the kernel's tick (10 ms).
pub(crate) fn cpu(process: u32) -> Fallible<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // After the name, which may hold anything, utime and stime are the 12th and 13th field.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|field| field.parse().unwrap_or(0)).sum();
    Ok(Duration::from_millis(ticks * 1_000 / ticks_a_second()))
}

/// Resident memory of a process in KiB.
pub(crate) fn resident(process: u32) -> Fallible<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc")?;
    Ok(line.trim_end_matches("kB").trim().parse()?)
}

/// Files that this process may have open.
pub(crate) fn files_allowed() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1_024)
}

fn ticks_a_second() -> u64 {
    let asked = Command::new("getconf").arg("CLK_TCK").output();
    let said = asked.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    said.and_then(|text| text.trim().parse().ok()).filter(|&ticks| ticks > 0).unwrap_or(100)
}
