//! Between attempts to reach a gateway: short at first, then longer, and given up when the patience is over.
//! Used by every file of the front that tries again.

use std::time::Duration;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3);

/// The attempts of one message.
pub(super) struct Pause {
    next: Duration,
    patience: Duration,
    until: Option<Instant>,
}

impl Pause {
    pub(super) fn new(patience: Duration) -> Pause {
        Pause { next: FIRST, patience, until: None }
    }

    /// Waits before the next attempt; false at once when the patience is over.
    pub(super) async fn again(&mut self) -> bool {
        let (now, patience) = (Instant::now(), self.patience);
        let until = *self.until.get_or_insert_with(|| now + patience);
        if now >= until {
            return false;
        }
        tokio::time::sleep(self.next.min(until - now)).await;
        self.next = (self.next * 2).min(LONGEST);
        true
    }

    /// The gateway answered: the patience is whole again.
    pub(super) fn well(&mut self) {
        (self.next, self.until) = (FIRST, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_patience_ends_and_begins_anew_with_an_answer() {
        let mut pause = Pause::new(Duration::from_secs(10));
        let begun = Instant::now();
        let mut attempts = 0;
        while pause.again().await {
            attempts += 1;
        }
        assert_eq!((begun.elapsed(), attempts), (Duration::from_secs(10), 8));
        pause.well();
        assert!(pause.again().await);
    }
}
