//! What every text should be, by the words of the contract alone: a naive table that shares no code with the gate.
//! Times are seconds since the start. A line is one text of one agent to one recipient; asking again for it is
//! "the identical call". `said` is what the last step should have been answered.

use crate::fakes::Mood;
use crate::faulty::witness::Manner;
use std::collections::BTreeSet;

pub const GATES: usize = 2;
pub const PEOPLE: usize = 2;
pub const AGENTS: [&str; 2] = ["bot", "cat"];

/// The texts: agent, tool, recipient, text, approvals needed. Three go to one recipient, for the three refusals.
pub const TEXTS: [(usize, &str, &str, &str, usize); 5] = [
    (0, "send_dm", "@ann", "Hello", 1),
    (0, "send_dm", "@ann", "Hello, this is urgent", 1),
    (0, "send_dm", "@Ann", "Hello, please", 1),
    (0, "send_pair", "@bob", "Two people read this", 2),
    (1, "send_dm", "@ann", "Hello", 1),
];
/// Which recipient a text goes to, as far as the gate tells recipients apart.
const WAYS: [usize; 5] = [0, 0, 0, 1, 2];

pub const EXPIRES_IN: i64 = 7200;
pub const PERMIT_FOR: i64 = 3600;
pub const OUTCOME_FOR: i64 = 3600;
pub const REFUSE_AGAIN_FOR: i64 = 1200;
/// The second gate runs with an undo window: the terms are those of the gate at which a call was held.
pub const UNDO: [i64; GATES] = [0, 10];
pub const MAX_HELD: usize = 3;
const REFUSALS_COUNT_FOR: i64 = 3600;
const AFTER_UNDO: i64 = 600;

/// How a person decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Reads it and names what was shown.
    Honest,
    /// Names another version than the one that is shown.
    OtherVersion,
    /// Names another text.
    OtherText,
    /// Gives no reason.
    Silent,
    /// Has not looked just now.
    Blind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Approve,
    Reject,
    RequestChanges,
}

/// One step of a history. `text`, `gate` and `person` are places in the lists above.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Ask {
        text: usize,
        gate: usize,
    },
    Leave {
        text: usize,
        gate: usize,
    },
    Cancel {
        text: usize,
        gate: usize,
    },
    /// A waiting request ends: with the outcome, or with "pending" when there is none yet.
    Collect {
        text: usize,
        gate: usize,
    },
    Decide {
        text: usize,
        gate: usize,
        person: usize,
        verdict: Verdict,
        how: How,
    },
    /// Reads, waits until the deadline has passed unnoticed, and approves.
    DecideTooLate {
        text: usize,
        gate: usize,
        person: usize,
    },
    Undo {
        text: usize,
        gate: usize,
        person: usize,
    },
    Resolve {
        text: usize,
        gate: usize,
        person: usize,
        sent: bool,
        stale: bool,
    },
    Lift {
        text: usize,
        gate: usize,
        person: usize,
    },
    Pause {
        gate: usize,
    },
    Resume {
        gate: usize,
    },
    EditClock {
        by: i64,
    },
    Upstream(Manner),
    /// The clock goes on while nothing runs.
    Crash {
        down: i64,
    },
    Restart {
        down: i64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Answered,
    Told,
    Rejected,
    ChangesRequested,
    Expired,
    Lapsed,
    Unconfirmed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Is {
    Free,
    Held { until: i64 },
    Approved { at: i64, release: i64, send_by: i64, tries: u32 },
    Sending,
    Over { end: End, at: i64 },
}

#[derive(Debug, Clone)]
pub struct Line {
    pub is: Is,
    pub version: u64,
    pub cancelled: bool,
    pub delivered: bool,
    pub sends: usize,
    pub seats: [usize; GATES],
    undo: i64,
    held_at: i64,
    yes: BTreeSet<usize>,
    read: BTreeSet<usize>,
}

#[derive(Debug, Clone, Default)]
struct Way {
    refused: Vec<i64>,
    closed: bool,
    /// Opened again, and nothing was refused since.
    opened: bool,
}

#[derive(Debug, Clone)]
pub struct Table {
    pub now: i64,
    pub lines: Vec<Line>,
    pub paused: bool,
    pub manner: Manner,
    pub said: String,
    /// For histories behind a faulty store.
    pub seed: u64,
    ways: [Way; 3],
}

const FREE: Line = Line {
    is: Is::Free,
    version: 0,
    cancelled: false,
    delivered: false,
    sends: 0,
    seats: [0; GATES],
    undo: 0,
    held_at: 0,
    yes: BTreeSet::new(),
    read: BTreeSet::new(),
};

impl Line {
    pub fn word(&self) -> &'static str {
        match self.is {
            Is::Free => "",
            Is::Held { .. } => "held",
            Is::Approved { .. } => "approved",
            Is::Sending => "sending",
            Is::Over { end, .. } => match end {
                End::Answered | End::Told => "answered",
                End::Rejected => "rejected",
                End::ChangesRequested => "changes_requested",
                End::Expired => "expired",
                End::Lapsed => "lapsed",
                End::Unconfirmed => "unconfirmed",
            },
        }
    }

    fn become_now(&mut self, is: Is) {
        self.is = is;
        self.version += 1;
    }

    /// Held again, with no approval left.
    fn take_back(&mut self, now: i64) {
        self.yes.clear();
        self.become_now(Is::Held { until: (self.held_at + EXPIRES_IN).max(now + AFTER_UNDO) });
    }

    fn attaches(&self, now: i64) -> bool {
        match self.is {
            Is::Free => false,
            Is::Held { .. } | Is::Approved { .. } | Is::Sending => true,
            Is::Over { end, at } => match end {
                End::Unconfirmed => true,
                End::Told => !self.delivered,
                End::Rejected | End::ChangesRequested => now < at + REFUSE_AGAIN_FOR,
                End::Answered | End::Expired | End::Lapsed => !self.delivered && now < at + OUTCOME_FOR,
            },
        }
    }
}

impl Table {
    pub fn new(seed: u64) -> Table {
        let manner = Manner::Is(Mood::Answers);
        Table { now: 0, lines: vec![FREE; TEXTS.len()], paused: false, manner, said: String::new(), seed, ways: Default::default() }
    }

    /// Steps that mean something only here and that chance seldom proposes: the same person approves a second
    /// time or after an undo, an approval is taken back or its agent leaves, an unconfirmed call is asked for and
    /// looked into, its outcome is told once and the call made again, a closed way is opened and somebody refuses
    /// again, the process dies while something is being sent.
    pub fn rare_by_chance(&self, crashes: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        for (text, line) in self.lines.iter().enumerate() {
            let gate = usize::from(line.seats[0] == 0 && line.seats[1] > 0);
            match (line.is, line.yes.first()) {
                (Is::Held { .. }, Some(&person)) => steps.push(Step::Decide { text, gate, person, verdict: Verdict::Approve, how: How::Honest }),
                (Is::Held { .. }, None) if line.version > 1 => {
                    steps.push(Step::Decide { text, gate, person: 0, verdict: Verdict::Approve, how: How::Honest });
                }
                (Is::Approved { .. }, _) => {
                    steps.push(Step::Undo { text, gate, person: 1 });
                    if line.seats[gate] > 0 {
                        steps.push(Step::Cancel { text, gate });
                    }
                }
                (Is::Sending, _) if crashes => steps.push(Step::Crash { down: 5 }),
                (Is::Over { end: End::Unconfirmed, .. }, _) => {
                    steps.push(Step::Resolve { text, gate, person: 0, sent: true, stale: false });
                    steps.push(Step::Ask { text, gate });
                }
                (Is::Over { end: End::Told, .. }, _) if line.seats[gate] > 0 => steps.push(Step::Collect { text, gate }),
                (Is::Over { end: End::Told, .. }, _) => steps.push(Step::Ask { text, gate }),
                (Is::Free | Is::Held { .. } | Is::Sending | Is::Over { .. }, _) => {}
            }
            if line.is != Is::Free && self.ways[WAYS[text]].closed {
                steps.push(Step::Lift { text, gate, person: 1 });
            }
            if self.ways[WAYS[text]].opened {
                let held = matches!(line.is, Is::Held { .. });
                let refuse = Step::Decide { text, gate, person: 1, verdict: Verdict::Reject, how: How::Honest };
                steps.extend(if held { [refuse, refuse] } else { [Step::Ask { text, gate }, Step::EditClock { by: REFUSE_AGAIN_FOR }] });
            }
        }
        steps
    }

    pub fn apply(&mut self, step: &Step) {
        self.said = match *step {
            Step::Ask { text, gate } => self.ask(text, gate).to_owned(),
            Step::Leave { text, gate } => {
                self.lines[text].seats[gate] = self.lines[text].seats[gate].saturating_sub(1);
                String::new()
            }
            Step::Cancel { text, gate } => self.cancel(text, gate),
            Step::Collect { text, gate } => self.collect(text, gate),
            Step::Decide { text, person, verdict, how, .. } => self.decide(text, person, verdict, how),
            Step::DecideTooLate { text, person, .. } => self.decide_too_late(text, person),
            Step::Undo { text, .. } => self.undo(text),
            Step::Resolve { text, stale, .. } => self.resolve(text, stale),
            Step::Lift { text, .. } => self.lift(text),
            Step::Pause { .. } => self.turn(true),
            Step::Resume { .. } => self.turn(false),
            Step::EditClock { by } => {
                self.now += by;
                String::new()
            }
            Step::Upstream(manner) => self.upstream(manner),
            Step::Crash { down } | Step::Restart { down } => self.start_again(down),
        };
        self.let_time_act();
    }

    fn ask(&mut self, text: usize, gate: usize) -> &'static str {
        if self.lines[text].attaches(self.now) {
            let line = &mut self.lines[text];
            if matches!(line.is, Is::Held { .. } | Is::Approved { .. }) {
                line.cancelled = false;
            }
            line.seats[gate] += 1;
            return "seated";
        }
        if self.paused {
            return "denied paused";
        }
        if self.ways[WAYS[text]].closed {
            return "denied three-refusals";
        }
        let held = |agent: Option<usize>| {
            let lines = self.lines.iter().zip(TEXTS);
            lines.filter(|(line, of)| matches!(line.is, Is::Held { .. }) && agent.is_none_or(|agent| of.0 == agent)).count()
        };
        if held(Some(TEXTS[text].0)) >= MAX_HELD || held(None) >= MAX_HELD {
            return "limited";
        }
        let mut line = Line { version: 1, held_at: self.now, undo: UNDO[gate], is: Is::Held { until: self.now + EXPIRES_IN }, ..FREE };
        line.seats[gate] = 1;
        self.lines[text] = line;
        "seated"
    }

    /// A gate knows its own waiters only: the last of them counts.
    fn cancel(&mut self, text: usize, gate: usize) -> String {
        let line = &mut self.lines[text];
        if line.seats[gate] > 0 {
            line.seats[gate] -= 1;
            if line.seats[gate] == 0 && !line.cancelled {
                match &mut line.is {
                    Is::Held { .. } => line.cancelled = true,
                    Is::Approved { at, send_by, .. } => {
                        *send_by = *at + PERMIT_FOR;
                        line.cancelled = true;
                    }
                    Is::Free | Is::Sending | Is::Over { .. } => {}
                }
            }
        }
        String::new()
    }

    fn collect(&mut self, text: usize, gate: usize) -> String {
        let line = &mut self.lines[text];
        if line.seats[gate] == 0 {
            return String::new();
        }
        line.seats[gate] -= 1;
        match line.is {
            Is::Free | Is::Held { .. } | Is::Approved { .. } | Is::Sending => "pending".to_owned(),
            Is::Over { end: End::Answered, .. } => {
                line.delivered = true;
                "result".to_owned()
            }
            Is::Over { end, .. } => {
                line.delivered = end != End::Unconfirmed;
                format!("told {}", line.word())
            }
        }
    }

    fn decide(&mut self, text: usize, person: usize, verdict: Verdict, how: How) -> String {
        let now = self.now;
        let line = &mut self.lines[text];
        if line.is == Is::Free {
            return String::new();
        }
        if how != How::Blind && !matches!(line.is, Is::Over { .. }) {
            line.read.insert(person);
        }
        let Is::Held { .. } = line.is else { return format!("settled {}", line.word()) };
        if matches!(how, How::OtherVersion | How::OtherText) {
            return "stale".to_owned();
        }
        if !line.read.contains(&person) {
            return "not shown".to_owned();
        }
        match verdict {
            Verdict::Approve => {
                line.yes.insert(person);
                if line.yes.len() >= TEXTS[text].4 {
                    let span = if line.cancelled { PERMIT_FOR } else { EXPIRES_IN };
                    line.become_now(Is::Approved { at: now, release: now + line.undo, send_by: (now + span).max(now + 2 * line.undo), tries: 0 });
                }
            }
            Verdict::Reject | Verdict::RequestChanges if how == How::Silent => return "incomplete".to_owned(),
            Verdict::Reject => {
                line.become_now(Is::Over { end: End::Rejected, at: now });
                let way = &mut self.ways[WAYS[text]];
                way.refused.retain(|at| now < at + REFUSALS_COUNT_FOR);
                way.refused.push(now);
                way.opened = false;
                way.closed |= way.refused.len() >= 3;
            }
            Verdict::RequestChanges => line.become_now(Is::Over { end: End::ChangesRequested, at: now }),
        }
        format!("decided {}", self.lines[text].word())
    }

    fn decide_too_late(&mut self, text: usize, person: usize) -> String {
        let Is::Held { until } = self.lines[text].is else { return String::new() };
        self.lines[text].read.insert(person);
        self.now = self.now.max(until);
        "settled expired".to_owned()
    }

    fn undo(&mut self, text: usize) -> String {
        let now = self.now;
        let line = &mut self.lines[text];
        match line.is {
            Is::Free => String::new(),
            Is::Approved { .. } => {
                line.take_back(now);
                "undone".to_owned()
            }
            Is::Held { .. } | Is::Sending | Is::Over { .. } => format!("settled {}", line.word()),
        }
    }

    fn resolve(&mut self, text: usize, stale: bool) -> String {
        let now = self.now;
        let line = &mut self.lines[text];
        match line.is {
            Is::Free => String::new(),
            Is::Over { end: End::Unconfirmed, .. } if stale => "stale".to_owned(),
            Is::Over { end: End::Unconfirmed, .. } => {
                line.become_now(Is::Over { end: End::Told, at: now });
                "resolved".to_owned()
            }
            Is::Held { .. } | Is::Approved { .. } | Is::Sending | Is::Over { .. } => format!("settled {}", line.word()),
        }
    }

    fn lift(&mut self, text: usize) -> String {
        if self.lines[text].is == Is::Free {
            return String::new();
        }
        let way = &mut self.ways[WAYS[text]];
        let was_closed = way.closed;
        if was_closed {
            *way = Way { opened: true, ..Way::default() };
        }
        format!("lifted {was_closed}")
    }

    fn turn(&mut self, paused: bool) -> String {
        if self.paused == paused {
            return "already".to_owned();
        }
        self.paused = paused;
        if paused {
            for line in self.lines.iter_mut().filter(|line| matches!(line.is, Is::Approved { .. })) {
                line.take_back(self.now);
            }
        }
        "turned".to_owned()
    }

    fn upstream(&mut self, manner: Manner) -> String {
        self.manner = manner;
        let end = match manner {
            Manner::Hangs => return String::new(),
            Manner::Is(Mood::Answers | Mood::ToolError) => End::Answered,
            Manner::Is(Mood::NeverReached | Mood::Vanishes) => End::Unconfirmed,
        };
        for line in self.lines.iter_mut().filter(|line| line.is == Is::Sending) {
            line.become_now(Is::Over { end, at: self.now });
        }
        String::new()
    }

    /// Nobody waits any more, what was being sent may have left, and undo windows begin anew.
    fn start_again(&mut self, down: i64) -> String {
        self.now += down;
        let now = self.now;
        for line in &mut self.lines {
            line.seats = [0; GATES];
            match &mut line.is {
                Is::Sending => line.become_now(Is::Over { end: End::Unconfirmed, at: now }),
                Is::Approved { release, send_by, tries: 0, .. } if line.undo > 0 && !line.cancelled => {
                    *release = now + line.undo;
                    *send_by = (*send_by).max(*release + line.undo);
                }
                Is::Free | Is::Held { .. } | Is::Approved { .. } | Is::Over { .. } => {}
            }
        }
        String::new()
    }

    fn let_time_act(&mut self) {
        let (now, paused, manner) = (self.now, self.paused, self.manner);
        for line in &mut self.lines {
            match line.is {
                Is::Held { until } if now >= until => line.become_now(Is::Over { end: End::Expired, at: now }),
                Is::Approved { send_by, .. } if now >= send_by => line.become_now(Is::Over { end: End::Lapsed, at: now }),
                Is::Approved { at, release, send_by, tries } if now >= release && !line.cancelled && !paused => {
                    line.become_now(Is::Sending);
                    let next = match manner {
                        Manner::Hangs => None,
                        Manner::Is(Mood::Answers | Mood::ToolError) => Some(Is::Over { end: End::Answered, at: now }),
                        Manner::Is(Mood::Vanishes) => Some(Is::Over { end: End::Unconfirmed, at: now }),
                        Manner::Is(Mood::NeverReached) => Some(Is::Approved { at, release: now + (1 << tries.min(6)).min(60), send_by, tries: tries + 1 }),
                    };
                    line.sends += usize::from(manner != Manner::Is(Mood::NeverReached));
                    if let Some(next) = next {
                        line.become_now(next);
                    }
                }
                Is::Free | Is::Held { .. } | Is::Approved { .. } | Is::Sending | Is::Over { .. } => {}
            }
        }
    }
}
