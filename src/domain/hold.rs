//! How long a held call waits, and for what; how many may wait: the numbers of `[hold]`. They stand here because
//! `config` reads them and `gate` obeys them, and neither knows the other. Carried across by `serve`.

use std::time::Duration;

/// `[hold]`.
#[derive(Debug, Clone)]
pub struct HoldSettings {
    /// Nobody decided: refused. A rule may set its own.
    pub expires_in: Duration,
    /// How long one request stays open before the pending answer. An agent may have its own.
    pub keep_open: Duration,
    /// Between approval and sending.
    pub undo: Duration,
    /// An approval whose agent cancelled waits this long.
    pub permit_for: Duration,
    /// An outcome nobody collected waits this long.
    pub outcome_for: Duration,
    /// The identical call gets the same refusal this long.
    pub refuse_again_for: Duration,
    /// Held calls of all agents.
    pub max_held: usize,
    /// Held calls of one agent.
    pub max_held_per_agent: usize,
}

impl Default for HoldSettings {
    fn default() -> HoldSettings {
        const HOUR: Duration = Duration::from_secs(3600);
        HoldSettings {
            expires_in: 24 * HOUR,
            keep_open: Duration::from_secs(50),
            undo: Duration::ZERO,
            permit_for: HOUR,
            outcome_for: HOUR,
            refuse_again_for: 24 * HOUR,
            max_held: 10_000,
            max_held_per_agent: 100,
        }
    }
}
