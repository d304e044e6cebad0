//! The instances of an application, each of which dies and comes back under its own name.

use std::time::Instant;

use crate::support::{App, Instance};

/// What no instance may ever log: it is killed, it never fails.
const NEVER: [&str; 4] = ["panicked", "\"ERROR\"", "a worker failed", "this is a bug"];

/// Lines of a log that a failure tells.
const TOLD: usize = 60;

/// Instances, started.
pub(crate) struct Fleet<'a> {
    app: &'a App,
    members: Vec<Member>,
    /// Records that those who are dead had consumed.
    consumed_before: u64,
}

struct Member {
    name: String,
    /// `None` while it is dead.
    running: Option<Instance>,
    /// Records that it was last seen to have consumed.
    consumed: u64,
    born: Instant,
}

impl<'a> Fleet<'a> {
    pub(crate) fn start(app: &'a App, size: usize, settings: &[&str]) -> Fleet<'a> {
        let member = |number| {
            let name = format!("i{number}");
            Member {
                running: Some(app.start_with(&name, settings)),
                name,
                consumed: 0,
                born: Instant::now(),
            }
        };
        Fleet {
            app,
            members: (0..size).map(member).collect(),
            consumed_before: 0,
        }
    }

    /// Records that all have consumed and committed, those that are dead included.
    pub(crate) fn consumed(&mut self) -> u64 {
        for member in &mut self.members {
            member.look();
        }
        let now: u64 = self.members.iter().map(|member| member.consumed).sum();
        self.consumed_before + now
    }

    /// Kills one with signal 9; it stays dead. Answers for how many milliseconds it had lived.
    pub(crate) fn kill(&mut self, which: usize) -> u128 {
        let member = &mut self.members[which];
        member.look();
        member.assert_sound();
        let mut instance = member.running.take().unwrap();
        instance.kill();
        self.consumed_before += std::mem::take(&mut member.consumed);
        member.born.elapsed().as_millis()
    }

    /// Starts one again that was killed.
    pub(crate) fn revive(&mut self, which: usize) {
        let member = &mut self.members[which];
        assert!(member.running.is_none());
        member.running = Some(self.app.start(&member.name));
        member.born = Instant::now();
    }

    /// Waits until all have found the cluster and their topics: a process that cannot ends at once,
    /// and says so.
    pub(crate) fn wait_started(&self) {
        for instance in self.members.iter().filter_map(|m| m.running.as_ref()) {
            instance.logged("\"running\"");
        }
    }

    /// Ends all as one who operates them does.
    pub(crate) fn end(mut self) {
        for member in &mut self.members {
            member.assert_sound();
            let mut instance = member.running.take().unwrap();
            let status = instance.terminate();
            assert!(status.success(), "{status}\n{}", instance.log());
        }
    }

    /// All are there, and none has said what it must not.
    pub(crate) fn assert_sound(&mut self) {
        for member in &mut self.members {
            member.assert_sound();
        }
    }

    /// What those that live have logged of a kind, for a report.
    pub(crate) fn logged(&self, what: &str) -> usize {
        let running = self.members.iter().filter_map(|m| m.running.as_ref());
        running
            .map(|instance| instance.log().matches(what).count())
            .sum()
    }
}

impl Drop for Fleet<'_> {
    /// A test that fails tells what those that live have said last.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for member in &self.members {
            let Some(instance) = &member.running else {
                continue;
            };
            let log = instance.log();
            let lines: Vec<_> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(TOLD)..];
            println!("{} said last:\n{}", member.name, last.join("\n"));
        }
    }
}

impl Member {
    fn look(&mut self) {
        let Some(instance) = &self.running else {
            return;
        };
        // Before that it serves no metrics.
        if instance.log().contains("\"running\"") {
            let seen = instance.metric("clvstream_records_read_total ") as u64;
            self.consumed = self.consumed.max(seen);
        }
    }

    fn assert_sound(&mut self) {
        let name = &self.name;
        let Some(instance) = &mut self.running else {
            return;
        };
        let log = instance.log();
        assert!(
            instance.is_running(),
            "{name} ended by itself; its log:\n{log}"
        );
        for never in NEVER {
            let line = log.lines().find(|line| line.contains(never));
            assert!(line.is_none(), "{name} says {line:?}; its log:\n{log}");
        }
    }
}
