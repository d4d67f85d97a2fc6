//! Time and randomness, handed in so that tests can set both; nothing else in Paraph may ask the system for
//! either (clippy.toml). Instants have millisecond precision, so that what is stored is what is compared.

use jiff::Timestamp;

/// Where time and randomness come from.
pub trait Clock: Send + Sync + 'static {
    /// Now, in whole milliseconds.
    fn now(&self) -> Timestamp;

    /// Fills the bytes from a source fit for secrets.
    fn random(&self, bytes: &mut [u8]);
}

/// The machine's clock and random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now)
    }

    #[expect(clippy::disallowed_methods, clippy::expect_used, reason = "the one place that asks the system; without randomness no secret may be made")]
    fn random(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the system's random numbers");
    }
}
