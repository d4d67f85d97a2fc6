//! A person and their rights: what each role may see and decide is answered here and nowhere else (semantics.md 17).
//! The record is read anew for every request, so disabling somebody or changing a role works at once.
//! Called by `gate`; pages ask the same functions before they offer a button.

use crate::domain::call::Call;
use crate::domain::digest::Digest;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A person who may sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Address and identity, lower case.
    pub email: String,
    /// Compared by the engines.
    pub revision: u64,
    /// Shown instead of the address.
    pub name: Option<String>,
    /// Groups that rules name.
    pub groups: Vec<String>,
    /// What the person may do.
    pub role: Role,
    /// Disabled people stay on record.
    pub disabled_at: Option<Timestamp>,
    /// When the person was added.
    pub added_at: Timestamp,
    /// Which mails the person wants.
    #[serde(default)]
    pub mail: MailChoice,
    /// A link or a password only begins a sign-in: a passkey ends it.
    #[serde(default)]
    pub second_factor: bool,
}

/// Which mails a person wants (desk.md 4). Links to sign in come whatever is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MailChoice {
    /// One about each held call, as far as the bound on mails allows.
    #[default]
    Each,
    /// Only lists, one for every `mail.digest`.
    Digest,
    /// None.
    Off,
}

/// What a person may do (desk.md 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Decides for their groups.
    Reviewer,
    /// Sees and decides everything, manages agents and people.
    Operator,
    /// Reads everything, decides nothing.
    Auditor,
}

impl Role {
    /// The word of the contract.
    pub fn word(self) -> &'static str {
        match self {
            Role::Reviewer => "reviewer",
            Role::Operator => "operator",
            Role::Auditor => "auditor",
        }
    }
}

impl Person {
    /// Somebody new.
    pub fn new(email: &str, name: Option<String>, groups: Vec<String>, role: Role, added_at: Timestamp) -> Person {
        let (mail, second_factor) = (MailChoice::default(), false);
        Person { email: email.to_owned(), revision: 1, name, groups, role, disabled_at: None, added_at, mail, second_factor }
    }

    /// Names the person in addresses of pages: an address there would stand in histories and logs. The first 16
    /// hexadecimal digits of the address's digest.
    pub fn id(&self) -> String {
        let digest = Digest::of_bytes(self.email.as_bytes());
        digest.as_str().trim_start_matches("sha256:").chars().take(16).collect()
    }

    /// What to call the person on a page.
    pub fn display(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.email)
    }

    /// Whether the person may see the call (semantics.md 17).
    pub fn may_see(&self, call: &Call) -> bool {
        match self.role {
            Role::Operator | Role::Auditor => true,
            Role::Reviewer => self.is_asked(&call.reviewers),
        }
    }

    /// Whether the person may decide the call; `owner` is the owner of the agent that asked.
    pub fn may_decide(&self, call: &Call, owner: Option<&str>) -> bool {
        let owns = call.approvals > 1 && owner.is_some_and(|owner| owner.eq_ignore_ascii_case(&self.email));
        self.role != Role::Auditor && self.may_see(call) && !owns
    }

    /// Whether the person belongs to one of the groups; no group means everybody.
    pub fn is_asked(&self, groups: &[String]) -> bool {
        groups.is_empty() || groups.iter().any(|group| self.groups.contains(group))
    }
}
