//! What a process used: CPU time and memory, as the system counts them.
//!
//! A latency alone does not say what an answer costs, and a client that uses a whole core measures itself. Not here:
//! finding out which process serves an endpoint; the caller knows its number.

use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The unit of CPU times in `/proc`, fixed at 100 a second on every Linux (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);
/// The unit of memory in `/proc/*/statm` on the machines Linux is mostly run on.
const PAGE_BYTES: u64 = 4_096;

/// Readings of a process at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    cpu: Duration,
    resident_bytes: u64,
}

impl Reading {
    /// Of the process of this number, all its threads together; to ten milliseconds.
    ///
    /// # Errors
    /// [`Error::Process`] when there is none or its numbers cannot be read.
    pub fn of(process_id: u32) -> Result<Self, Error> {
        let read = |file: &str| {
            let path = format!("/proc/{process_id}/{file}");
            fs::read_to_string(&path)
                .map_err(|error| Error::Process { process_id, problem: error.to_string() })
        };
        let unreadable =
            || Error::Process { process_id, problem: "its numbers have another form".to_owned() };
        let cpu = cpu_time(&read("stat")?).ok_or_else(unreadable)?;
        let resident_bytes = resident_bytes(&read("statm")?).ok_or_else(unreadable)?;
        Ok(Self { cpu, resident_bytes })
    }

    /// What was used since an `earlier` reading of the same process, which answered `requests` meanwhile in `elapsed`.
    pub fn since(&self, earlier: &Self, elapsed: Duration, requests: u64) -> Usage {
        let cpu_seconds = self.cpu.saturating_sub(earlier.cpu).as_secs_f64();
        Usage {
            cpu_seconds,
            cores: cpu_seconds / elapsed.as_secs_f64().max(1e-9),
            cpu_us_per_request: if requests == 0 { 0.0 } else { cpu_seconds * 1e6 / requests as f64 },
            resident_bytes: self.resident_bytes,
        }
    }
}

/// What a process used while requests were made.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time of all its threads, in seconds.
    pub cpu_seconds: f64,
    /// The same as a share of the time that passed: 1 is one core all the time.
    pub cores: f64,
    /// CPU time by the number of requests, in microseconds.
    pub cpu_us_per_request: f64,
    /// Resident memory at the end, in bytes.
    pub resident_bytes: u64,
}

/// Fields 14 and 15 of `/proc/*/stat`; the second field, a name in brackets, may hold blanks and brackets itself.
fn cpu_time(stat: &str) -> Option<Duration> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    TICK.checked_mul(user.checked_add(system)?)
}

fn resident_bytes(statm: &str) -> Option<u64> {
    statm.split_ascii_whitespace().nth(1)?.parse::<u64>().ok()?.checked_mul(PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 9 0 0 0 150 50 0 0 20 0 3 0 1 2 3";
        assert_eq!(cpu_time(stat), Some(Duration::from_secs(2)));
        assert_eq!(cpu_time("42 (name) S 1"), None);
        assert_eq!(resident_bytes("100 25 3 1 0 9 0"), Some(25 * 4_096));
    }

    #[test]
    fn work_shows_in_the_usage_of_this_process() {
        let before = Reading::of(std::process::id()).unwrap();
        let mut sum = 0_u64;
        let after = loop {
            sum = (0..1_000_000).fold(sum, |sum, number| std::hint::black_box(sum ^ number));
            let now = Reading::of(std::process::id()).unwrap();
            if now.cpu > before.cpu {
                break now;
            }
        };
        let usage = after.since(&before, Duration::from_secs(1), 10);
        assert!(usage.cpu_seconds > 0.0 && usage.resident_bytes > 0, "{usage:?}");
        assert!((usage.cpu_us_per_request * 10.0 / 1e6 - usage.cpu_seconds).abs() < 1e-9);
    }

    #[test]
    fn nobody_is_an_error_that_names_the_number() {
        let error = Reading::of(u32::MAX).unwrap_err().to_string();
        assert!(error.contains("4294967295"), "{error}");
    }
}
