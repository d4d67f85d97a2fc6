//! `when`: a CEL expression over one call. The `cel` crate reads the text; what it read becomes a small tree of our
//! own, so that names, functions, patterns and time zones are checked when the rule is loaded, numbers stay exact,
//! and every step is counted: an agent chooses the arguments, and no arguments may keep the gateway busy. Whatever
//! is not true or false in the end cannot be judged. Called by `rule`.

mod clock;
mod compile;
mod convert;
mod datum;
mod eval;
#[cfg(test)]
mod tests;
mod tree;

use super::{Asked, SpecMistake};
use std::cell::Cell;
use std::sync::Arc;
use tree::Node;

/// Bytes of an expression; a longer one belongs into several rules.
const SOURCE_BYTES: usize = 4 << 10;
/// Levels of an expression that is evaluated: each takes some of the stack.
const LEVELS: usize = 64;
/// Bytes of text that one step may look at or copy.
const BYTES_PER_STEP: usize = 64;

/// A checked expression. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct When {
    root: Arc<Node>,
    constant: bool,
}

/// What is left to evaluate with: all expressions that are asked about one call share it.
#[derive(Debug)]
pub(super) struct Budget(Cell<u32>);

impl Budget {
    /// Steps for one call, a few milliseconds: enough to walk some ten thousand elements.
    pub(super) const STEPS: u32 = 250_000;

    pub(super) fn of(steps: u32) -> Budget {
        Budget(Cell::new(steps))
    }

    /// Takes a step, and one more for every [`BYTES_PER_STEP`] of text it looks at.
    fn take(&self, bytes: usize) -> Result<(), Fault> {
        let steps = u32::try_from(bytes / BYTES_PER_STEP).unwrap_or(u32::MAX).saturating_add(1);
        let left = self.0.get().checked_sub(steps);
        // Nothing is left afterwards: another rule must not go on with what was too little for this one.
        self.0.set(left.unwrap_or(0));
        left.map(drop).ok_or(Fault::Spent)
    }
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// CEL calls it an error; `false && error` is false all the same.
    Error(&'static str),
    /// No step is left; nothing absorbs it.
    Spent,
}

impl When {
    /// Checks and compiles; what is wrong goes to `mistakes` at `at`.
    pub(super) fn compile(source: &str, at: &str, mistakes: &mut Vec<SpecMistake>) -> Option<When> {
        match compile::read(source) {
            Ok(root) => Some(When { constant: !root.looks_at_the_call(), root: Arc::new(root) }),
            Err(compile::Wrong { problem, mend }) => {
                mistakes.push(SpecMistake::new(at, problem, mend));
                None
            }
        }
    }

    /// Whether the expression looks at nothing of a call, so that it is always the same.
    pub(super) fn is_constant(&self) -> bool {
        self.constant
    }

    /// Whether the expression holds for the call; the error says in plain words why that cannot be said, without any
    /// value of the call.
    pub(super) fn holds(&self, asked: &Asked<'_>, server: &str, budget: &Budget) -> Result<bool, &'static str> {
        match eval::Evaluation::new(asked, server, budget).value(&self.root) {
            Ok(datum::Datum::Bool(holds)) => Ok(holds),
            Ok(_) => Err("it is neither true nor false for these arguments"),
            Err(Fault::Error(why)) => Err(why),
            Err(Fault::Spent) => Err("these arguments are too large or too many for it"),
        }
    }
}
