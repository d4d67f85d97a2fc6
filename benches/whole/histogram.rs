//! Times as counts in buckets whose width grows with the time, so that a hundred thousand a second cost no memory and a
//! quantile is true to within one percent. Ours, because these few lines are all of it that is needed. Used by `load`.

use std::time::Duration;

/// Buckets of one power of two, as a power of two: the error is at most 1/128.
const FINE: u32 = 7;
const POWERS: usize = 64 - FINE as usize;

/// Counts of times in nanoseconds.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    all: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: vec![0; (POWERS + 1) << FINE], all: 0 }
    }
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.all += 1;
    }

    /// Counts what another counted.
    pub fn join(&mut self, other: &Histogram) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(own, others)| *own += others);
        self.all += other.all;
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.all
    }

    /// The time within which this share of all was done, 0.5 for the median; zero when nothing was counted.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = ((self.all as f64 * share).ceil() as u64).clamp(1, self.all.max(1));
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(middle(at));
            }
        }
        Duration::ZERO
    }
}

/// Below 2^FINE each nanosecond has its own; above, the leading FINE + 1 bits name the bucket.
fn bucket(nanos: u64) -> usize {
    let power = (u64::BITS - nanos.leading_zeros()).saturating_sub(FINE + 1);
    ((power as usize) << FINE) + (nanos >> power) as usize
}

/// The middle of a bucket.
fn middle(at: usize) -> u64 {
    let power = (at >> FINE).saturating_sub(1);
    let first = ((at - (power << FINE)) as u64) << power;
    first + ((1u64 << power) >> 1)
}
