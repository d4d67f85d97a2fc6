//! How often anybody may try to sign in. Budgets are kept apart so that guessing ends and nobody else is locked out: a
//! browser that was let in before has one of its own, which no stranger can use up; all other browsers share one for each
//! name, one for each client address and one altogether. When those are used up only passwords from strange browsers are
//! refused; links by mail, known browsers and links that an operator makes go on. In memory and bounded: a restart begins anew.
//! Called by `signin`; time comes in with every call.

use super::signin::device::DeviceId;
use crate::domain::digest::Digest;
use jiff::{SignedDuration, Timestamp};
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

const QUARTER: SignedDuration = SignedDuration::from_mins(15);
const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// Wrong passwords for one name from strange browsers, in an hour.
const OF_NAME: usize = 10;
/// Wrong passwords of one browser that was let in before, in an hour.
const OF_DEVICE: usize = 10;
/// Wrong passwords from one client address, for whatever names, in a quarter of an hour.
const OF_ADDRESS: usize = 30;
/// Wrong passwords from all strange browsers together, in a quarter of an hour.
const OF_ALL: usize = 1000;
/// Requests for a link from one client address, in a quarter of an hour.
const ASKED_OF_ADDRESS: usize = 20;
/// Links mailed to one person at the request of strange browsers, and of each known one, in a quarter of an hour. A link
/// lasts as long, so whoever finds this used up has one in the mail box that still works.
const LINKS: usize = 3;
/// Keys of one kind. Entries for names and addresses are made by what counts on [`OF_ALL`], at most five times in an hour,
/// so no entry that still counts has to give way.
const KEYS: usize = 6 * OF_ALL;

/// A name as it was typed, known or not; only its digest is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name(Digest);

impl Name {
    /// Spelled in any case, with blanks around it.
    pub(super) fn of(typed: &str) -> Name {
        Name(Digest::of_bytes(typed.trim().to_lowercase().as_bytes()))
    }
}

/// Who tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trier {
    /// From where; addresses of this machine say nothing and have no budget, because a proxy may stand there.
    pub(super) from: IpAddr,
    /// As whom.
    pub(super) name: Name,
    /// The browser, when this person was let in with it before.
    pub(super) device: Option<DeviceId>,
}

/// What a try took from the budgets; it comes back when the password was right.
#[derive(Debug)]
pub(super) struct Taken {
    who: Trier,
    at: Timestamp,
}

/// The budgets.
#[derive(Debug)]
pub(super) struct Attempts {
    books: Mutex<Books>,
}

#[derive(Debug)]
struct Books {
    devices: Tries<DeviceId>,
    names: Tries<Name>,
    addresses: Tries<IpAddr>,
    all: Tries<()>,
    asking: Tries<IpAddr>,
    links: Tries<(Name, Option<DeviceId>)>,
}

impl Default for Attempts {
    fn default() -> Attempts {
        let books = Books {
            devices: Tries::new(OF_DEVICE, HOUR),
            names: Tries::new(OF_NAME, HOUR),
            addresses: Tries::new(OF_ADDRESS, QUARTER),
            all: Tries::new(OF_ALL, QUARTER),
            asking: Tries::new(ASKED_OF_ADDRESS, QUARTER),
            links: Tries::new(LINKS, QUARTER),
        };
        Attempts { books: Mutex::new(books) }
    }
}

impl Attempts {
    /// Takes a try with a password before it is looked at, so that tries at the same moment count each; or when to come
    /// again. Known and unknown names are told the same.
    pub(super) fn begin(&self, who: Trier, now: Timestamp) -> Result<Taken, Timestamp> {
        let mut books = self.books();
        let books = &mut *books;
        if let Some(device) = who.device {
            books.devices.take(device, now)?;
            return Ok(Taken { who, at: now });
        }
        let from = judged(who.from);
        let waits = [books.names.full(&who.name, now), from.and_then(|from| books.addresses.full(&from, now)), books.all.full(&(), now)];
        if let Some(until) = waits.into_iter().flatten().max() {
            return Err(until);
        }
        books.names.take(who.name.clone(), now)?;
        if let Some(from) = from {
            books.addresses.take(from, now)?;
        }
        books.all.take((), now)?;
        Ok(Taken { who, at: now })
    }

    /// The password was right, or was never looked at: the try does not count.
    pub(super) fn give_back(&self, taken: Taken) {
        let Taken { who, at } = taken;
        let mut books = self.books();
        match who.device {
            Some(device) => books.devices.give_back(&device, at),
            None => {
                books.names.give_back(&who.name, at);
                if let Some(from) = judged(who.from) {
                    books.addresses.give_back(&from, at);
                }
                books.all.give_back(&(), at);
            }
        }
    }

    /// Takes a request for a link; or when to come again. It depends on the client's address alone, and known browsers are
    /// not counted.
    pub(super) fn ask(&self, who: &Trier, now: Timestamp) -> Result<(), Timestamp> {
        match judged(who.from).filter(|_| who.device.is_none()) {
            Some(from) => self.books().asking.take(from, now),
            None => Ok(()),
        }
    }

    /// Whether one more link may be mailed to this person, who exists.
    pub(super) fn mail(&self, who: &Trier, now: Timestamp) -> bool {
        self.books().links.take((who.name.clone(), who.device), now).is_ok()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which address a budget is kept for: the network of an IPv6 client, for one subscriber has 2^64 addresses (RFC 6177).
fn judged(from: IpAddr) -> Option<IpAddr> {
    match from.to_canonical() {
        here if here.is_loopback() || here.is_unspecified() => None,
        IpAddr::V4(address) => Some(IpAddr::V4(address)),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Some(IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into()))
        }
    }
}

/// When something was done, for each key: at most `most` times in any window of that length.
#[derive(Debug)]
struct Tries<K> {
    most: usize,
    window: SignedDuration,
    done: HashMap<K, VecDeque<Timestamp>>,
}

impl<K: Hash + Eq + Clone> Tries<K> {
    fn new(most: usize, window: SignedDuration) -> Tries<K> {
        Tries { most, window, done: HashMap::new() }
    }

    /// When there is room again, if there is none now.
    fn full(&mut self, key: &K, now: Timestamp) -> Option<Timestamp> {
        let (most, window) = (self.most, self.window);
        let done = self.done.get_mut(key)?;
        // A clock that was set back: what lies ahead counts from now on, so it frees nothing early and blocks nobody longer.
        for at in done.iter_mut().filter(|at| **at > now) {
            *at = now;
        }
        while done.front().is_some_and(|at| now.duration_since(*at) >= window) {
            done.pop_front();
        }
        match done.front() {
            None => {
                self.done.remove(key);
                None
            }
            Some(first) if done.len() >= most => first.checked_add(window).ok(),
            Some(_) => None,
        }
    }

    fn take(&mut self, key: K, now: Timestamp) -> Result<(), Timestamp> {
        if let Some(until) = self.full(&key, now) {
            return Err(until);
        }
        if self.done.len() >= KEYS && !self.done.contains_key(&key) {
            self.make_room(now);
        }
        self.done.entry(key).or_default().push_back(now);
        Ok(())
    }

    fn give_back(&mut self, key: &K, at: Timestamp) {
        let Some(done) = self.done.get_mut(key) else { return };
        if let Some(index) = done.iter().rposition(|taken| *taken == at) {
            done.remove(index);
        }
        if done.is_empty() {
            self.done.remove(key);
        }
    }

    /// Forgets what counts no more; if everything counts, the key that was used longest ago.
    fn make_room(&mut self, now: Timestamp) {
        let window = self.window;
        self.done.retain(|_, done| done.back().is_some_and(|at| now.duration_since(*at) < window));
        if self.done.len() >= KEYS
            && let Some(oldest) = self.done.iter().min_by_key(|(_, done)| done.back().copied()).map(|(key, _)| key.clone())
        {
            self.done.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
