//! Looks every half minute at how the gateway is, and keeps what is wrong: banners show it, operators get one mail about
//! it (semantics.md 37). What one look decides is a pure step over one reading, so that a short trouble can be told from
//! a lasting one without waiting in tests. Started by `serve`, read by `web`.

use super::upstream::ServerState;
use super::{Gate, Health, Space};
use crate::domain::letter::Trouble;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::watch;

/// How often `serve` has it look.
pub const LOOK: Duration = Duration::from_secs(30);
/// A server that is down at so many looks in a row is told of: one that is restarted is back before.
const LOOKS_DOWN: u32 = 2;
/// As long as this the outbox may fail.
const OUTBOX_FAILS: Duration = Duration::from_secs(15 * 60);

/// A trouble that there is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lasting {
    /// Which.
    pub trouble: Trouble,
    /// When it was seen first.
    pub since: Timestamp,
}

/// What earlier looks saw; as many as there are servers, and a few.
#[derive(Debug, Default)]
struct Lookout {
    seen: BTreeMap<String, (Timestamp, u32)>,
    /// Calls that nobody knew of when the process began, until none is left.
    unconfirmed_at_start: Option<bool>,
}

impl Lookout {
    /// The troubles that count as such by now.
    fn look(&mut self, health: &Health, now: Timestamp) -> Vec<Lasting> {
        let seen = self.seen_in(health);
        self.seen.retain(|key, _| seen.iter().any(|trouble| trouble.key() == *key));
        let mut lasting = Vec::new();
        for trouble in seen {
            let since = if let Trouble::UncleanStart = trouble { health.unclean_start } else { None };
            let (since, looks) = self.seen.entry(trouble.key()).or_insert((since.unwrap_or(now), 0));
            *looks = looks.saturating_add(1);
            let needed = if let Trouble::UpstreamDown { .. } = trouble { LOOKS_DOWN } else { 1 };
            if *looks >= needed {
                lasting.push(Lasting { trouble, since: *since });
            }
        }
        lasting
    }

    fn seen_in(&mut self, health: &Health) -> Vec<Trouble> {
        let down = health.servers.iter().filter(|server| matches!(server.state, ServerState::Down { .. }));
        let mut seen: Vec<Trouble> = down.map(|server| Trouble::UpstreamDown { server: server.name.clone() }).collect();
        if health.letters.failing_for.is_some_and(|span| span >= OUTBOX_FAILS) {
            seen.push(Trouble::OutboxFailing);
        }
        if is_near_floor(health.space, self.seen.contains_key(&Trouble::DiskLow.key())) {
            seen.push(Trouble::DiskLow);
        }
        if health.unclean_start.is_some() {
            seen.push(Trouble::UncleanStart);
        }
        // One that becomes unconfirmed while the process runs writes a letter of its own, to operators too. After a
        // restore there is none, and after a crash the one mail about it names them.
        let at_start = self.unconfirmed_at_start.unwrap_or(true) && health.unconfirmed > 0;
        self.unconfirmed_at_start = Some(at_start);
        if at_start {
            seen.push(Trouble::Unconfirmed { calls: health.unconfirmed });
        }
        seen
    }
}

/// Less free than twice the floor; a quarter of the floor more ends it, so that it does not come and go.
fn is_near_floor(space: Space, was_near: bool) -> bool {
    let margin = if was_near { space.floor / 4 } else { 0 };
    let near = space.floor.saturating_mul(2).saturating_add(margin);
    space.free.is_some_and(|free| space.floor > 0 && free < near)
}

impl Gate {
    /// Looks at once and then each time `every` has passed, until the gate drains; once for a gateway that serves.
    pub fn look_out(&self, every: Duration) {
        self.keep(self.clone().keep_looking(every));
    }

    /// The troubles of now, and every change of them.
    pub fn troubles(&self) -> watch::Receiver<Vec<Lasting>> {
        self.inner.lasting.subscribe()
    }

    async fn keep_looking(self, every: Duration) {
        let (draining, mut lookout) = (self.draining(), Lookout::default());
        // What cannot be read is told again, and that does no harm.
        let _ = self.remember_told().await;
        loop {
            // A failure is in the log; what was true at the last look stays shown.
            if let Ok(health) = self.health().await {
                let lasting = lookout.look(&health, self.inner.clock.now());
                self.put_up(&lasting);
                let troubles: Vec<Trouble> = lasting.into_iter().map(|lasting| lasting.trouble).collect();
                let _ = self.tell_operators(&troubles).await;
            }
            tokio::select! {
                () = draining.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
        }
    }

    fn put_up(&self, lasting: &[Lasting]) {
        self.inner.lasting.send_if_modified(|before| {
            let is_new = before != lasting;
            for gone in before.iter().filter(|was| !lasting.iter().any(|is| is.trouble.key() == was.trouble.key())) {
                tracing::info!(trouble = gone.trouble.key(), "a trouble is over");
            }
            for came in lasting.iter().filter(|is| !before.iter().any(|was| was.trouble.key() == is.trouble.key())) {
                tracing::warn!(trouble = came.trouble.key(), "operators are told: {}", came.trouble.title());
            }
            lasting.clone_into(before);
            is_new
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::Letters;
    use crate::gate::upstream::ServerStatus;
    use jiff::SignedDuration;

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute)
    }

    fn fine() -> Health {
        let space = Space { free: Some(1000), floor: 100 };
        Health { held: 0, unconfirmed: 0, letters: Letters::default(), space, paused: false, unclean_start: None, head: 1, servers: Vec::new() }
    }

    fn with_server(is_down: bool) -> Health {
        let state = if is_down { ServerState::Down { why: String::new(), stderr: Vec::new() } } else { ServerState::Idle };
        Health { servers: vec![ServerStatus { name: "demo".into(), transport: "stdio", state, tools: None }], ..fine() }
    }

    fn named(lasting: &[Lasting]) -> Vec<String> {
        lasting.iter().map(|lasting| lasting.trouble.key()).collect()
    }

    #[test]
    fn a_server_counts_as_down_at_the_second_look_in_a_row_and_since_the_first() {
        let mut lookout = Lookout::default();
        for (minute, is_down, told) in
            [(0, true, false), (1, false, false), (2, true, false), (3, true, true), (4, true, true), (5, false, false), (6, true, false)]
        {
            let lasting = lookout.look(&with_server(is_down), at(minute));
            assert_eq!(!lasting.is_empty(), told, "at minute {minute}");
            assert!(lasting.iter().all(|lasting| lasting.since == at(2)));
        }
    }

    #[test]
    fn the_disk_counts_as_nearly_full_below_twice_the_floor_and_until_there_is_clearly_more() {
        let mut lookout = Lookout::default();
        for (free, told) in [(Some(200), false), (Some(199), true), (Some(224), true), (Some(50), true), (Some(225), false), (Some(200), false), (None, false)]
        {
            let health = Health { space: Space { free, floor: 100 }, ..fine() };
            assert_eq!(named(&lookout.look(&health, at(0))).contains(&"disk_low".to_owned()), told, "{free:?} free");
        }
        let no_floor = Health { space: Space { free: Some(0), floor: 0 }, ..fine() };
        assert_eq!(lookout.look(&no_floor, at(0)), []);
    }

    #[test]
    fn the_outbox_may_fail_for_a_quarter_of_an_hour() {
        let mut lookout = Lookout::default();
        for (minutes, told) in [(0, false), (14, false), (15, true), (100, true)] {
            let letters = Letters { waiting: 1, failing_for: Some(Duration::from_secs(60 * minutes)) };
            assert_eq!(named(&lookout.look(&Health { letters, ..fine() }, at(0))) == ["outbox_failing"], told, "{minutes} min");
        }
    }

    #[test]
    fn calls_found_unconfirmed_at_the_start_are_told_with_the_unclean_start_and_later_ones_have_letters_of_their_own() {
        let mut lookout = Lookout::default();
        let crashed = |unconfirmed| Health { unconfirmed, unclean_start: Some(at(7)), ..fine() };
        let first = lookout.look(&crashed(2), at(8));
        assert_eq!(named(&first), ["unclean_start", "unconfirmed"]);
        assert_eq!(first[0].since, at(7));
        assert_eq!(named(&lookout.look(&crashed(1), at(9))), ["unclean_start", "unconfirmed"]);
        assert_eq!(named(&lookout.look(&crashed(0), at(10))), ["unclean_start"]);
        assert_eq!(named(&lookout.look(&crashed(3), at(11))), ["unclean_start"]);
        assert_eq!(named(&Lookout::default().look(&fine(), at(0))), [] as [&str; 0]);
    }
}
