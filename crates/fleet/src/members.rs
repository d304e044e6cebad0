//! The instances of an application, each of which dies and comes back under its own name, and may be
//! stopped in between.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::app::{App, Instance, get};

/// What no instance may ever log: it is killed, it never fails.
const NEVER: [&str; 4] = ["panicked", "\"ERROR\"", "a worker failed", "this is a bug"];
/// Whoever is told to end is killed after this time.
const GRACE: Duration = Duration::from_secs(30);
/// Lines of a log that a failure tells.
const TOLD: usize = 60;
/// Counters that are kept over the lives of an instance.
const KEPT: [&str; 4] = [
    "clvstream_records_read_total",
    "clvstream_commits_total",
    "clvstream_fenced_total",
    "clvstream_rebalances_total",
];

/// What instances have counted in their metrics, over all their lives. Of one that was killed it is
/// what was last seen.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Counted(BTreeMap<String, u64>);

/// Instances, started.
#[derive(Debug)]
pub struct Fleet<'a> {
    app: &'a App,
    members: Vec<Member>,
    settings: Vec<String>,
    /// What those who are dead had counted.
    before: Counted,
    /// Complaints that were told.
    told: BTreeSet<String>,
}

#[derive(Debug)]
struct Member {
    name: String,
    /// `None` while it is dead.
    running: Option<Instance>,
    /// Stopped by a signal: it answers nobody.
    is_stopped: bool,
    address: Option<String>,
    /// What it was last seen to have counted.
    counted: Counted,
    born: Instant,
}

impl Counted {
    /// The sum of the samples whose name and labels begin with `prefix`.
    #[must_use]
    pub fn sum(&self, prefix: &str) -> u64 {
        let samples = self.0.iter().filter(|(name, _)| name.starts_with(prefix));
        samples.map(|(_, count)| count).sum()
    }

    /// Adds what others have counted.
    pub fn add(&mut self, others: &Counted) {
        for (name, count) in &others.0 {
            *self.0.entry(name.clone()).or_default() += count;
        }
    }

    fn read(page: &str) -> Counted {
        let lines = page.lines();
        let kept = lines.filter(|line| KEPT.iter().any(|name| line.starts_with(name)));
        let samples = kept.filter_map(|line| {
            let (name, count) = line.rsplit_once(' ')?;
            Some((name.to_owned(), count.parse::<f64>().ok()? as u64))
        });
        Counted(samples.collect())
    }
}

impl<'a> Fleet<'a> {
    /// Starts instances `i0`, `i1` and so on. `settings` are theirs in all their lives.
    #[must_use]
    pub fn start(app: &'a App, size: usize, settings: &[&str]) -> Fleet<'a> {
        let member = |number| {
            let name = format!("i{number}");
            Member {
                running: Some(app.start_with(&name, settings)),
                name,
                is_stopped: false,
                address: None,
                counted: Counted::default(),
                born: Instant::now(),
            }
        };
        Fleet {
            app,
            members: (0..size).map(member).collect(),
            settings: settings.iter().map(|s| (*s).to_owned()).collect(),
            before: Counted::default(),
            told: BTreeSet::new(),
        }
    }

    /// Its application.
    #[must_use]
    pub fn app(&self) -> &'a App {
        self.app
    }

    /// How many there are, dead ones included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// The name of one.
    #[must_use]
    pub fn name(&self, which: usize) -> &str {
        &self.members[which].name
    }

    /// One that is not dead.
    #[must_use]
    pub fn instance(&self, which: usize) -> Option<&Instance> {
        self.members[which].running.as_ref()
    }

    /// What all have counted.
    pub fn counted(&mut self) -> Counted {
        let mut sum = self.before.clone();
        for member in &mut self.members {
            member.look();
            sum.add(&member.counted);
        }
        sum
    }

    /// Records that all have consumed and committed, those that are dead included.
    pub fn consumed(&mut self) -> u64 {
        self.counted().sum("clvstream_records_read_total")
    }

    /// What one has counted in its present life.
    pub fn counted_by(&mut self, which: usize) -> &Counted {
        self.members[which].look();
        &self.members[which].counted
    }

    /// Kills one with signal 9; it stays dead. Answers for how many milliseconds it had lived.
    ///
    /// # Panics
    /// When it is dead already.
    pub fn kill(&mut self, which: usize) -> u128 {
        let member = &mut self.members[which];
        member.look();
        let lived = member.born.elapsed().as_millis();
        let mut instance = self.bury(which).expect("one that is dead cannot be killed");
        instance.kill();
        lived
    }

    /// How one has ended by itself, if it has. It is dead then, and its log is answered with it.
    pub fn ended(&mut self, which: usize) -> Option<(ExitStatus, String)> {
        let status = self.members[which].running.as_mut()?.has_ended()?;
        let instance = self.bury(which)?;
        Some((status, instance.log()))
    }

    fn bury(&mut self, which: usize) -> Option<Instance> {
        let member = &mut self.members[which];
        let instance = member.running.take()?;
        self.before.add(&std::mem::take(&mut member.counted));
        member.address = None;
        member.is_stopped = false;
        Some(instance)
    }

    /// Starts one again that is dead.
    ///
    /// # Panics
    /// When it is not.
    pub fn revive(&mut self, which: usize) {
        self.revive_in(which, &[]);
    }

    /// The same, with variables in its environment.
    ///
    /// # Panics
    /// When it is not dead.
    pub fn revive_in(&mut self, which: usize, environment: &[(&str, &str)]) {
        let member = &mut self.members[which];
        assert!(member.running.is_none());
        let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
        member.running = Some(self.app.start_in(&member.name, &settings, environment));
        member.born = Instant::now();
    }

    /// kill -STOP
    pub fn stop(&mut self, which: usize) {
        let member = &mut self.members[which];
        member.look();
        if let Some(instance) = &member.running {
            instance.stop();
            member.is_stopped = true;
        }
    }

    /// kill -CONT
    pub fn cont(&mut self, which: usize) {
        let member = &mut self.members[which];
        if let Some(instance) = &member.running {
            instance.cont();
        }
        member.is_stopped = false;
    }

    /// Waits until all have found the cluster and their topics: a process that cannot ends at once,
    /// and says so.
    pub fn wait_started(&self) {
        for instance in self.members.iter().filter_map(|m| m.running.as_ref()) {
            let _ = instance.address();
        }
    }

    /// Ends one as who operates it does: told to, and killed if it does not. Answers its log, and how it
    /// ended.
    ///
    /// # Panics
    /// When it is dead already.
    pub fn terminate(&mut self, which: usize) -> (ExitStatus, String) {
        self.members[which].look();
        let mut instance = self.bury(which).expect("one that is dead cannot be ended");
        let status = instance.terminate_within(GRACE);
        (status, instance.log())
    }

    /// Ends all as who operates them does.
    ///
    /// # Panics
    /// When one does not end well.
    pub fn end(mut self) {
        self.assert_sound();
        for which in 0..self.size() {
            let (status, log) = self.terminate(which);
            assert!(status.success(), "{status}\n{log}");
        }
    }

    /// What is wrong with those that are not supposed to be dead, each thing told once.
    pub fn complaints(&mut self) -> Vec<String> {
        let found = self.members.iter_mut().filter_map(Member::complaint);
        let new = found.filter(|complaint| self.told.insert(complaint.clone()));
        new.collect()
    }

    /// All are there, and none has said what it must not.
    ///
    /// # Panics
    /// When that is not so.
    pub fn assert_sound(&mut self) {
        let complaints = self.complaints();
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }

    /// What those that live have logged of a kind, for a report.
    #[must_use]
    pub fn logged(&self, what: &str) -> usize {
        let running = self.members.iter().filter_map(|m| m.running.as_ref());
        running
            .map(|instance| instance.log().matches(what).count())
            .sum()
    }

    /// What those that live have said last.
    #[must_use]
    pub fn last_words(&self) -> String {
        let mut words = String::new();
        for member in &self.members {
            if let Some(instance) = &member.running {
                let log = instance.log();
                words.push_str(&format!("{} said last:\n{}\n", member.name, last(&log)));
            }
        }
        words
    }
}

impl Drop for Fleet<'_> {
    /// A test that fails tells what those that live have said last.
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.last_words());
        }
    }
}

impl Member {
    fn look(&mut self) {
        let Some(instance) = self.running.as_ref().filter(|_| !self.is_stopped) else {
            return;
        };
        // Before that it serves no metrics.
        if self.address.is_none() {
            self.address = instance.known_address();
        }
        let page = self.address.as_ref().and_then(|at| get(at, "/metrics"));
        if let Some(page) = page {
            let seen = Counted::read(&page);
            if !seen.0.is_empty() {
                self.counted = seen;
            }
        }
    }

    fn complaint(&mut self) -> Option<String> {
        let name = &self.name;
        let instance = self.running.as_mut()?;
        let log = instance.log();
        if let Some(status) = instance.has_ended() {
            return Some(format!(
                "{name} ended by itself, {status}; it said last:\n{}",
                last(&log)
            ));
        }
        unheard_of(name, &log)
    }
}

/// The first line of a log that may not be there.
pub(crate) fn unheard_of(name: &str, log: &str) -> Option<String> {
    let mut lines = log.lines();
    let line = lines.find(|line| NEVER.iter().any(|never| line.contains(never)))?;
    Some(format!("{name} says {line}"))
}

fn last(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(TOLD)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_by_what_their_names_begin_with() {
        let page = "# HELP clvstream_commits_total x\n\
                    clvstream_commits_total{outcome=\"committed\"} 12\n\
                    clvstream_commits_total{outcome=\"aborted\"} 3\n\
                    clvstream_tasks_owned 2\n";
        let mut counted = Counted::read(page);
        counted.add(&counted.clone());
        assert_eq!(counted.sum("clvstream_commits_total"), 30);
        assert_eq!(
            counted.sum("clvstream_commits_total{outcome=\"aborted\"}"),
            6
        );
        assert_eq!(counted.sum("clvstream_tasks_owned"), 0);
    }

    #[test]
    fn a_log_may_not_tell_of_a_panic() {
        assert_eq!(unheard_of("i0", "{\"level\":\"INFO\"}\nfine"), None);
        let said = unheard_of("i0", "fine\nthread 'x' panicked at y\n");
        assert_eq!(said.as_deref(), Some("i0 says thread 'x' panicked at y"));
    }
}
