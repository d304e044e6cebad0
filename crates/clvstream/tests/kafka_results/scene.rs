//! An application whose inputs are loaded from files while its instances run.

use fleet::{App, Instance, until};
use kafkalog::topics::{Desired, Purpose, TopicAdmin, TopicRetention};

use crate::PROGRAM;

/// How a file gets into the topics, and who consumes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) partitions: u32,
    /// Partitions of the input, where it is there before the application.
    pub(crate) input: Option<u32>,
    pub(crate) key_by: &'static str,
    pub(crate) instances: u32,
    /// Shuffled within three days, every twentieth event twice.
    pub(crate) disorder: bool,
}

/// A running application.
pub(crate) struct Scene {
    pub(crate) app: App,
    instances: Vec<Instance>,
    way: Way,
    /// Mapping and file.
    source: [String; 2],
}

impl Scene {
    /// Starts the instances, and waits until all of them are ready.
    pub(crate) fn start(
        bootstrap: &str,
        settings: &[&str],
        way: Way,
        mapping: &str,
        file: &str,
    ) -> Scene {
        let partitions = format!("partitions={}", way.partitions);
        // One worker each, so that there is a task for every one of several instances.
        let workers = if way.instances > 1 {
            "workers=1"
        } else {
            "workers=auto"
        };
        let settings = [&[partitions.as_str(), workers], settings].concat();
        let app = App::new(PROGRAM, bootstrap, "results", &settings);
        if let Some(input) = way.input {
            create_input(bootstrap, &app.id, input);
        }
        let names = (0..way.instances).map(|number| format!("i{number}"));
        let instances: Vec<_> = names.map(|name| app.start(&name)).collect();
        for instance in &instances {
            instance.wait_ready();
        }
        until(
            "every task has its instance, and every instance its task",
            || {
                let owned = instances.iter().map(|i| i.metric("clvstream_tasks_owned"));
                let owned: Vec<f64> = owned.collect();
                let idle = owned.iter().filter(|tasks| **tasks == 0.0).count();
                let too_many = way.instances.saturating_sub(way.partitions);
                let all = owned.iter().sum::<f64>() == f64::from(way.partitions);
                (all && idle == too_many as usize).then_some(())
            },
        );
        Scene {
            app,
            instances,
            way,
            source: [format!("--mapping={mapping}"), file.to_owned()],
        }
    }

    /// Loads everything up to `until`, and waits until the instances have consumed it and their
    /// clocks are there.
    pub(crate) fn replay(&mut self, until: &str) {
        let [mapping, file] = &self.source;
        let (until, key_by) = (
            format!("--until={until}"),
            format!("--key-by={}", self.way.key_by),
        );
        let mut args = vec![
            "replay", "--quiet", "--seed=7", mapping, file, &until, &key_by,
        ];
        if self.way.disorder {
            args.extend(["--shuffle-within=3d", "--duplicate=5"]);
        }
        self.app.run("loader", &args);
        for instance in &mut self.instances {
            assert!(instance.is_running(), "{}", instance.log());
        }
    }

    /// Ends the instances, which have to agree.
    pub(crate) fn end(mut self) {
        for instance in &mut self.instances {
            let status = instance.terminate();
            assert!(status.success(), "{status}: {}", instance.log());
        }
    }
}

/// Makes the topic of orders with a number of partitions that is not the application's.
fn create_input(bootstrap: &str, application: &str, partitions: u32) {
    let admin = TopicAdmin::connect(&[("bootstrap.servers".to_owned(), bootstrap.to_owned())]);
    let admin = admin.unwrap();
    let wanted = Desired {
        application: application.to_owned(),
        partitions,
        outputs: partitions,
        generation: 0,
        replication: None,
        inputs: vec!["orders".to_owned()],
        foreign: Vec::new(),
        retention: TopicRetention {
            inputs: None,
            clv_updates: None,
            lifecycle_transitions: None,
            segment_changes: None,
            dead_letters: None,
        },
        max_value_bytes: 2 << 20,
    };
    let mut plan = admin.plan(&wanted, &Default::default()).unwrap();
    plan.topics
        .retain(|topic| topic.spec.purpose == Purpose::Input);
    admin.apply(&plan).unwrap();
}
