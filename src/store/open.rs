//! What is open, kept in memory by an engine beside its records: where every open call stands in time, by state and groups,
//! how many each agent has, how many letters wait. So the list of somebody who may see a few of ten thousand calls, and every
//! number on a page, cost no reading of calls. Filled by the engines when they open and with every change that is durable.

use super::rules::{Cursor, Start};
use super::{Change, Kind, Query, Tally};
use crate::domain::call::{Call, CallId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

/// The words of the states in which a call is open.
pub const OPEN: [&str; 4] = ["held", "approved", "sending", "unconfirmed"];

/// The register.
#[derive(Debug, Default)]
pub struct Open {
    /// With the agent whose call stands there.
    places: BTreeMap<Class, BTreeMap<Cursor, Arc<str>>>,
    of_agent: HashMap<Arc<str>, OfAgent>,
    /// Those that are held, approved or being sent.
    unsettled: HashSet<CallId>,
    /// Held calls.
    of_server: HashMap<String, usize>,
    letters: usize,
}

/// What an agent has in the register; its name is kept once for all of its calls.
#[derive(Debug, Default)]
struct OfAgent {
    places: usize,
    /// Those that have not begun to leave.
    unsent: usize,
}

/// Calls that the same people may see in the same lists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Class {
    word: &'static str,
    permit: bool,
    groups: Vec<String>,
}

/// An open call as far as the register knows it.
#[derive(Debug, Clone)]
pub struct Place {
    class: Class,
    at: Cursor,
    agent: String,
    server: String,
}

/// What a place is besides its state, its time and its id; engines may keep it with an index. Agent, server, groups,
/// and whether it is a permit.
pub type About = (String, String, Vec<String>, bool);

impl Place {
    /// `None` for a call that is over.
    pub fn of(call: &Call) -> Option<Place> {
        let about = (call.agent.clone(), call.server.clone(), call.reviewers.clone(), call.is_permit());
        Place::at(call.state.word(), Cursor::of(call), about)
    }

    /// The place of a call in this state; `None` when that is no open one.
    pub fn at(word: &str, at: Cursor, (agent, server, groups, permit): About) -> Option<Place> {
        let word = OPEN.into_iter().find(|open| *open == word)?;
        Some(Place { class: Class { word, permit, groups }, at, agent, server })
    }

    /// What [`Place::at`] needs.
    pub fn about(&self) -> (&str, &str, &[String], bool) {
        (&self.agent, &self.server, &self.class.groups, self.class.permit)
    }

    /// Whose call it is.
    pub fn agent(&self) -> &str {
        &self.agent
    }

    fn is_held(&self) -> bool {
        self.class.word == "held"
    }

    /// Whether somebody may still wait for it.
    fn is_unsettled(&self) -> bool {
        self.class.word != "unconfirmed"
    }

    /// Whether it has not begun to leave.
    fn is_unsent(&self) -> bool {
        self.is_held() || self.class.word == "approved"
    }
}

/// What one change moves.
#[derive(Debug, Clone, Default)]
pub struct Move {
    /// Where a call was.
    pub from: Option<Place>,
    /// Where it is.
    pub to: Option<Place>,
    /// Letters that come, and that go.
    pub letters: (usize, usize),
}

impl Move {
    /// Of the rows of a change.
    pub fn of_rows(change: &Change) -> Move {
        let new = change.rows.iter().filter(|row| row.kind() == Kind::Letter && row.revision() == 1).count();
        Move { letters: (new, change.removed.iter().filter(|(kind, _)| *kind == Kind::Letter).count()), ..Move::default() }
    }
}

impl Open {
    /// The change is durable.
    pub fn apply(&mut self, moved: Move) {
        if let Some(from) = &moved.from {
            self.take(from);
        }
        if let Some(to) = moved.to {
            self.add(to);
        }
        self.letters = (self.letters + moved.letters.0).saturating_sub(moved.letters.1);
    }

    /// A call is where it was not.
    fn add(&mut self, place: Place) {
        if place.is_held() {
            one_more(&mut self.of_server, &place.server);
        }
        if place.is_unsettled() {
            self.unsettled.insert(place.at.id.clone());
        }
        let unsent = usize::from(place.is_unsent());
        let agent = self.of_agent.get_key_value(place.agent.as_str()).map_or_else(|| Arc::from(place.agent), |(name, _)| Arc::clone(name));
        let of_agent = self.of_agent.entry(Arc::clone(&agent)).or_default();
        (of_agent.places, of_agent.unsent) = (of_agent.places + 1, of_agent.unsent + unsent);
        self.places.entry(place.class).or_default().insert(place.at, agent);
    }

    /// A call is where it was no longer.
    fn take(&mut self, place: &Place) {
        if let Some(of_agent) = self.of_agent.get_mut(place.agent.as_str()) {
            of_agent.places = of_agent.places.saturating_sub(1);
            of_agent.unsent = of_agent.unsent.saturating_sub(usize::from(place.is_unsent()));
            if of_agent.places == 0 {
                self.of_agent.remove(place.agent.as_str());
            }
        }
        if place.is_held() {
            one_less(&mut self.of_server, &place.server);
        }
        self.unsettled.remove(&place.at.id);
        if let Some(places) = self.places.get_mut(&place.class) {
            places.remove(&place.at);
            if places.is_empty() {
                self.places.remove(&place.class);
            }
        }
    }

    /// The numbers for who may see calls of these groups; of all with `None`.
    pub fn tally(&self, groups: Option<&[String]>) -> Tally {
        let mut tally = Tally { letters: self.letters, ..Tally::default() };
        for (class, places) in self.places.iter().filter(|(class, _)| class.is_for(groups)) {
            match (class.word, class.permit) {
                ("held", _) => tally.held += places.len(),
                ("unconfirmed", _) => tally.unconfirmed += places.len(),
                (_, true) => tally.permits += places.len(),
                (_, false) => tally.leaving += places.len(),
            }
        }
        tally
    }

    /// How many calls of each agent have not begun to leave.
    pub fn of_agents(&self) -> HashMap<String, usize> {
        self.of_agent.iter().filter(|(_, of)| of.unsent > 0).map(|(name, of)| (name.to_string(), of.unsent)).collect()
    }

    /// Whether this call is held, approved or being sent.
    pub fn is_unsettled(&self, id: &CallId) -> bool {
        self.unsettled.contains(id)
    }

    /// The servers that calls are held for.
    pub fn servers_of_held(&self) -> BTreeSet<String> {
        self.of_server.keys().cloned().collect()
    }

    /// The first places behind `after` of calls in these states, of this agent or of all, in the order of time; at most `most`.
    pub fn first(&self, states: &[&str], agent: Option<&str>, after: Option<&Cursor>, most: usize) -> Vec<Cursor> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let asked = self.places.iter().filter(|(class, _)| states.contains(&class.word));
        // Each class gives as many as are asked for: the first of all are among them.
        let first = |places: &'_ BTreeMap<Cursor, Arc<str>>| {
            let own = places.range::<Cursor, _>(range).filter(|(_, of)| agent.is_none_or(|agent| agent == &***of));
            own.take(most).map(|(place, _)| place.clone()).collect::<Vec<_>>()
        };
        let mut found: Vec<Cursor> = asked.flat_map(|(_, places)| first(places)).collect();
        found.sort_unstable();
        found.truncate(most);
        found
    }

    /// The places of a query that the register [`serves`], class by class, each in its order and behind `start`.
    pub fn places<'o>(&'o self, query: &'o Query, start: &Start) -> Vec<Box<dyn Iterator<Item = &'o Cursor> + 'o>> {
        let range = match start.clone() {
            Start::Nowhere => return Vec::new(),
            Start::First => (Bound::Unbounded, Bound::Unbounded),
            Start::Behind(place) if query.newest_first => (Bound::Unbounded, Bound::Excluded(place)),
            Start::Behind(place) => (Bound::Excluded(place), Bound::Unbounded),
        };
        let asked = |class: &Class| {
            query.states.iter().any(|word| word == class.word)
                && class.is_for(query.groups.as_deref())
                && query.permit.is_none_or(|permit| permit == class.permit)
        };
        let found = self.places.iter().filter(|(class, _)| asked(class)).map(|(_, places)| {
            let places = places.range(range.clone()).map(|(place, _)| place);
            if query.newest_first { Box::new(places.rev()) as Box<dyn Iterator<Item = &Cursor>> } else { Box::new(places) }
        });
        found.collect()
    }
}

fn one_more(counts: &mut HashMap<String, usize>, of: &str) {
    match counts.get_mut(of) {
        Some(count) => *count += 1,
        None => drop(counts.insert(of.to_owned(), 1)),
    }
}

fn one_less(counts: &mut HashMap<String, usize>, of: &str) {
    if let Some(count) = counts.get_mut(of) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(of);
        }
    }
}

impl Class {
    fn is_for(&self, groups: Option<&[String]>) -> bool {
        groups.is_none_or(|groups| self.groups.is_empty() || self.groups.iter().any(|group| groups.contains(group)))
    }
}

/// Whether the register answers the query: what it leaves out is then not looked at.
pub fn serves(query: &Query) -> bool {
    let open = !query.states.is_empty() && query.states.iter().all(|word| OPEN.contains(&word.as_str()));
    open && query.recipient.is_none() && (query.groups.is_some() || query.permit.is_some())
}
