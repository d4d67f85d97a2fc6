//! How fast a person is told: at most five mails in ten minutes, and what comes beyond is one list every `mail.digest`,
//! or earlier when a call on it would expire before somebody could decide it. More than ten held calls in a minute
//! leave as one mail that lists them (semantics.md 29), which counts as one of the five. Kept in memory: after a restart
//! the count starts again, which costs a person at most five mails. Called by `outbox`.

use crate::domain::people::MailChoice;
use jiff::{SignedDuration, Timestamp};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Mails to one person in `WINDOW`.
const MAILS: usize = 5;
const WINDOW: Duration = Duration::from_secs(600);
/// More calls than these in `BURST_WINDOW` are told of in one mail.
const BURST: usize = 10;
const BURST_WINDOW: Duration = Duration::from_secs(60);

/// How the letters for one person leave now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// The first so many in a mail each; the others not before the instant.
    Singly(usize, Option<Timestamp>),
    /// All in one mail.
    Listed,
}

/// What each person got lately. Outlives a change of `[mail]`, which is no reason for more mails.
#[derive(Default)]
pub struct Pace {
    people: HashMap<String, Recent>,
    /// A list was moved to an earlier time.
    hurried: bool,
}

#[derive(Default)]
struct Recent {
    /// Mails in the window, lists too; no more than fit into it by the rules below.
    mails: VecDeque<Timestamp>,
    /// Calls told of in the last minute; counted no further than matters.
    told: VecDeque<Timestamp>,
    last_list: Option<Timestamp>,
    /// When the next list leaves; letters wait for it.
    list_at: Option<Timestamp>,
}

impl Pace {
    /// Lists come every `digest` from now on: none that is coming waits longer than that.
    pub(super) fn lists_every(&mut self, digest: Duration, now: Timestamp) {
        for recent in self.people.values_mut() {
            recent.list_at = recent.list_at.map(|at| at.min(now + digest));
        }
    }

    /// Decides for letters that wait for this person, each with the instant at which its call expires.
    pub(super) fn plan(&mut self, person: &str, choice: MailChoice, digest: Duration, waiting: &[Option<Timestamp>], now: Timestamp) -> Plan {
        self.people.retain(|_, recent| recent.is_worth_keeping(now));
        let recent = self.people.entry(person.to_owned()).or_default();
        if recent.list_at.is_some_and(|at| at <= now) {
            return Plan::Listed;
        }
        let room = if choice == MailChoice::Each { MAILS.saturating_sub(recent.mails.len()) } else { 0 };
        let burst = recent.told.len() + waiting.len() > BURST;
        let again = recent.last_list.map(|at| at + BURST_WINDOW).filter(|at| *at > now);
        if room > 0 && burst && again.is_none() && recent.list_at.is_none() {
            return Plan::Listed;
        }
        // Whoever has a list coming gets everything with it, in the order in which it was asked.
        let singly = if recent.list_at.is_some() || (burst && room > 0) { 0 } else { room.min(waiting.len()) };
        let Some(rest) = waiting.get(singly..).filter(|rest| !rest.is_empty()) else { return Plan::Singly(singly, None) };
        let regular = match (recent.list_at, again) {
            (Some(at), _) => at,
            (None, Some(again)) if burst && room > 0 => again,
            (None, _) => now + digest,
        };
        let least = again.unwrap_or(now);
        let at = rest.iter().flatten().filter(|expires| **expires <= regular).map(|expires| halfway(now, *expires).max(least)).fold(regular, Timestamp::min);
        self.hurried |= recent.list_at.is_some_and(|before| at < before);
        recent.list_at = Some(at);
        Plan::Singly(singly, Some(at))
    }

    /// A mail about one call left.
    pub(super) fn single(&mut self, person: &str, now: Timestamp) {
        self.left(person, 1, now);
    }

    /// A list of so many calls left.
    pub(super) fn list(&mut self, person: &str, calls: usize, now: Timestamp) {
        let recent = self.left(person, calls, now);
        recent.last_list = Some(now);
        recent.list_at = None;
    }

    /// Whether a list was moved to an earlier time since this was asked last: who waits for it must be asked again.
    pub(super) fn was_hurried(&mut self) -> bool {
        std::mem::take(&mut self.hurried)
    }

    fn left(&mut self, person: &str, calls: usize, now: Timestamp) -> &mut Recent {
        let recent = self.people.entry(person.to_owned()).or_default();
        recent.mails.push_back(now);
        recent.told.extend(std::iter::repeat_n(now, calls.min(BURST + 1)));
        while recent.told.len() > BURST + 1 {
            recent.told.pop_front();
        }
        recent
    }
}

impl Recent {
    fn is_worth_keeping(&mut self, now: Timestamp) -> bool {
        self.mails.retain(|at| *at + WINDOW > now);
        self.told.retain(|at| *at + BURST_WINDOW > now);
        self.last_list = self.last_list.filter(|at| *at + BURST_WINDOW > now);
        !self.mails.is_empty() || self.list_at.is_some() || self.last_list.is_some()
    }
}

/// Half of the time that is left goes by before the mail, half stays for the person.
fn halfway(now: Timestamp, expires: Timestamp) -> Timestamp {
    let left = now.duration_until(expires).max(SignedDuration::ZERO);
    now + left / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DIGEST: Duration = Duration::from_secs(300);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).unwrap()
    }

    /// One person's inbox and the outbox in front of it, event by event.
    struct Post {
        pace: Pace,
        choice: MailChoice,
        /// Number, arrival, expiry; not told yet.
        waiting: Vec<(usize, i64, Option<i64>)>,
        parked_until: HashMap<usize, i64>,
        /// When, which calls, whether it is a list that was waited for.
        mails: Vec<(i64, Vec<usize>, bool)>,
    }

    impl Post {
        fn new(choice: MailChoice) -> Post {
            Post { pace: Pace::default(), choice, waiting: Vec::new(), parked_until: HashMap::new(), mails: Vec::new() }
        }

        fn look(&mut self, now: i64) {
            loop {
                self.parked_until.retain(|_, until| *until > now);
                let due: Vec<_> = self.waiting.iter().filter(|letter| !self.parked_until.contains_key(&letter.0)).copied().collect();
                if due.is_empty() {
                    return;
                }
                let expiries: Vec<_> = due.iter().map(|letter| letter.2.map(at)).collect();
                let awaited = self.pace.people.get("ann").is_some_and(|recent| recent.list_at.is_some());
                let told: Vec<Vec<usize>> = match self.pace.plan("ann", self.choice, DIGEST, &expiries, at(now)) {
                    Plan::Listed => vec![due.iter().map(|letter| letter.0).collect()],
                    Plan::Singly(count, later) => {
                        if let Some(later) = later {
                            let until = later.as_second() - at(0).as_second() + i64::from(later.subsec_nanosecond() > 0);
                            self.parked_until.extend(due[count..].iter().map(|letter| (letter.0, until)));
                        }
                        due[..count].iter().map(|letter| vec![letter.0]).collect()
                    }
                };
                let listed = told.first().is_some_and(|first| first.len() > 1 || awaited);
                for calls in told {
                    self.waiting.retain(|letter| !calls.contains(&letter.0));
                    if listed {
                        self.pace.list("ann", calls.len(), at(now));
                    } else {
                        self.pace.single("ann", at(now));
                    }
                    self.mails.push((now, calls, awaited));
                }
                if self.pace.was_hurried() {
                    self.parked_until.clear();
                }
            }
        }

        fn run(&mut self, arrivals: &[(i64, Option<i64>)], until: i64) {
            let mut arrivals = arrivals.iter().copied().enumerate().peekable();
            for now in 0..=until {
                while let Some((number, (_, expires))) = arrivals.next_if(|(_, (when, _))| *when <= now) {
                    self.waiting.push((number, now, expires));
                }
                self.look(now);
            }
        }
    }

    fn times(mails: &[(i64, Vec<usize>, bool)]) -> Vec<(i64, usize)> {
        mails.iter().map(|(now, calls, _)| (*now, calls.len())).collect()
    }

    #[test]
    fn the_sixth_mail_is_a_list_after_the_digest_time() {
        let mut post = Post::new(MailChoice::Each);
        post.run(&[(0, None), (70, None), (140, None), (210, None), (280, None), (350, None), (400, None)], 1000);
        assert_eq!(times(&post.mails), [(0, 1), (70, 1), (140, 1), (210, 1), (280, 1), (650, 2)]);
    }

    #[test]
    fn a_burst_is_one_list_at_once_and_the_next_one_a_minute_later() {
        let mut post = Post::new(MailChoice::Each);
        let arrivals: Vec<_> = (0..12).map(|_| (0, None)).chain((0..3).map(|_| (20, None))).collect();
        post.run(&arrivals, 400);
        assert_eq!(times(&post.mails), [(0, 12), (60, 3)]);
    }

    #[test]
    fn seven_at_once_are_five_mails_and_a_list() {
        let mut post = Post::new(MailChoice::Each);
        post.run(&[(0, None); 7], 400);
        assert_eq!(times(&post.mails), [(0, 1), (0, 1), (0, 1), (0, 1), (0, 1), (300, 2)]);
    }

    #[test]
    fn who_wants_lists_gets_only_lists() {
        let mut post = Post::new(MailChoice::Digest);
        post.run(&[(0, None), (100, None), (310, None)], 1000);
        assert_eq!(times(&post.mails), [(300, 2), (610, 1)]);
    }

    #[test]
    fn a_list_leaves_before_a_call_on_it_expires_and_takes_the_others_along() {
        let mut post = Post::new(MailChoice::Digest);
        post.run(&[(0, None), (10, Some(110))], 1000);
        assert_eq!(times(&post.mails), [(60, 2)]);
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_the_bound_and_nobody_is_forgotten(
            gaps in prop::collection::vec((0_i64..90, prop::option::weighted(0.2, 30_i64..900)), 1..120),
            digest in prop::bool::ANY,
        ) {
            let mut when = 0;
            let arrivals: Vec<_> = gaps.iter().map(|(gap, life)| { when += gap / 3; (when, life.map(|life| when + life)) }).collect();
            let mut post = Post::new(if digest { MailChoice::Digest } else { MailChoice::Each });
            post.run(&arrivals, when + 700);
            prop_assert!(post.waiting.is_empty());
            let mut told: Vec<usize> = post.mails.iter().flat_map(|(_, calls, _)| calls.clone()).collect();
            told.sort_unstable();
            prop_assert_eq!(told, (0..arrivals.len()).collect::<Vec<_>>());
            for (index, (begin, ..)) in post.mails.iter().enumerate() {
                let window: Vec<_> = post.mails[index..].iter().take_while(|(now, ..)| *now < begin + 600).collect();
                let at_once = window.iter().filter(|(.., awaited)| !awaited).count();
                prop_assert!(at_once <= if digest { 0 } else { MAILS }, "{:?}", times(&post.mails));
            }
            let lists: Vec<i64> = post.mails.iter().filter(|(_, calls, awaited)| *awaited || calls.len() > 1).map(|(now, ..)| *now).collect();
            for pair in lists.windows(2) {
                prop_assert!(pair[1] - pair[0] >= 60, "{:?}", times(&post.mails));
            }
            for (now, calls, _) in &post.mails {
                for call in calls {
                    let (arrived, expires) = arrivals[*call];
                    prop_assert!(now - arrived <= 300 + 1);
                    if let Some(expires) = expires && expires - arrived > 130 {
                        prop_assert!(*now < expires, "{call} of {:?}", times(&post.mails));
                    }
                }
            }
        }
    }
}
