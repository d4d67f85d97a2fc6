//! The revisions of MCP that agents may speak, one file each: a revision is the list of methods a client may
//! use. What no file names is answered `-32601` and never reaches a server (semantics.md 2).
//! Called by `hello` (negotiation) and `http`.

mod v2025_03_26;
mod v2025_06_18;
mod v2025_11_25;

/// One revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Revision {
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
}

const ALL: [Revision; 3] = [Revision::V2025_03_26, Revision::V2025_06_18, Revision::V2025_11_25];

impl Revision {
    /// The revision of exactly this name.
    pub(super) fn named(name: &str) -> Option<Revision> {
        ALL.into_iter().find(|revision| revision.name() == name)
    }

    /// What `initialize` answers (MCP, lifecycle, "Version Negotiation"): the same, or the nearest we speak.
    pub(super) fn negotiate(asked: &str) -> Revision {
        Revision::named(asked).unwrap_or(if asked == "2024-11-05" { Revision::V2025_03_26 } else { Revision::V2025_11_25 })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Revision::V2025_03_26 => v2025_03_26::NAME,
            Revision::V2025_06_18 => v2025_06_18::NAME,
            Revision::V2025_11_25 => v2025_11_25::NAME,
        }
    }

    /// Whether a broken stream can be resumed: its events carry ids (MCP 2025-11-25, transports, "Resumability").
    pub(super) fn resumes(self) -> bool {
        match self {
            Revision::V2025_03_26 | Revision::V2025_06_18 => false,
            Revision::V2025_11_25 => true,
        }
    }

    /// Whether a body may be a JSON-RPC batch (MCP 2025-03-26, transports; removed in 2025-06-18).
    pub(super) fn batches(self) -> bool {
        self == Revision::V2025_03_26
    }

    /// Whether a server may ask the agent's user something: `elicitation` came with 2025-06-18.
    pub(super) fn elicits(self) -> bool {
        self != Revision::V2025_03_26
    }

    /// One byte for it; never given to another revision.
    pub(super) fn number(self) -> u8 {
        match self {
            Revision::V2025_06_18 => 1,
            Revision::V2025_11_25 => 2,
            Revision::V2025_03_26 => 3,
        }
    }

    /// The revision of this number.
    pub(super) fn numbered(number: u8) -> Option<Revision> {
        ALL.into_iter().find(|revision| revision.number() == number)
    }

    /// Whether a client's request of this method goes to the server.
    pub(super) fn requests(self, method: &str) -> bool {
        match self {
            Revision::V2025_03_26 => v2025_03_26::REQUESTS.contains(&method),
            Revision::V2025_06_18 => v2025_06_18::REQUESTS.contains(&method),
            Revision::V2025_11_25 => v2025_11_25::REQUESTS.contains(&method),
        }
    }

    /// Whether a client's notification of this method goes to the server.
    pub(super) fn notifications(self, method: &str) -> bool {
        match self {
            Revision::V2025_03_26 => v2025_03_26::NOTIFICATIONS.contains(&method),
            Revision::V2025_06_18 => v2025_06_18::NOTIFICATIONS.contains(&method),
            Revision::V2025_11_25 => v2025_11_25::NOTIFICATIONS.contains(&method),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_revision_is_found_by_its_name_and_by_its_number() {
        for revision in ALL {
            assert_eq!((Revision::named(revision.name()), Revision::numbered(revision.number())), (Some(revision), Some(revision)));
        }
    }

    #[test]
    fn a_client_gets_its_own_revision_or_the_nearest() {
        for (asked, answered) in [
            ("2025-06-18", "2025-06-18"),
            ("2025-11-25", "2025-11-25"),
            ("2025-03-26", "2025-03-26"),
            ("2024-11-05", "2025-03-26"),
            ("2026-07-28", "2025-11-25"),
            ("nonsense", "2025-11-25"),
        ] {
            assert_eq!(Revision::negotiate(asked).name(), answered, "{asked}");
        }
    }
}
