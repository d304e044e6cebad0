//! What the machine, or the container, gives: cores and memory. Answers for the configuration's
//! `"auto"`.

use std::path::Path;

use config::Config;

/// Taken where nothing can be found out.
const ASSUMED_MEMORY: u64 = 1 << 30;

/// Worker threads to start.
#[must_use]
pub fn workers(config: &Config) -> u32 {
    let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
    let wanted = config
        .workers
        .unwrap_or_else(|| u32::try_from(cores()).unwrap_or(u32::MAX));
    wanted.clamp(1, config.partitions)
}

/// Bytes for caches and write buffers: as configured, or half of what there is.
#[must_use]
pub fn memory_budget(config: &Config) -> u64 {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).ok();
    config.state.memory_budget.unwrap_or_else(|| {
        let found = memory(
            read("/sys/fs/cgroup/memory.max"),
            read("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
            read("/proc/meminfo"),
        );
        found.unwrap_or(ASSUMED_MEMORY) / 2
    })
}

/// The lowest of the limits of cgroups 2 and 1 and of the machine, from the files that state them.
fn memory(
    cgroup2: Option<String>,
    cgroup1: Option<String>,
    meminfo: Option<String>,
) -> Option<u64> {
    // "max" stands for no limit, and is no number.
    let limit = |text: Option<String>| text?.trim().parse::<u64>().ok();
    let machine = meminfo.and_then(|text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024)
    });
    [limit(cgroup2), limit(cgroup1), machine]
        .into_iter()
        .flatten()
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_limit_counts() {
        let text = |text: &str| Some(text.to_owned());
        let meminfo = || text("MemTotal:       16384 kB\nMemFree:         100 kB\n");
        assert_eq!(memory(text("max\n"), None, meminfo()), Some(16 << 20));
        assert_eq!(memory(text("4096\n"), None, meminfo()), Some(4096));
        // Version 1 states a huge number for no limit.
        let none = text("9223372036854771712\n");
        assert_eq!(memory(None, none, meminfo()), Some(16 << 20));
        assert_eq!(memory(None, None, None), None);
    }

    #[test]
    fn there_is_never_more_than_one_worker_per_partition() {
        let config = |overrides: &[&str]| {
            let overrides: Vec<String> = overrides.iter().map(ToString::to_string).collect();
            config::load(None, &overrides).unwrap().config
        };
        assert_eq!(workers(&config(&["partitions=1"])), 1);
        assert_eq!(workers(&config(&["partitions=8", "workers=3"])), 3);
        assert!(memory_budget(&config(&["state.memory_budget=128MiB"])) == 128 << 20);
    }
}
