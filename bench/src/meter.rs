//! What a process has used up, as the kernel counts it. Linux only; nothing is measured from within the process itself.

use std::io::{Error, Result};

/// The kernel's unit in `/proc/PID/stat`: ten milliseconds on every Linux that this project runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Since the process began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Used {
    /// Of all its threads, those that have ended included; in steps of ten milliseconds.
    pub cpu_seconds: f64,
    /// Pages made dirty: what goes to the disk, or will. It can be more than what the disk gets.
    pub written_bytes: f64,
}

impl Used {
    /// By this process so far.
    ///
    /// # Errors
    /// It has ended, or belongs to somebody else.
    pub fn by(pid: u32) -> Result<Used> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let io = std::fs::read_to_string(format!("/proc/{pid}/io"))?;
        let ticks = cpu_ticks(&stat).ok_or_else(|| unreadable("stat"))?;
        let written = field(&io, "write_bytes:").ok_or_else(|| unreadable("io"))?;
        Ok(Used { cpu_seconds: ticks / TICKS_PER_SECOND, written_bytes: written })
    }
}

/// Resident memory in MiB, and how much of it is the process's own rather than mapped files.
///
/// # Errors
/// It has ended.
pub fn resident_mib(pid: u32) -> Result<(f64, f64)> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let of = |name| field(&status, name).map(|kib| kib / 1024.0).ok_or_else(|| unreadable("status"));
    Ok((of("VmRSS:")?, of("RssAnon:")?))
}

/// utime and stime. They are counted from the end of the name, which may hold blanks and brackets.
fn cpu_ticks(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let of = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some(of(11)? + of(12)?)
}

fn field(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn unreadable(what: &str) -> Error {
    Error::other(format!("/proc/PID/{what} is not as Linux writes it"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 9 9 20 0 4 0 100 1 1";
        assert_eq!(cpu_ticks(stat), Some(300.0));
        assert_eq!(cpu_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn work_shows_in_what_was_used() {
        let me = std::process::id();
        let (before, begun) = (Used::by(me).unwrap(), Instant::now());
        let mut sum = 0_u64;
        while begun.elapsed().as_secs_f64() < 20.0 && Used::by(me).unwrap().cpu_seconds < before.cpu_seconds + 0.05 {
            sum = (0..100_000_u64).fold(sum, |sum, it| std::hint::black_box(sum.wrapping_add(it)));
        }
        assert!(Used::by(me).unwrap().cpu_seconds >= before.cpu_seconds + 0.05);
        let (resident, own) = resident_mib(me).unwrap();
        assert!(own > 0.0 && own <= resident, "{own} of {resident}");
    }
}
