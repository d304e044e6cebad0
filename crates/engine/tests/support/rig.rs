//! One worker over `n` tasks, on a log and stores in memory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use domain::definitions::Definitions;
use domain::event::Event;
use domain::money::Currency;
use domain::orders::DayTotals;
use domain::profile::{Profile, View};
use domain::time::{Day, TimeMs};
use engine::bookkeeping::{Bookkeeping, Counts};
use engine::chain::Head;
use engine::commit_record::CommitRecord;
use engine::port::{CommitError, Table, TopicName, TopicPartition};
use engine::repartition::{self, Kept};
use engine::task::{Setup, Task};
use engine::topics::Topics;
use engine::worker::{Owned, Worker, WorkerError};
use serde_json::{Value, json};
use wire::mapping::Mapping;
use wire::routed::Routed;
use wire::state::{decode_day, decode_profile, derived_timer, split_day_key};
use wire::{
    Decoder, Encoder, Format, InputRules, Inputs, OutputEncoder, SchemaSet, currency_by_code,
    partition_of,
};

use super::map_store::MapStore;
use super::memory_log::{MemoryLog, Stored};

/// The inputs, each with as many partitions as there are tasks at first.
pub(crate) const INPUTS: [&str; 3] = ["clicks", "orders", FOREIGN];

/// An input that is read by a mapping: lists of events.
pub(crate) const FOREIGN: &str = "foreign";

/// Task, table, key and value.
pub(crate) type StateEntry = (u32, Table, Vec<u8>, Arc<[u8]>);

/// What others see, by topic and partition.
pub(crate) type Outputs = BTreeMap<(TopicName, u32), Vec<Stored>>;

/// A worker, its log, its stores.
pub(crate) struct Rig {
    pub(crate) log: MemoryLog,
    setup: Arc<Setup>,
    schemas: SchemaSet,
    encoder: Encoder,
    reader: Decoder,
    worker: Worker<MapStore>,
    told: BTreeMap<TopicPartition, usize>,
    /// Of every input.
    partitions: u32,
}

pub(crate) fn currency() -> Currency {
    currency_by_code("USD", None).expect("a currency")
}

pub(crate) fn definitions() -> Definitions {
    Definitions::preset(currency())
}

/// What every task of the shop is set up with.
pub(crate) fn setup(tasks: u32, definitions: Definitions) -> Setup {
    let schemas = SchemaSet::embedded().expect("schemas");
    Setup {
        application: "shop".into(),
        tasks,
        outputs: tasks,
        topics: Topics::of("shop"),
        definitions: Arc::new(definitions),
        encoder: OutputEncoder::new(Format::Avro, &schemas).expect("an encoder"),
    }
}

impl Rig {
    pub(crate) fn new(tasks: u32) -> Rig {
        Rig::with(tasks, definitions())
    }

    pub(crate) fn with(tasks: u32, definitions: Definitions) -> Rig {
        let schemas = SchemaSet::embedded().expect("schemas");
        let setup = Arc::new(setup(tasks, definitions));
        let stores = (0..tasks).map(|_| MapStore::default()).collect();
        Rig {
            log: MemoryLog::new(setup.topics.changelog.clone()),
            worker: worker(&setup, tasks, &schemas, stores),
            partitions: tasks,
            encoder: Encoder::new(currency(), &schemas).expect("an encoder"),
            reader: decoder(&schemas),
            setup,
            schemas,
            told: BTreeMap::new(),
        }
    }

    /// What its tasks know besides their records.
    pub(crate) fn setup(&self) -> &Arc<Setup> {
        &self.setup
    }

    /// What decodes its inputs.
    pub(crate) fn inputs(&self) -> Inputs {
        inputs(&self.schemas)
    }

    /// The partitions that a task reads.
    pub(crate) fn inputs_of(&self, task: u32) -> Vec<TopicPartition> {
        inputs_of(&self.setup, self.partitions, task)
    }

    /// Another number of tasks goes on with what is there; everything routed has been consumed.
    pub(crate) fn repartition(self, to: u32) -> Rig {
        let Rig {
            mut log,
            mut worker,
            ..
        } = self;
        let topics = Topics::of_generation("shop", self.setup.topics.generation + 1);
        let mut books = Vec::new();
        let mut kept = Vec::new();
        let mut stores: Vec<MapStore> = (0..to).map(|_| MapStore::default()).collect();
        let mut offset = 0;
        for owned in worker.owned() {
            books.push(owned.task.bookkeeping().clone());
            let tables = owned.store.tables();
            for (key, value) in tables.table(Table::Profiles) {
                let store = &mut stores[repartition::owner(key, to) as usize];
                store.restore(offset, &Table::Profiles.full_key(key), Some(value));
                offset += 1;
            }
            kept.push(Kept::read(&owned.store).expect("state"));
        }
        let inputs: Vec<_> = INPUTS
            .iter()
            .map(|topic| (TopicName::from(*topic), self.partitions))
            .collect();
        let books = repartition::bookkeeping(&books, to, &inputs);
        let kept = repartition::kept(&kept, to);
        for ((task, book), kept) in (0..).zip(books).zip(&kept) {
            let begun = repartition::beginning(&topics, task, book, kept, Vec::new());
            let logged = begun.records.iter();
            for record in logged.filter(|record| record.target.topic == topics.changelog) {
                let key = record.key.as_deref().expect("a key");
                stores[task as usize].restore(offset, key, record.value.as_deref());
                offset += 1;
            }
        }
        let setup = Arc::new(Setup {
            tasks: to,
            topics,
            ..Setup::clone(&self.setup)
        });
        log.goes_on_in(setup.topics.changelog.clone());
        Rig {
            worker: self::worker(&setup, self.partitions, &self.schemas, stores),
            log,
            setup,
            ..self
        }
    }

    /// Who owns `event`, by partition.
    pub(crate) fn owner_of(&self, event: &Event) -> u32 {
        let key = event.owner().expect("an owner").key();
        partition_of(key.as_bytes(), self.setup.tasks)
    }

    /// To its owner's partition: order facts to `orders`, the rest to `clicks`.
    pub(crate) fn send(&mut self, event: &Event) {
        self.send_to(self.owner_of(event), event);
    }

    /// To a partition of the same topics that may be the wrong one.
    pub(crate) fn send_to(&mut self, partition: u32, event: &Event) {
        let topic = INPUTS[usize::from(event.body.is_order_fact())];
        let value = self.encoded(event);
        self.send_bytes(topic, partition, event.time, b"k", &value);
    }

    pub(crate) fn encoded(&self, event: &Event) -> Vec<u8> {
        self.encoder.encode(event, Format::Avro).expect("a schema")
    }

    pub(crate) fn send_bytes(
        &mut self,
        topic: &str,
        partition: u32,
        at: TimeMs,
        key: &[u8],
        value: &[u8],
    ) {
        let stored = Stored {
            timestamp: at,
            key: Some(key.to_vec()),
            value: Some(value.to_vec()),
            headers: Vec::new(),
        };
        self.log.append(&source(topic, partition), stored);
    }

    /// `events` as one record of the foreign input.
    pub(crate) fn send_foreign(&mut self, partition: u32, events: &[Event]) {
        let encoded = |event| self.encoder.encode(event, Format::Json).expect("JSON");
        let events: Vec<Value> = events
            .iter()
            .map(|event| serde_json::from_slice(&encoded(event)).expect("JSON"))
            .collect();
        let value = json!({ "events": events }).to_string();
        let at = TimeMs(4_000_000_000_000);
        self.send_bytes(FOREIGN, partition, at, b"k", value.as_bytes());
    }

    /// A control record to one task.
    pub(crate) fn control(&mut self, task: u32, control: &Routed) {
        let topic = self.setup.topics.routed.to_string();
        self.send_bytes(&topic, task, TimeMs(0), b"", &control.encode());
    }

    /// A control record to every task.
    pub(crate) fn control_all(&mut self, control: &Routed) {
        (0..self.setup.tasks).for_each(|task| self.control(task, control));
    }

    /// Processes up to `budget` records of each task and commits them. `Ok(false)`: there was
    /// nothing to do. A commit that fails leaves the rig as its worker stands then.
    pub(crate) fn once(&mut self, budget: usize) -> Result<bool, CommitError> {
        let done = match self.worker.process(&mut self.log, budget) {
            Ok(done) => done,
            Err(error) => panic!("{error}"),
        };
        match self.worker.commit(&mut self.log) {
            Ok(()) => Ok(done.steps > 0),
            Err(WorkerError::Commit(error)) => Err(error),
            Err(error) => panic!("{error}"),
        }
    }

    /// Goes on until there is nothing left, `budget` steps to a commit.
    pub(crate) fn run(&mut self, budget: usize) {
        for _ in 0..1_000_000 {
            if !self.once(budget).expect("a commit") {
                return;
            }
        }
        panic!("the worker never comes to an end");
    }

    /// Every store is checkpointed.
    pub(crate) fn checkpoint(&mut self) {
        for owned in self.worker.owned() {
            owned.store.checkpoint();
        }
    }

    /// The process dies and another one starts on what is left.
    pub(crate) fn crash(&mut self) {
        self.log.rewind();
        let mut stores = Vec::new();
        for owned in self.worker.owned() {
            let changelog = TopicPartition {
                topic: self.setup.topics.changelog.clone(),
                partition: owned.task.id(),
            };
            let mut store = std::mem::take(&mut owned.store);
            store.crash(self.log.records(&changelog));
            stores.push(store);
        }
        self.worker = worker(&self.setup, self.partitions, &self.schemas, stores);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.worker.counts()
    }

    pub(crate) fn book(&mut self, task: usize) -> Bookkeeping {
        self.worker.owned()[task].task.bookkeeping().clone()
    }

    /// Its tasks.
    pub(crate) fn tasks(&mut self) -> Vec<&Task> {
        self.worker
            .owned()
            .iter()
            .map(|owned| &owned.task)
            .collect()
    }

    pub(crate) fn topics(&self) -> &Topics {
        &self.setup.topics
    }

    /// The committed state of one task.
    pub(crate) fn store(&mut self, task: usize) -> &MapStore {
        &self.worker.owned()[task].store
    }

    /// Every profile, decoded.
    pub(crate) fn profiles(&mut self) -> BTreeMap<String, Profile> {
        let mut all = BTreeMap::new();
        for owned in self.worker.owned() {
            for (key, bytes) in owned.store.tables().table(Table::Profiles) {
                let profile = decode_profile(bytes, owned.task.versions()).expect("a profile");
                let key = String::from_utf8(key.clone()).expect("a key");
                assert!(all.insert(key, profile).is_none(), "one owner per profile");
            }
        }
        all
    }

    /// What is known about everybody in the end.
    pub(crate) fn views(&mut self) -> BTreeMap<String, View> {
        let profiles = self.profiles().into_iter();
        profiles.map(|(key, profile)| (key, profile.live)).collect()
    }

    /// The shop's days, summed over tasks.
    pub(crate) fn days(&mut self) -> BTreeMap<Day, DayTotals> {
        let mut sum: BTreeMap<Day, DayTotals> = BTreeMap::new();
        for owned in self.worker.owned() {
            for (key, bytes) in owned.store.tables().table(Table::Days) {
                let day = split_day_key(key).expect("a day");
                let part = decode_day(bytes).expect("totals");
                sum.entry(day).or_default().add(&part);
            }
        }
        sum
    }

    /// Profiles, days and bookkeeping of all tasks, as bytes, but for the chain of commits. Of the
    /// timers, it is checked that what the profiles have armed is there.
    pub(crate) fn state(&mut self) -> Vec<StateEntry> {
        let mut all = Vec::new();
        for owned in self.worker.owned() {
            let tables = owned.store.tables();
            for table in Table::ALL.into_iter().filter(|t| t.is_logged()) {
                for (key, value) in tables.table(table) {
                    all.push(state_entry(owned.task.id(), table, key, value));
                }
            }
            for (key, value) in tables.table(Table::Profiles) {
                if let Some(timer) = derived_timer(key, value) {
                    assert!(
                        tables.table(Table::Timers).contains_key(&timer),
                        "an armed timer is missing"
                    );
                }
            }
        }
        all
    }

    /// Outputs and dead letters: everything that others see, by topic and partition.
    pub(crate) fn outputs(&self) -> Outputs {
        outputs_in(&self.log, &self.setup.topics)
    }

    /// The commit records of one task.
    pub(crate) fn commits(&self, task: u32) -> Vec<CommitRecord> {
        let at = TopicPartition {
            topic: self.setup.topics.commits.clone(),
            partition: task,
        };
        let records = self.log.records(&at).iter();
        let decoded = records.map(|r| CommitRecord::decode(r.value.as_deref().expect("a value")));
        decoded.map(|record| record.expect("a record")).collect()
    }

    /// One output, decoded.
    pub(crate) fn json(&self, record: &Stored) -> Value {
        let value = record.value.as_deref().expect("a value");
        self.reader.to_json(value).expect("a readable output")
    }

    /// What was said since the last call, one line per record, topic by topic.
    pub(crate) fn said(&mut self) -> String {
        let mut out = String::new();
        for ((topic, partition), records) in self.outputs() {
            let at = self.told.entry(TopicPartition {
                topic: topic.clone(),
                partition,
            });
            let from = std::mem::replace(at.or_default(), records.len());
            for record in &records[from..] {
                if topic == self.setup.topics.dead_letters {
                    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
                    let key = record.key.as_deref().map(text);
                    let value = record.value.as_deref().map(text);
                    let _ = writeln!(out, "dead {key:?} {value:?}");
                    for (name, value) in &record.headers {
                        let _ = writeln!(out, "  {name}: {}", text(value));
                    }
                } else {
                    let _ = writeln!(out, "{}", line(&self.json(record)));
                }
            }
        }
        out
    }
}

/// Everything that others see in `log`.
pub(crate) fn outputs_in(log: &MemoryLog, topics: &Topics) -> Outputs {
    let mut all = BTreeMap::new();
    for topic in topics.outputs().into_iter().chain([&topics.dead_letters]) {
        for (partition, records) in log.topic(topic) {
            all.insert((topic.clone(), partition), records.to_vec());
        }
    }
    all
}

/// An output on one line.
pub(crate) fn line(json: &Value) -> String {
    let text = |field: &str| match &json[field] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let reason = |field: &str| json["reason"][field].as_str().unwrap_or_default();
    let (who, number, as_of) = (text("customer"), &json["sequence"], text("as_of"));
    let what = if json["historic"].is_object() {
        format!(
            "{} clv {} by {} orders, {} ({})",
            text("kind"),
            json["historic"]["net"],
            json["orders"],
            text("value_status"),
            json["delta"]
        )
    } else if json["model"].is_string() {
        let mut what = format!(
            "{} {}: {} -> {}, {}",
            reason("kind"),
            text("model"),
            text("from"),
            text("to"),
            reason("rule")
        );
        for skipped in json["skipped"].as_array().into_iter().flatten() {
            let _ = write!(what, ", skips {}", skipped.as_str().unwrap_or_default());
        }
        if let Some(corrected) = json["correction_of"].as_i64() {
            let _ = write!(what, ", corrects #{corrected}");
        }
        what
    } else {
        format!("{} {} {}", reason("kind"), text("action"), text("segment"))
    };
    format!("{who} #{number} {as_of} {what}")
}

/// An entry of state, to be compared: where batches ended does not count, and the chain of commits is
/// of that.
pub(crate) fn state_entry(task: u32, table: Table, key: &[u8], value: &Arc<[u8]>) -> StateEntry {
    let value = if table == Table::Meta {
        let mut book = Bookkeeping::decode(value).expect("a task's bookkeeping");
        book.chain = Head::default();
        Arc::from(book.encode().as_slice())
    } else {
        value.clone()
    };
    (task, table, key.to_vec(), value)
}

fn source(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition {
        topic: topic.into(),
        partition,
    }
}

fn inputs_of(setup: &Setup, partitions: u32, task: u32) -> Vec<TopicPartition> {
    let own = (task..partitions).step_by(setup.tasks as usize);
    let mut inputs: Vec<_> = INPUTS
        .iter()
        .flat_map(|topic| own.clone().map(|partition| source(topic, partition)))
        .collect();
    inputs.push(source(&setup.topics.routed, task));
    inputs
}

fn decoder(schemas: &SchemaSet) -> Decoder {
    Decoder::new(InputRules::new(currency()), schemas).expect("a decoder")
}

/// Fields of each type of event in the foreign input, besides those that all have.
const FOREIGN_TYPES: [(&str, &[&str]); 9] = [
    ("page_viewed", &[]),
    ("lead_captured", &[]),
    ("product_viewed", &["product_id", "category"]),
    ("product_added", &["product_id", "category", "quantity"]),
    ("nps_answered", &["score"]),
    ("order_completed", &["order_id", "subtotal", "total"]),
    ("order_refunded", &["refund_id", "order_id", "amount"]),
    ("order_cancelled", &["order_id"]),
    ("order_delivered", &["order_id"]),
];

/// The rule of the foreign input's mapping that is for `event`.
pub(crate) fn foreign_rule(event: &Event) -> Option<usize> {
    let of = event.body.type_name();
    FOREIGN_TYPES.iter().position(|(name, _)| *name == of)
}

/// What reads the inputs.
pub(crate) fn inputs(schemas: &SchemaSet) -> Inputs {
    let mut text = "format = \"json\"\n[time]\nformat = [\"iso\", \"epoch_ms\"]\n".to_owned();
    for (name, fields) in FOREIGN_TYPES {
        let _ = writeln!(text, "[[event]]\ntype = \"{name}\"\nfor_each = \"events\"");
        let _ = writeln!(text, "when = {{ type = \"{name}\" }}\n[event.fields]");
        for field in ["event_id", "event_time", "customer_id"]
            .iter()
            .chain(fields)
        {
            let _ = writeln!(text, "{field} = \"{{{field}}}\"");
        }
    }
    let mapping = Mapping::parse("foreign.toml", &text).expect("a mapping");
    let mapped = BTreeMap::from([(FOREIGN.to_owned(), Arc::new(mapping))]);
    Inputs::new(decoder(schemas), mapped).expect("a mapping for a topic")
}

fn worker(
    setup: &Arc<Setup>,
    partitions: u32,
    schemas: &SchemaSet,
    stores: Vec<MapStore>,
) -> Worker<MapStore> {
    let owned = stores
        .into_iter()
        .zip(0..)
        .map(|(store, id)| {
            let inputs = inputs_of(setup, partitions, id);
            let task = Task::open(id, setup.clone(), inputs, &store).expect("a task");
            Owned { task, store }
        })
        .collect();
    Worker::new(owned, inputs(schemas), setup.topics.routed.clone())
}
