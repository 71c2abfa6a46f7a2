//! What the figures were measured on. No names of hosts or people.

use std::path::Path;

/// One sentence: processor, memory, kernel, and the file system under `folder`.
pub fn describe(folder: &Path) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into());
    let memory = value(&read("/proc/meminfo"), "MemTotal").and_then(|it| it.trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0);
    let kernel = read("/proc/sys/kernel/osrelease");
    let disk = file_system(&read("/proc/self/mountinfo"), folder).unwrap_or_else(|| "an unknown file system".into());
    format!(
        "{cores} × {model}, {:.0} GiB, Linux {}, {disk}",
        memory / (1 << 20) as f64,
        kernel.split('-').next().unwrap_or_default().trim()
    )
}

fn value(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim_start().strip_prefix(':')?.trim().to_string())
}

/// The type of the innermost mount that holds the folder.
fn file_system(mounts: &str, folder: &Path) -> Option<String> {
    let mount = |line: &str| {
        let (place, rest) = line.split_once(" - ")?;
        Some((place.split(' ').nth(4)?.to_string(), rest.split(' ').next()?.to_string()))
    };
    let holding = mounts.lines().filter_map(mount).filter(|(place, _)| folder.starts_with(place));
    holding.max_by_key(|(place, _)| place.len()).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_mount_counts() {
        let mounts = "22 1 254:0 / / rw - ext4 /dev/vda rw\n30 22 0:26 / /tmp rw shared:1 - tmpfs tmpfs rw\n";
        assert_eq!(file_system(mounts, Path::new("/tmp/x")).as_deref(), Some("tmpfs"));
        assert_eq!(file_system(mounts, Path::new("/tmpx")).as_deref(), Some("ext4"));
        assert_eq!(value("model name\t: A chip\n", "model name").as_deref(), Some("A chip"));
    }
}
