//! One counter: what was taken from it within its window, in two ledgers. Windows slide: in no stretch of time as
//! long as the window do the takes add up to more than `max`. A take is kept with its time; when there are more
//! than can be kept, neighbours are joined under the later time, which frees a place later than needed and never
//! earlier. Called by the engines inside a transaction, and by `gate/limits` to say when there will be room.

use super::{Charge, CounterKey, GiveBack, Label, Take, window};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Takes kept with their exact times; more are joined into this many slices of the window.
const EXACT: usize = 256;
/// Between the moment that is counted and the byte that leaves lie a sync and a thread: two calls that were let
/// through a window apart may reach the server closer to each other. A place stays taken this much longer, but at
/// most a twentieth of the window.
const SLACK: Duration = Duration::from_millis(100);

/// What was taken, oldest first: milliseconds since 1970 and millionths.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ledger(Vec<(i64, u64)>);

/// One counter as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// Which.
    pub key: CounterKey,
    /// Compared by the engines. Starts at 1.
    pub revision: u64,
    /// What it is called.
    pub label: Label,
    /// The window of the last take.
    #[serde(with = "window")]
    pub window: Duration,
    /// What fits, at the last take, in millionths.
    pub max: u64,
    /// What agents asked for.
    pub asked: Ledger,
    /// What was sent.
    pub sent: Ledger,
}

impl Counter {
    /// A counter from which nothing was taken; its first write has revision 1.
    pub fn of(charge: &Charge) -> Counter {
        Counter {
            key: charge.key.clone(),
            revision: 0,
            label: charge.label.clone(),
            window: charge.window,
            max: charge.max,
            asked: Ledger::default(),
            sent: Ledger::default(),
        }
    }

    /// The next revision with the take in it; the error is when there will be room. Takes the counter, whose ledgers may be long.
    pub fn taken(mut self, take: &Take, now: Timestamp) -> Result<Counter, Timestamp> {
        let Charge { window, max, amount, .. } = take.charge;
        let room = |ledger: &Ledger, wanted: bool| if wanted { ledger.room_at(now, window, max, amount) } else { now };
        let free = room(&self.asked, take.asked).max(room(&self.sent, take.sent));
        if free > now {
            return Err(free);
        }
        self.revision += 1;
        (self.window, self.max) = (window, max);
        if self.label != take.charge.label {
            self.label = take.charge.label.clone();
        }
        for (ledger, wanted) in [(&mut self.asked, take.asked), (&mut self.sent, take.sent)] {
            ledger.forget(now, window);
            if wanted {
                ledger.put(now, window, amount);
            }
        }
        Ok(self)
    }

    /// The next revision without a take that comes back. One whose window is over changes nothing of the next.
    pub fn given_back(mut self, back: &GiveBack, now: Timestamp) -> Counter {
        self.revision += 1;
        if counts_until(back.at.as_millisecond(), self.window) > now.as_millisecond() {
            self.sent.remove(back.at.as_millisecond(), back.amount);
            if back.asked {
                self.asked.remove(back.at.as_millisecond(), back.amount);
            }
        }
        self
    }

    /// The next revision with takes of the future counted from now on; `None` when there are none. The clock was
    /// ahead for a moment and would keep the counter full until then. Nothing was taken later than now, so that no
    /// place is free too early.
    pub fn set_right(&self, now: Timestamp) -> Option<Counter> {
        let latest = whole_millisecond(now).saturating_add(millis(SLACK));
        let mut next = Counter { revision: self.revision + 1, ..self.clone() };
        let wrong = [&mut next.asked, &mut next.sent].map(|ledger| ledger.bring_back(latest));
        wrong.contains(&true).then_some(next)
    }

    /// Whether nothing counts any more, so that the record can go.
    pub fn is_idle(&self, now: Timestamp) -> bool {
        self.asked.used(now, self.window) == 0 && self.sent.used(now, self.window) == 0
    }
}

impl Ledger {
    /// What counts at `now`, in millionths. A take of the future counts: the clock may have jumped back.
    pub fn used(&self, now: Timestamp, window: Duration) -> u64 {
        self.0.iter().filter(|(at, _)| counts_until(*at, window) > now.as_millisecond()).fold(0, |sum, (_, amount)| sum.saturating_add(*amount))
    }

    /// The earliest time, not before `now`, at which `amount` fits. More than `max` never fits; the far future then.
    pub fn room_at(&self, now: Timestamp, window: Duration, max: u64, amount: u64) -> Timestamp {
        let mut used = self.used(now, window);
        let fits = |used: u64| used.checked_add(amount).is_some_and(|sum| sum <= max);
        if fits(used) {
            return now;
        }
        for (at, taken) in self.0.iter().filter(|(at, _)| counts_until(*at, window) > now.as_millisecond()) {
            used = used.saturating_sub(*taken);
            if fits(used) {
                return Timestamp::from_millisecond(counts_until(*at, window)).unwrap_or(Timestamp::MAX);
            }
        }
        Timestamp::MAX
    }

    /// The earliest time, not before `from`, at which `amount` fits between what was taken and what is promised to
    /// others: no window that holds it may hold more than `max`. More than `max` never fits; the far future then.
    pub fn place(&self, promised: &[(Timestamp, u64)], from: Timestamp, window: Duration, max: u64, amount: u64) -> Timestamp {
        let mut taken: Vec<(i64, u64)> = promised.iter().map(|(at, amount)| (whole_millisecond(*at), *amount)).chain(self.0.iter().copied()).collect();
        taken.sort_unstable();
        let line = Line::of(&taken, counts_until(0, window));
        let fits = |at: i64| {
            // Every window that holds the new take ends with it or with a later one.
            let later = &taken[line.until(at)..line.until(at.saturating_add(line.span - 1))];
            std::iter::once(at).chain(later.iter().map(|(at, _)| *at)).all(|end| line.sum_at(end).checked_add(amount).is_some_and(|sum| sum <= max))
        };
        let from_ms = whole_millisecond(from);
        if fits(from_ms) {
            return from;
        }
        let freed = taken.iter().map(|(at, _)| counts_until(*at, window)).filter(|at| *at > from_ms);
        freed.into_iter().find(|at| fits(*at)).and_then(|at| Timestamp::from_millisecond(at).ok()).unwrap_or(Timestamp::MAX)
    }

    /// Writes a take. Times only grow: one that lies before the last counts from the last.
    pub fn put(&mut self, at: Timestamp, window: Duration, amount: u64) {
        let at = whole_millisecond(at);
        match self.0.last_mut() {
            Some((last, taken)) if *last >= at => *taken = taken.saturating_add(amount),
            _ => self.0.push((at, amount)),
        }
        if self.0.len() > 2 * EXACT {
            self.join(millis(window) / i64::try_from(EXACT).unwrap_or(i64::MAX));
        }
    }

    fn forget(&mut self, now: Timestamp, window: Duration) {
        self.0.retain(|(at, _)| counts_until(*at, window) > now.as_millisecond());
    }

    /// Joins takes that lie less than `slice` milliseconds apart under the last one's time.
    fn join(&mut self, slice: i64) {
        let mut joined: Vec<(i64, u64)> = Vec::with_capacity(EXACT);
        let mut begun = i64::MIN;
        for (at, amount) in std::mem::take(&mut self.0) {
            match joined.last_mut() {
                Some(last) if at.saturating_sub(begun) < slice.max(1) => *last = (at, last.1.saturating_add(amount)),
                _ => {
                    begun = at;
                    joined.push((at, amount));
                }
            }
        }
        self.0 = joined;
    }

    /// Takes of after `latest` count from `latest`; whether there were any.
    fn bring_back(&mut self, latest: i64) -> bool {
        let right = self.0.partition_point(|(at, _)| *at <= latest);
        let ahead: Vec<(i64, u64)> = self.0.split_off(right);
        let amount = ahead.iter().fold(0, |sum: u64, (_, amount)| sum.saturating_add(*amount));
        match self.0.last_mut() {
            _ if ahead.is_empty() => {}
            Some((last, taken)) if *last == latest => *taken = taken.saturating_add(amount),
            _ => self.0.push((latest, amount)),
        }
        !ahead.is_empty()
    }

    /// Takes `amount` out again that was put at `at`; it stands at that time or, joined, at the next later one.
    fn remove(&mut self, at: i64, amount: u64) {
        if let Some(index) = self.0.iter().position(|(kept, taken)| *kept >= at && *taken >= amount) {
            self.0[index].1 -= amount;
            if self.0[index].1 == 0 {
                self.0.remove(index);
            }
        }
    }
}

/// Takes in the order of their times, and their sums.
struct Line<'a> {
    taken: &'a [(i64, u64)],
    sums: Vec<u64>,
    /// How long one counts, in milliseconds.
    span: i64,
}

impl Line<'_> {
    fn of(taken: &[(i64, u64)], span: i64) -> Line<'_> {
        let sums = std::iter::once(0).chain(taken.iter().scan(0u64, |sum, (_, amount)| {
            *sum = sum.saturating_add(*amount);
            Some(*sum)
        }));
        Line { taken, sums: sums.collect(), span }
    }

    /// How many there are up to `at`.
    fn until(&self, at: i64) -> usize {
        self.taken.partition_point(|(taken, _)| *taken <= at)
    }

    /// What counts at `at`.
    fn sum_at(&self, at: i64) -> u64 {
        self.sums[self.until(at)].saturating_sub(self.sums[self.until(at.saturating_sub(self.span))])
    }
}

/// How long after the moment that is counted a call may leave without being counted anew.
pub fn slack(window: Duration) -> Duration {
    SLACK.min(window / 20)
}

/// The next whole millisecond, so that nothing counts from before it was taken.
fn whole_millisecond(at: Timestamp) -> i64 {
    at.as_millisecond().saturating_add(i64::from(at.subsec_nanosecond() % 1_000_000 != 0))
}

/// The millisecond from which a take of `at` counts no more.
fn counts_until(at: i64, window: Duration) -> i64 {
    at.saturating_add(millis(window)).saturating_add(millis(slack(window)))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::ONE;
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn charge(max: u64, amount: u64, window: Duration) -> Charge {
        let label = Label { server: Some("s".into()), counter: "c".into(), scope: "grant".into(), value: "a".into() };
        Charge { key: CounterKey::of(&label), label, name: "c".into(), window, max: max * ONE, amount: amount * ONE, reason: None }
    }

    fn take(max: u64, amount: u64) -> Take {
        Take { charge: charge(max, amount, MINUTE), asked: true, sent: true, most_keys: 1 }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_000_000_000 + ms).unwrap()
    }

    #[test]
    fn exactly_max_fits_and_the_next_one_learns_when_the_first_leaves_the_window() {
        let mut counter = Counter::of(&charge(3, 1, MINUTE));
        for ms in [0, 10, 20] {
            counter = counter.clone().taken(&take(3, 1), at(ms)).unwrap();
        }
        assert_eq!(counter.clone().taken(&take(3, 1), at(30)), Err(at(60_100)));
        assert_eq!(counter.clone().taken(&take(3, 2), at(30)), Err(at(60_110)));
        assert!(counter.clone().taken(&take(3, 1), at(60_099)).is_err());
        assert!(counter.clone().taken(&take(3, 1), at(60_100)).is_ok());
        assert_eq!(counter.clone().taken(&take(3, 4), at(999_999)), Err(Timestamp::MAX));
    }

    #[test]
    fn one_take_of_exactly_the_limit_fits_and_then_nothing() {
        let counter = Counter::of(&charge(5, 5, MINUTE)).taken(&take(5, 5), at(0)).unwrap();
        assert!(counter.clone().taken(&take(5, 1), at(1)).is_err());
    }

    #[test]
    fn a_refund_that_comes_after_its_window_changes_nothing_of_the_next() {
        let back = GiveBack { key: CounterKey::of(&charge(1, 1, MINUTE).label), at: at(0), amount: ONE, asked: false };
        let counter = Counter::of(&charge(2, 1, MINUTE)).taken(&take(2, 1), at(0)).unwrap();
        assert_eq!(counter.clone().given_back(&back, at(5)).sent, Ledger::default());
        assert_eq!(counter.clone().given_back(&back, at(5)).asked.used(at(5), MINUTE), ONE);
        let turned = counter.clone().taken(&take(2, 1), at(60_200)).unwrap();
        assert_eq!(turned.clone().given_back(&back, at(60_300)).sent, turned.sent);
        assert_eq!(Counter::of(&charge(2, 1, MINUTE)).given_back(&back, at(5)).sent, Ledger::default());
    }

    #[test]
    fn the_rest_of_a_block_comes_back_to_both_ledgers_and_leaves_what_others_took() {
        let charges = [charge(100, 2, MINUTE)];
        let block = &Take::block(&charges, 5, 1)[0];
        let counter = Counter::of(&charges[0]).taken(&take(100, 1), at(0)).unwrap().taken(block, at(7)).unwrap();
        assert_eq!(counter.sent.used(at(7), MINUTE), 11 * ONE);
        let back = counter.clone().given_back(&GiveBack::unused(&charges, at(7), 3)[0], at(50));
        assert_eq!([&back.asked, &back.sent].map(|ledger| ledger.used(at(50), MINUTE)), [5 * ONE; 2]);
    }

    #[test]
    fn a_gap_of_several_windows_begins_anew_and_leaves_nothing_behind() {
        let counter = Counter::of(&charge(1, 1, MINUTE)).taken(&take(1, 1), at(0)).unwrap();
        assert!(!counter.is_idle(at(60_000)) && counter.is_idle(at(60_100)));
        let later = counter.clone().taken(&take(1, 1), at(600_000)).unwrap();
        assert_eq!(later.sent.0.len(), 1);
    }

    #[test]
    fn a_clock_that_jumps_back_gives_nothing() {
        let counter = Counter::of(&charge(2, 1, MINUTE)).taken(&take(2, 1), at(3_600_000)).unwrap();
        let counter = counter.clone().taken(&take(2, 1), at(0)).unwrap();
        assert!(counter.clone().taken(&take(2, 1), at(70_000)).is_err(), "both count from the later time");
        assert!(counter.clone().taken(&take(2, 1), at(3_660_100)).is_ok());
    }

    #[test]
    fn a_place_lies_between_what_was_taken_and_what_is_promised() {
        let ledger = |takes: &[i64]| {
            let mut ledger = Ledger::default();
            takes.iter().for_each(|ms| ledger.put(at(*ms), MINUTE, ONE));
            ledger
        };
        let place = |takes: &[i64], promised: &[i64], max: u64| {
            let promised: Vec<_> = promised.iter().map(|ms| (at(*ms), ONE)).collect();
            ledger(takes).place(&promised, at(0), MINUTE, max * ONE, ONE)
        };
        assert_eq!(place(&[], &[], 1), at(0));
        assert_eq!(place(&[-10], &[], 1), at(60_090));
        assert_eq!(place(&[-10], &[60_090], 1), at(120_190));
        assert_eq!(place(&[], &[60_099], 1), at(120_199), "too close before it");
        assert_eq!(place(&[], &[60_100], 1), at(0), "far enough before it");
        assert_eq!(place(&[], &[10, 3_600_000], 1), at(60_110), "between two");
        assert_eq!(place(&[-10, -5], &[60_090], 2), at(60_095));
        assert_eq!(place(&[], &[], 0), Timestamp::MAX);
    }

    #[test]
    fn takes_of_the_future_count_from_now_once_the_clock_is_right_again() {
        let counter = Counter::of(&charge(2, 1, MINUTE)).taken(&take(2, 1), at(0)).unwrap().taken(&take(2, 1), at(86_400_000)).unwrap();
        let right = counter.set_right(at(1_000)).unwrap();
        assert_eq!(right.sent.0, [(at(1_100).as_millisecond(), ONE)]);
        assert!(right.clone().taken(&take(1, 1), at(61_199)).is_err() && right.clone().taken(&take(1, 1), at(61_200)).is_ok());
        assert_eq!(right.set_right(at(1_000)), None);
    }

    /// Times of takes that were let through, in millionths of the window's own length.
    fn let_through(steps: &[(u32, u64)], max: u64, window: Duration) -> Vec<(i64, u64)> {
        let mut counter = Counter::of(&charge(max, 1, window));
        let (mut now, mut through) = (0i64, Vec::new());
        for (step, amount) in steps {
            now += i64::from(*step);
            let take = Take { charge: charge(max, *amount, window), asked: true, sent: true, most_keys: 1 };
            if let Ok(next) = counter.clone().taken(&take, at(now)) {
                counter = next;
                through.push((now, *amount));
            }
        }
        through
    }

    proptest! {
        #[test]
        fn no_window_holds_more_than_max(steps in prop::collection::vec((0u32..400, 1u64..4), 1..600), max in 1u64..400, seconds in 1u64..20) {
            let window = Duration::from_secs(seconds);
            let through = let_through(&steps, max, window);
            for (index, (from, _)) in through.iter().enumerate() {
                let within = through[index..].iter().take_while(|(at, _)| at - from < millis(window));
                prop_assert!(within.map(|(_, amount)| amount).sum::<u64>() <= max);
            }
        }

        #[test]
        fn a_place_is_the_first_at_which_no_window_overflows(
            takes in prop::collection::vec((-500i64..0, 1u64..4), 0..20),
            promised in prop::collection::vec((0i64..3000, 1u64..4), 0..20),
            max in 3u64..20,
            amount in 1u64..4,
        ) {
            let window = Duration::from_secs(1);
            let mut ledger = Ledger::default();
            let mut sorted = takes.clone();
            sorted.sort_unstable();
            sorted.iter().for_each(|(ms, amount)| ledger.put(at(*ms), window, amount * ONE));
            let promises: Vec<_> = promised.iter().map(|(ms, amount)| (at(*ms), amount * ONE)).collect();
            let all: Vec<(i64, u64)> = takes.iter().chain(&promised).copied().collect();
            // As slowly as it can be said: with the new one in, every window that ends with a take and holds the new one.
            let fits = |new: i64| {
                let mut with: Vec<(i64, u64)> = all.clone();
                with.push((new, amount));
                let holds = |end: i64, ms: i64| ms <= end && ms > end - 1050;
                with.iter().filter(|(end, _)| holds(*end, new)).all(|(end, _)| with.iter().filter(|(ms, _)| holds(*end, *ms)).map(|(_, amount)| amount).sum::<u64>() <= max)
            };
            let expected = (0..8000).find(|ms| fits(*ms)).unwrap();
            prop_assert_eq!(ledger.place(&promises, at(0), window, max * ONE, amount * ONE), at(expected));
        }

        #[test]
        fn a_joined_ledger_frees_at_most_a_few_slices_late(steps in prop::collection::vec(0u32..40, 600..1500)) {
            let window = Duration::from_secs(10);
            let (mut ledger, mut now, mut put) = (Ledger::default(), 0i64, Vec::new());
            for step in steps {
                now += i64::from(step);
                ledger.put(at(now), window, ONE);
                put.push(now);
                let exact = put.iter().filter(|ms| counts_until(**ms, window) > now).count() as u64;
                let late = put.iter().filter(|ms| counts_until(**ms, window) + 4 * 40 > now).count() as u64;
                let used = ledger.used(at(now), window) / ONE;
                prop_assert!(exact <= used && used <= late, "{exact} {used} {late}");
            }
        }

        #[test]
        fn what_is_told_as_the_time_of_room_is_the_first_at_which_it_fits(steps in prop::collection::vec((0u32..400, 1u64..4), 1..300), max in 3u64..50) {
            let mut ledger = Ledger::default();
            let mut now = 0;
            for (step, amount) in &steps {
                now += i64::from(*step);
                if ledger.room_at(at(now), MINUTE, max * ONE, amount * ONE) == at(now) {
                    ledger.put(at(now), MINUTE, amount * ONE);
                }
            }
            let room = ledger.room_at(at(now), MINUTE, max * ONE, 2 * ONE);
            prop_assert_eq!(ledger.room_at(room, MINUTE, max * ONE, 2 * ONE), room);
            if room > at(now) {
                let before = Timestamp::from_millisecond(room.as_millisecond() - 1).unwrap();
                prop_assert!(ledger.room_at(before, MINUTE, max * ONE, 2 * ONE) > before);
            }
        }
    }

    #[test]
    fn a_busy_ledger_stays_small_and_frees_late_rather_than_early() {
        let (mut ledger, window) = (Ledger::default(), Duration::from_secs(3600));
        for ms in 0..100_000 {
            ledger.put(at(ms * 36), window, ONE);
        }
        assert!(ledger.0.len() <= 2 * EXACT + 1, "{}", ledger.0.len());
        assert_eq!(ledger.used(at(3_599_999), window), 100_000 * ONE);
        // Half of the window later at most half of them is forgotten.
        assert!(ledger.used(at(3_600_000 + 1_800_000), window) >= 50_000 * ONE - 28 * ONE);
    }
}
