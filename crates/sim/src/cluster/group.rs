//! The consumer group: its coordinator, and the part of each member that a client library plays.
//!
//! The coordinator knows members, a generation, and who has which task. A client beats for its member
//! for as long as its process runs, joins again when told to, and keeps changes for the application
//! until that polls; whatever comes meanwhile waits behind.
//!
//! Invariants: a generation has one assignment; a task goes to another member only after its owner has
//! said that it is without it, or is no member any more; offsets of a transaction are accepted only
//! under the present member id and generation (unless neither is given, as old clients did).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use engine::group::Change;

use super::Refusal;
use super::assignor::assign;
use crate::time::Moment;

/// How often a client beats, and looks at itself.
const BEAT: u64 = 1_000;
/// How long an empty group waits for more members.
const FIRST_JOIN: u64 = 300;

/// What a member says to have its offsets accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Membership {
    /// Member id; none after the group has thrown it out.
    pub member: Option<u64>,
    /// Generation, or −1.
    pub generation: i64,
}

/// Timeouts of the group's members, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// Without a beat for this long a member is thrown out.
    pub session: u64,
    /// Without a poll for this long a client leaves. Also how long a rebalance waits for members.
    pub poll: u64,
}

/// What is to happen later in the group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Later {
    /// A client beats, as it does all the time.
    Beat(u64),
    /// A client looks at itself because something has just happened.
    Nudge(u64),
    /// A client hears that everybody has joined.
    Joined(u64, i64),
    /// The leader has sent the assignment.
    Synced(i64),
    /// A client hears of its assignment.
    Assigned(u64, i64),
    /// It is looked for members that have not been heard of.
    Expire,
}

/// What is to happen when: milliseconds from now.
pub(super) type Plan = Vec<(u64, Later)>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Stable,
    /// Members are to join until then.
    Joining(Moment),
    /// They wait for their assignments.
    Syncing,
}

#[derive(Clone, Debug)]
struct Member {
    client: u64,
    heard: Moment,
    has_joined: bool,
    owned: BTreeSet<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Outside,
    Joining,
    Syncing,
    Steady,
    /// Changes wait for the application.
    Serving,
}

/// A member's client library.
#[derive(Clone, Debug)]
struct Client {
    membership: Membership,
    phase: Phase,
    owned: BTreeSet<u32>,
    changes: VecDeque<Change>,
    /// To be joined again once the application has served what waits.
    rejoins: bool,
    /// Thrown out while the application had something to serve.
    is_lost: bool,
    polled: Moment,
    is_paused: bool,
    /// What came while it was paused.
    mail: Vec<Later>,
}

/// The group.
#[derive(Debug)]
pub(super) struct Group {
    tasks: u32,
    patience: Patience,
    state: State,
    generation: i64,
    members: BTreeMap<u64, Member>,
    assignment: BTreeMap<u64, BTreeSet<u32>>,
    clients: BTreeMap<u64, Client>,
    next: u64,
    /// Changes when tasks are to move though nobody comes or goes.
    turn: u64,
    /// Rebalances that came to an assignment.
    pub(super) rebalances: u64,
}

impl Group {
    pub(super) fn new(tasks: u32, patience: Patience) -> Group {
        Group {
            tasks,
            patience,
            state: State::Stable,
            generation: 0,
            members: BTreeMap::new(),
            assignment: BTreeMap::new(),
            clients: BTreeMap::new(),
            next: 0,
            turn: 0,
            rebalances: 0,
        }
    }

    /// A client that wants to be a member. The answer is its number.
    pub(super) fn subscribe(&mut self, now: Moment, plan: &mut Plan) -> u64 {
        self.next += 1;
        let client = Client {
            membership: Membership {
                member: None,
                generation: -1,
            },
            phase: Phase::Outside,
            owned: BTreeSet::new(),
            changes: VecDeque::new(),
            rejoins: false,
            is_lost: false,
            polled: now,
            is_paused: false,
            mail: Vec::new(),
        };
        self.clients.insert(self.next, client);
        plan.push((1, Later::Beat(self.next)));
        self.next
    }

    /// The application polls: what has changed for it. A client of which nothing is known any more
    /// has nothing.
    pub(super) fn poll(&mut self, of: u64, now: Moment, plan: &mut Plan) -> Vec<Change> {
        let Some(client) = self.clients.get_mut(&of) else {
            return Vec::new();
        };
        client.polled = now;
        let Some(change) = client.changes.pop_front() else {
            return Vec::new();
        };
        match &change {
            Change::Assigned(tasks) => client.owned.extend(tasks),
            Change::Revoked(tasks) => client.owned.retain(|task| !tasks.contains(task)),
            Change::Lost(_) => client.owned.clear(),
        }
        if client.changes.is_empty() {
            if std::mem::take(&mut client.is_lost) {
                client.lose();
            } else if matches!(change, Change::Lost(_)) {
                client.phase = Phase::Outside;
            } else if std::mem::take(&mut client.rejoins) {
                self.join(of, now, plan);
                return vec![change];
            } else {
                client.phase = Phase::Steady;
            }
            plan.push((1, Later::Nudge(of)));
        }
        vec![change]
    }

    /// What a client says about its membership.
    pub(super) fn membership(&self, of: u64) -> Membership {
        let client = self.clients.get(&of);
        client.map_or(
            Membership {
                member: None,
                generation: -1,
            },
            |client| client.membership,
        )
    }

    /// Whether offsets may be committed under `membership`.
    pub(super) fn check(&self, membership: Membership) -> Result<(), Refusal> {
        let Membership { member, generation } = membership;
        if member.is_none() && generation < 0 {
            // As brokers do for clients that know no generations: this is why it must never be sent.
            return Ok(());
        }
        let is_member = member.is_some_and(|member| self.members.contains_key(&member));
        if !is_member {
            return Err(Refusal::Abortable("unknown member"));
        }
        if generation != self.generation {
            return Err(Refusal::Abortable("illegal generation"));
        }
        match self.state {
            State::Syncing => Err(Refusal::Abortable("rebalance in progress")),
            State::Stable | State::Joining(_) => Ok(()),
        }
    }

    /// A client leaves as it should.
    pub(super) fn leave(&mut self, of: u64, now: Moment, plan: &mut Plan) {
        if let Some(client) = self.clients.remove(&of)
            && let Some(member) = client.membership.member
        {
            self.remove(member, now, plan);
        }
    }

    /// A client's process is dead: nothing more comes from it.
    pub(super) fn die(&mut self, of: u64) {
        self.clients.remove(&of);
    }

    /// A client's process stands still.
    pub(super) fn pause(&mut self, of: u64) {
        if let Some(client) = self.clients.get_mut(&of) {
            client.is_paused = true;
        }
    }

    /// It goes on.
    pub(super) fn resume(&mut self, of: u64, plan: &mut Plan) {
        if let Some(client) = self.clients.get_mut(&of) {
            client.is_paused = false;
            let mail = std::mem::take(&mut client.mail);
            plan.extend(mail.into_iter().map(|later| (0, later)));
            plan.push((0, Later::Nudge(of)));
        }
    }

    /// Tasks are dealt out anew, others to others.
    pub(super) fn shake(&mut self, now: Moment) {
        self.turn += 1;
        // Who has joined a rebalance that is under way does not join it again.
        if !self.members.is_empty() && !matches!(self.state, State::Joining(_)) {
            self.prepare(now);
        }
    }

    /// Does what was to happen; what is to happen then is added to `plan`. `is_up`: the coordinator
    /// answers.
    pub(super) fn happen(&mut self, what: Later, now: Moment, is_up: bool, plan: &mut Plan) {
        match what {
            Later::Beat(of) | Later::Nudge(of) | Later::Joined(of, _) | Later::Assigned(of, _) => {
                let Some(client) = self.clients.get_mut(&of) else {
                    return;
                };
                if client.is_paused {
                    match what {
                        Later::Beat(_) => plan.push((BEAT, what)),
                        _ => client.mail.push(what),
                    }
                    return;
                }
                if !is_up {
                    plan.push((BEAT / 4, what));
                    return;
                }
            }
            Later::Synced(_) | Later::Expire => {}
        }
        match what {
            Later::Beat(of) => {
                self.beat(of, now, plan);
                plan.push((BEAT, what));
            }
            Later::Nudge(of) => self.beat(of, now, plan),
            Later::Joined(of, generation) => self.joined(of, generation),
            Later::Synced(generation) => self.synced(generation),
            Later::Assigned(of, generation) => self.assigned(of, generation, now, plan),
            Later::Expire => self.expire(now, is_up, plan),
        }
    }

    fn beat(&mut self, of: u64, now: Moment, plan: &mut Plan) {
        let Some(client) = self.clients.get_mut(&of) else {
            return;
        };
        if client.membership.member.is_some() && now.since(client.polled) > self.patience.poll {
            let member = client.membership.member.take();
            client.thrown_out();
            if let Some(member) = member {
                self.remove(member, now, plan);
            }
            return;
        }
        match client.phase {
            Phase::Outside if now.since(client.polled) <= self.patience.poll => {
                self.join(of, now, plan);
            }
            Phase::Outside | Phase::Joining | Phase::Syncing => {}
            Phase::Steady | Phase::Serving => {
                let Membership { member, generation } = client.membership;
                let known = member.and_then(|member| self.members.get_mut(&member));
                match known {
                    None => {
                        client.membership.member = None;
                        client.thrown_out();
                        if client.phase == Phase::Outside {
                            plan.push((1, Later::Nudge(of)));
                        }
                    }
                    Some(known) => {
                        known.heard = now;
                        let is_steady = client.phase == Phase::Steady;
                        if generation != self.generation {
                            client.membership.generation = -1;
                            client.thrown_out();
                        } else if is_steady && matches!(self.state, State::Joining(_)) {
                            self.join(of, now, plan);
                        }
                    }
                }
            }
        }
    }

    fn join(&mut self, of: u64, now: Moment, plan: &mut Plan) {
        let Some(client) = self.clients.get_mut(&of) else {
            return;
        };
        let member = match client.membership.member {
            Some(member) if self.members.contains_key(&member) => member,
            _ if !client.owned.is_empty() => {
                // It is told so, and joins without what it had.
                client.membership.member = None;
                client.lose();
                return;
            }
            _ => {
                self.next += 1;
                self.next
            }
        };
        client.membership.member = Some(member);
        client.phase = Phase::Joining;
        let joined = Member {
            client: of,
            heard: now,
            has_joined: true,
            owned: client.owned.clone(),
        };
        let is_first = self.members.is_empty();
        self.members.insert(member, joined);
        if !matches!(self.state, State::Joining(_)) {
            self.prepare(now);
            if let Some(member) = self.members.get_mut(&member) {
                member.has_joined = true;
            }
        }
        match is_first {
            true => plan.push((FIRST_JOIN, Later::Expire)),
            false => self.complete(now, false, plan),
        }
    }

    /// Everybody is to join again.
    fn prepare(&mut self, now: Moment) {
        self.state = State::Joining(now.plus(self.patience.poll));
        for member in self.members.values_mut() {
            member.has_joined = false;
        }
    }

    fn complete(&mut self, now: Moment, is_late: bool, plan: &mut Plan) {
        if !matches!(self.state, State::Joining(_)) {
            return;
        }
        if is_late {
            self.members.retain(|_, member| member.has_joined);
        }
        if !self.members.values().all(|member| member.has_joined) {
            return;
        }
        self.generation += 1;
        if self.members.is_empty() {
            self.state = State::Stable;
            return;
        }
        self.state = State::Syncing;
        let owned = self.members.iter();
        let owned = owned.map(|(id, member)| (*id, member.owned.clone()));
        self.assignment = assign(self.tasks, &owned.collect(), self.turn);
        self.rebalances += 1;
        let synced = 12 + (self.generation as u64 * 13) % 30;
        for member in self.members.values_mut() {
            member.heard = now;
            member.has_joined = false;
            let after = 1 + (member.client * 7 + self.generation as u64 * 3) % 10;
            plan.push((after, Later::Joined(member.client, self.generation)));
            let after = synced + 1 + (member.client * 11 + self.generation as u64) % 20;
            plan.push((after, Later::Assigned(member.client, self.generation)));
        }
        plan.push((synced, Later::Synced(self.generation)));
    }

    fn joined(&mut self, of: u64, generation: i64) {
        if let Some(client) = self.clients.get_mut(&of)
            && client.phase == Phase::Joining
            && client.membership.generation < generation
        {
            client.membership.generation = generation;
            client.phase = Phase::Syncing;
        }
    }

    fn synced(&mut self, generation: i64) {
        if generation == self.generation && self.state == State::Syncing {
            self.state = State::Stable;
        }
    }

    fn assigned(&mut self, of: u64, generation: i64, now: Moment, plan: &mut Plan) {
        let Some(client) = self.clients.get_mut(&of) else {
            return;
        };
        // Where the answer before this one is still on its way, this one says it too.
        let is_awaited = matches!(client.phase, Phase::Joining | Phase::Syncing);
        if !is_awaited || client.membership.generation > generation {
            return;
        }
        client.membership.generation = generation;
        let member = client.membership.member;
        let Some(known) = member.and_then(|member| self.members.get_mut(&member)) else {
            client.membership.member = None;
            client.thrown_out();
            plan.push((1, Later::Nudge(of)));
            return;
        };
        known.heard = now;
        if self.state != State::Stable || generation != self.generation {
            // There is another rebalance already.
            self.join(of, now, plan);
            return;
        }
        let empty = BTreeSet::new();
        let wanted = member.and_then(|member| self.assignment.get(&member));
        let wanted = wanted.unwrap_or(&empty);
        let revoked: Vec<u32> = client.owned.difference(wanted).copied().collect();
        let added: Vec<u32> = wanted.difference(&client.owned).copied().collect();
        client.rejoins = !revoked.is_empty();
        if !revoked.is_empty() {
            client.changes.push_back(Change::Revoked(revoked));
        }
        if !added.is_empty() {
            client.changes.push_back(Change::Assigned(added));
        }
        client.phase = match client.changes.is_empty() {
            true => Phase::Steady,
            false => Phase::Serving,
        };
    }

    fn remove(&mut self, member: u64, now: Moment, plan: &mut Plan) {
        if self.members.remove(&member).is_none() {
            return;
        }
        match self.state {
            State::Joining(_) => self.complete(now, false, plan),
            State::Stable | State::Syncing => {
                self.prepare(now);
                self.complete(now, false, plan);
            }
        }
    }

    fn expire(&mut self, now: Moment, is_up: bool, plan: &mut Plan) {
        if !is_up {
            // Nobody is thrown out by a coordinator that could not be reached.
            for member in self.members.values_mut() {
                member.heard = now;
            }
            return;
        }
        let is_joining = matches!(self.state, State::Joining(_));
        let session = self.patience.session;
        let silent: Vec<u64> = self
            .members
            .iter()
            .filter(|(_, m)| !(is_joining && m.has_joined) && now.since(m.heard) > session)
            .map(|(id, _)| *id)
            .collect();
        for member in silent {
            self.remove(member, now, plan);
        }
        if let State::Joining(until) = self.state {
            self.complete(now, now >= until, plan);
        }
    }
}

impl Client {
    /// It is no member any more.
    fn thrown_out(&mut self) {
        self.rejoins = false;
        if self.phase == Phase::Serving {
            self.is_lost = true;
        } else {
            self.lose();
        }
    }

    fn lose(&mut self) {
        if self.owned.is_empty() {
            self.phase = Phase::Outside;
            return;
        }
        let owned = self.owned.iter().copied().collect();
        self.changes.push_back(Change::Lost(owned));
        self.phase = Phase::Serving;
    }
}
