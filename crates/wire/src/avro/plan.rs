//! A writer schema, compiled to what reading it has to do.

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, RecordSchema, UuidSchema};

use crate::input::slot::{LineSlot, Slot, top_level};

/// The most that a plan may hold: nodes, fields and symbols together. Types that are named again and
/// again cost each time, so that a small schema could otherwise make a huge plan.
const ROOM: usize = 20_000;

/// How deep types may stand in each other, also by reference.
const DEEPEST: usize = 128;

/// Where a plain value goes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Sink {
    Skip,
    Event(Slot),
    Line(LineSlot),
}

/// A node of the plan, by its position in it.
pub(super) type NodeId = usize;

/// What the bytes at one place of the schema are.
#[derive(Debug)]
pub(super) enum Node {
    /// A plain value.
    Leaf(Leaf, Sink),
    Record {
        fields: Box<[NodeId]>,
        names: Box<[Box<str>]>,
    },
    Union(Box<[NodeId]>),
    Array(NodeId),
    Map(NodeId),
    /// An array whose items are lines of an order or a refund.
    Lines(NodeId),
    /// The child where a plain value belongs: read, dropped, and noted as a wrong type.
    Complex(NodeId, Sink),
}

/// The encodings of plain values.
#[derive(Debug)]
pub(super) enum Leaf {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Symbol(Box<[Box<str>]>),
    Fixed(usize),
    /// Unscaled big-endian bytes, behind a length unless of fixed size.
    Decimal {
        scale: u32,
        size: Option<usize>,
    },
    UuidBytes(Option<usize>),
    Date,
    /// How many of it make a millisecond, and whether it says which instant it is.
    Timestamp {
        per_ms: i64,
        is_local: bool,
    },
}

/// What a schema means at the place where it stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Role {
    Event,
    Campaign,
    Products,
    Line,
    Plain(Sink),
}

/// How to read the records of one writer schema.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
    /// The schema's name in snake case: the event's name where the record has no field `type`.
    pub(super) type_name: String,
    size: usize,
}

impl Plan {
    /// Compiles `schema`.
    ///
    /// # Errors
    /// The schema refers to a type that it does not define, or is too large or too deep.
    pub(crate) fn compile(schema: &Schema) -> Result<Plan, String> {
        Plan::compile_within(schema, schema)
    }

    /// Compiles `schema`, which may refer to the named types of `all`.
    ///
    /// # Errors
    /// The schema refers to a type that is not defined, or is too large or too deep.
    pub(crate) fn compile_within(schema: &Schema, all: &Schema) -> Result<Plan, String> {
        let mut names = BTreeMap::new();
        collect(all, &mut names);
        let mut compiler = Compiler {
            names,
            nodes: Vec::new(),
            done: BTreeMap::new(),
            room: ROOM,
            depth: 0,
        };
        let root = compiler.node(schema, Role::Event)?;
        let type_name = schema.name().map_or("", |name| name.name());
        Ok(Plan {
            nodes: compiler.nodes,
            root,
            type_name: snake_case(type_name),
            size: ROOM - compiler.room,
        })
    }

    /// How much it holds: nodes, fields and symbols.
    pub(crate) fn size(&self) -> usize {
        self.size
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// Every named type of `schema` by its full name. The parser has put namespaces into all names,
/// those of references too: a name without one has none, whatever it stands in.
fn collect<'s>(schema: &'s Schema, names: &mut BTreeMap<String, &'s Schema>) {
    if let Some(name) = schema.name()
        && !matches!(schema, Schema::Ref { .. })
    {
        names.insert(name.fullname(None), schema);
    }
    match schema {
        Schema::Array(array) => collect(&array.items, names),
        Schema::Map(map) => collect(&map.types, names),
        Schema::Union(union) => {
            for branch in union.variants() {
                collect(branch, names);
            }
        }
        Schema::Record(record) => {
            for field in &record.fields {
                collect(&field.schema, names);
            }
        }
        _ => {}
    }
}

struct Compiler<'s> {
    names: BTreeMap<String, &'s Schema>,
    nodes: Vec<Node>,
    /// Records compiled so far, by full name and role: recursive types end here.
    done: BTreeMap<(String, Role), NodeId>,
    /// How much more may come.
    room: usize,
    /// How deep the type that is being compiled stands.
    depth: usize,
}

impl<'s> Compiler<'s> {
    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn spend(&mut self, count: usize) -> Result<(), String> {
        let left = self.room.checked_sub(count);
        self.room = left.ok_or_else(|| {
            format!("it has more than {ROOM} fields, types and symbols: cut it down")
        })?;
        Ok(())
    }

    fn node(&mut self, schema: &'s Schema, role: Role) -> Result<NodeId, String> {
        if self.depth >= DEEPEST {
            return Err(format!(
                "its types stand deeper than {DEEPEST} in each other"
            ));
        }
        self.spend(1)?;
        self.depth += 1;
        let node = self.type_of(schema, role);
        self.depth -= 1;
        node
    }

    fn type_of(&mut self, schema: &'s Schema, role: Role) -> Result<NodeId, String> {
        match schema {
            Schema::Ref { name } => {
                let full = name.fullname(None);
                let found = self.names.get(&full).copied();
                let found = found.ok_or_else(|| format!("type {full} is not defined"))?;
                self.node(found, role)
            }
            Schema::Union(union) => {
                let branches = union.variants().iter();
                let branches = branches.map(|branch| self.node(branch, role));
                let branches = branches.collect::<Result<_, _>>()?;
                Ok(self.push(Node::Union(branches)))
            }
            Schema::Array(array) if role == Role::Products => {
                let items = self.node(&array.items, Role::Line)?;
                Ok(self.push(Node::Lines(items)))
            }
            Schema::Array(array) => self.container(&array.items, role, Node::Array),
            Schema::Map(map) => self.container(&map.types, role, Node::Map),
            Schema::Record(record) => self.record(record, role),
            leaf => {
                if let Schema::Enum(symbols) = leaf {
                    self.spend(symbols.symbols.len())?;
                }
                Ok(self.push(Node::Leaf(leaf_of(leaf), sink_of(role))))
            }
        }
    }

    /// An array or a map: nothing inside it is a field of the event.
    fn container(
        &mut self,
        items: &'s Schema,
        role: Role,
        node: fn(NodeId) -> Node,
    ) -> Result<NodeId, String> {
        let items = self.node(items, Role::Plain(Sink::Skip))?;
        let container = self.push(node(items));
        Ok(self.note_if_misplaced(container, role))
    }

    fn record(&mut self, record: &'s RecordSchema, role: Role) -> Result<NodeId, String> {
        let key = (record.name.fullname(None), role);
        if let Some(done) = self.done.get(&key) {
            return Ok(*done);
        }
        let misplaced = match role {
            Role::Event | Role::Campaign | Role::Line => false,
            Role::Plain(sink) => sink != Sink::Skip,
            Role::Products => true,
        };
        if misplaced {
            let inner = self.record(record, Role::Plain(Sink::Skip))?;
            return Ok(self.note_if_misplaced(inner, role));
        }
        // Known before its fields are, so that they may refer to it.
        let id = self.push(Node::Leaf(Leaf::Null, Sink::Skip));
        self.done.insert(key, id);
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            fields.push(self.node(&field.schema, field_role(role, &field.name))?);
        }
        let names = record.fields.iter().map(|f| f.name.as_str().into());
        self.nodes[id] = Node::Record {
            fields: fields.into(),
            names: names.collect(),
        };
        Ok(id)
    }

    fn note_if_misplaced(&mut self, node: NodeId, role: Role) -> NodeId {
        match sink_of(role) {
            Sink::Skip => node,
            sink => self.push(Node::Complex(node, sink)),
        }
    }
}

/// What the field `name` of a record in `role` is.
fn field_role(role: Role, name: &str) -> Role {
    let skip = Role::Plain(Sink::Skip);
    let event = |slot: Option<Slot>| slot.map_or(skip, |slot| Role::Plain(Sink::Event(slot)));
    match (role, name) {
        (Role::Event, "campaign") => Role::Campaign,
        (Role::Event, "products") => Role::Products,
        (Role::Event, name) => event(top_level(name)),
        (Role::Campaign, name) => event(Slot::in_campaign(name)),
        (Role::Line, name) => {
            LineSlot::by_name(name).map_or(skip, |slot| Role::Plain(Sink::Line(slot)))
        }
        (Role::Products | Role::Plain(_), _) => skip,
    }
}

/// Where a value other than the one that `role` asks for goes: to a slot that carries the fault.
fn sink_of(role: Role) -> Sink {
    match role {
        Role::Event => Sink::Skip,
        Role::Campaign => Sink::Event(Slot::CampaignSource),
        Role::Products | Role::Line => Sink::Event(Slot::Products),
        Role::Plain(sink) => sink,
    }
}

fn leaf_of(schema: &Schema) -> Leaf {
    let timestamp = |per_ms, is_local| Leaf::Timestamp { per_ms, is_local };
    match schema {
        Schema::Boolean => Leaf::Boolean,
        Schema::Int | Schema::TimeMillis => Leaf::Int,
        Schema::Long | Schema::TimeMicros => Leaf::Long,
        Schema::Float => Leaf::Float,
        Schema::Double => Leaf::Double,
        Schema::Bytes | Schema::BigDecimal => Leaf::Bytes,
        Schema::String | Schema::Uuid(UuidSchema::String) => Leaf::Text,
        Schema::Uuid(UuidSchema::Bytes) => Leaf::UuidBytes(None),
        Schema::Uuid(UuidSchema::Fixed(fixed)) => Leaf::UuidBytes(Some(fixed.size)),
        Schema::Enum(symbols) => {
            Leaf::Symbol(symbols.symbols.iter().map(|s| s.as_str().into()).collect())
        }
        Schema::Fixed(fixed) | Schema::Duration(fixed) => Leaf::Fixed(fixed.size),
        Schema::Decimal(decimal) => Leaf::Decimal {
            scale: u32::try_from(decimal.scale).unwrap_or(u32::MAX),
            size: match &decimal.inner {
                InnerDecimalSchema::Bytes => None,
                InnerDecimalSchema::Fixed(fixed) => Some(fixed.size),
            },
        },
        Schema::Date => Leaf::Date,
        Schema::TimestampMillis => timestamp(1, false),
        Schema::TimestampMicros => timestamp(1_000, false),
        Schema::TimestampNanos => timestamp(1_000_000, false),
        Schema::LocalTimestampMillis => timestamp(1, true),
        Schema::LocalTimestampMicros => timestamp(1_000, true),
        Schema::LocalTimestampNanos => timestamp(1_000_000, true),
        // The others are no leaves; see `Compiler::type_of`.
        _ => Leaf::Null,
    }
}
