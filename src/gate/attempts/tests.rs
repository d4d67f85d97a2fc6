//! The budgets against a model that keeps every try and counts; and what strangers can never take from others.
//! A test module of `attempts`.

use super::*;
use proptest::prelude::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + seconds).unwrap()
}

fn address(number: u32) -> IpAddr {
    IpAddr::V4((0x0A00_0000 + number).into())
}

fn stranger(from: u32, name: &str) -> Trier {
    Trier { from: address(from), name: Name::of(name), device: None }
}

fn known(from: u32, name: &str, device: u8) -> Trier {
    Trier { device: Some(DeviceId([device; 16])), ..stranger(from, name) }
}

/// Every try that counted, and nothing else.
#[derive(Default)]
struct Model {
    counted: Vec<(Trier, Timestamp)>,
}

impl Model {
    fn count(&self, now: Timestamp, window: SignedDuration, of: impl Fn(&Trier) -> bool) -> usize {
        self.counted.iter().filter(|(who, at)| now.duration_since(*at) < window && of(who)).count()
    }

    fn has_room(&self, who: &Trier, now: Timestamp) -> bool {
        match who.device {
            Some(device) => self.count(now, HOUR, |other| other.device == Some(device)) < OF_DEVICE,
            None => {
                self.count(now, HOUR, |other| other.device.is_none() && other.name == who.name) < OF_NAME
                    && self.count(now, QUARTER, |other| other.device.is_none() && other.from == who.from) < OF_ADDRESS
                    && self.count(now, QUARTER, |other| other.device.is_none()) < OF_ALL
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn whatever_is_tried_the_budgets_count_like_a_list_of_all_tries(steps in prop::collection::vec((0u32..4, 0u8..5, prop::option::of(0u8..3), prop::bool::weighted(0.1), 0i64..400), 1..300)) {
        let (attempts, mut model, mut seconds) = (Attempts::default(), Model::default(), 0);
        for (from, name, device, right, pause) in steps {
            seconds += pause / 8;
            let name = format!("p{name}");
            let who = match device {
                Some(device) => known(from, &name, device),
                None => stranger(from, &name),
            };
            let room = model.has_room(&who, at(seconds));
            match attempts.begin(who.clone(), at(seconds)) {
                Ok(taken) => {
                    prop_assert!(room, "{who:?}");
                    if right { attempts.give_back(taken) } else { model.counted.push((who, at(seconds))) }
                }
                Err(until) => {
                    prop_assert!(!room, "{who:?}");
                    prop_assert!(until > at(seconds) && model.has_room(&who, until) && !model.has_room(&who, until - SignedDuration::from_secs(1)));
                }
            }
        }
    }
}

#[test]
fn no_number_of_strangers_takes_anything_from_a_known_browser_or_from_links_by_mail() {
    let attempts = Attempts::default();
    let mut refused = 0;
    for number in 0..3000 {
        let who = stranger(number, if number % 2 == 0 { "ann@example.org" } else { "somebody else" });
        refused += usize::from(attempts.begin(who, at(0)).is_err());
        let _ = attempts.mail(&stranger(number, "ann@example.org"), at(0));
    }
    assert_eq!(refused, 3000 - 2 * OF_NAME);
    assert!(attempts.begin(known(1, "ann@example.org", 1), at(0)).is_ok(), "her own browser");
    assert!(attempts.mail(&known(1, "ann@example.org", 1), at(0)), "a link that her own browser asks for");
    assert!(attempts.begin(stranger(9000, "ben@example.org"), at(0)).is_ok(), "another person at another address");
    assert!(!attempts.mail(&stranger(1, "ann@example.org"), at(899)) && attempts.mail(&stranger(1, "ann@example.org"), at(900)));
}

#[test]
fn guessing_at_many_names_from_many_addresses_is_stopped_for_strange_browsers_alone() {
    let attempts = Attempts::default();
    let through = (0..5000).filter(|number| attempts.begin(stranger(*number, &format!("name {number}")), at(0)).is_ok()).count();
    assert_eq!(through, OF_ALL);
    let until = attempts.begin(stranger(7, "ann@example.org"), at(1)).unwrap_err();
    assert_eq!(until, at(900));
    assert!(attempts.begin(known(7, "ann@example.org", 1), at(1)).is_ok());
    assert!(attempts.ask(&stranger(7, "ann@example.org"), at(1)).is_ok() && attempts.mail(&stranger(7, "ann@example.org"), at(1)));
    assert!(attempts.begin(stranger(7, "ann@example.org"), until).is_ok());
    assert!(attempts.books().names.done.len() <= KEYS);
}

#[test]
fn one_address_guesses_at_few_names_and_this_machine_is_not_counted() {
    let attempts = Attempts::default();
    let names = |from: IpAddr| (0..100).filter(|number| attempts.begin(Trier { from, ..stranger(0, &format!("{from} {number}")) }, at(0)).is_ok()).count();
    assert_eq!(names(address(1)), OF_ADDRESS);
    assert_eq!(names("2001:db8::1".parse().unwrap()), OF_ADDRESS);
    assert_eq!(names("2001:db8::ffff:2".parse().unwrap()), 0, "the same subscriber");
    assert_eq!(names("::ffff:10.0.0.1".parse().unwrap()), 0, "the same address in other clothes");
    assert_eq!(names("127.0.0.1".parse().unwrap()), 100);
}

#[test]
fn a_clock_that_jumps_neither_blocks_longer_than_a_window_nor_frees_anything_when_it_goes_back() {
    let attempts = Attempts::default();
    let ann = stranger(1, "ann@example.org");
    for _ in 0..OF_NAME {
        attempts.begin(ann.clone(), at(1_000_000)).unwrap();
    }
    assert_eq!(attempts.begin(ann.clone(), at(0)).unwrap_err(), at(3600));
    assert!(attempts.begin(ann.clone(), at(3599)).is_err() && attempts.begin(ann.clone(), at(3600)).is_ok());
}

#[test]
fn what_is_remembered_has_a_bound() {
    let mut tries = Tries::new(3, QUARTER);
    for number in 0..2 * KEYS {
        tries.take(number, at(i64::try_from(number / 100).unwrap())).unwrap();
    }
    assert!(tries.done.len() <= KEYS && tries.done.contains_key(&(2 * KEYS - 1)));
}
