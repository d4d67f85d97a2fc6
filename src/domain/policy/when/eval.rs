//! Evaluating a `when` over one call, as the CEL specification says it: `&&`, `||`, `all` and `exists` absorb an
//! error of one side when the other decides. Every node takes a step and every text its length from the budget, so
//! that time and memory are bounded whatever an agent sends. Nothing here panics. Called by `When::holds`.

use super::super::Asked;
use super::convert::{to_double, to_int, to_text, to_uint};
use super::datum::Datum;
use super::tree::{Each, EachKind, Function, Node, Operation, Order, Variable};
use super::{Budget, Fault, clock};
use crate::domain::policy::pattern::Pattern;
use jiff::{SignedDuration, Timestamp};
use std::rc::Rc;

type Value<'a> = Result<Datum<'a>, Fault>;

const KINDS: Fault = Fault::Error("it does something with a value of the wrong kind");
const RANGE: Fault = Fault::Error("a number or a time in it goes out of range");
const MISSING: Fault = Fault::Error("an argument that it looks at is missing");

/// One evaluation.
pub(super) struct Evaluation<'a, 'b> {
    asked: &'b Asked<'a>,
    server: &'a str,
    budget: &'b Budget,
    locals: Vec<Datum<'a>>,
}

impl<'a, 'b> Evaluation<'a, 'b> {
    pub(super) fn new(asked: &'b Asked<'a>, server: &'a str, budget: &'b Budget) -> Evaluation<'a, 'b> {
        Evaluation { asked, server, budget, locals: Vec::new() }
    }

    pub(super) fn value(&mut self, node: &'a Node) -> Value<'a> {
        self.budget.take(0)?;
        match node {
            Node::Literal(literal) => Ok(Datum::of_literal(literal)),
            Node::Variable(variable) => Ok(self.variable(*variable)),
            Node::Local(index) => self.locals.get(*index).cloned().ok_or(KINDS),
            Node::Select(of, key) => {
                let of = self.value(of)?;
                self.member(&of, key)
            }
            Node::Has(of, key) => match self.value(of)? {
                Datum::Map(members) => {
                    self.budget.take(key.len())?;
                    Ok(Datum::Bool(members.contains_key(key)))
                }
                _ => Err(KINDS),
            },
            Node::Index(of, by) => {
                let (of, by) = (self.value(of)?, self.value(by)?);
                self.index(&of, &by)
            }
            Node::List(items) => items.iter().map(|item| self.value(item)).collect::<Result<Rc<[_]>, _>>().map(Datum::List),
            Node::Not(of) => Ok(Datum::Bool(!self.truth(of)?)),
            Node::Negate(of) => negated(&self.value(of)?),
            Node::Logic { or, sides } => self.logic(*or, sides),
            Node::Choose(parts) => {
                let [test, yes, no] = &**parts;
                if self.truth(test)? { self.value(yes) } else { self.value(no) }
            }
            Node::Equal { wanted, sides } => {
                let (left, right) = self.both(sides)?;
                Ok(Datum::Bool(left.equals(&right, self.budget)? == *wanted))
            }
            Node::Order(order, sides) => {
                let (left, right) = self.both(sides)?;
                let found = left.compare(&right, self.budget)?;
                Ok(Datum::Bool(found.is_some_and(|found| match order {
                    Order::Less => found.is_lt(),
                    Order::LessOrEqual => found.is_le(),
                    Order::Greater => found.is_gt(),
                    Order::GreaterOrEqual => found.is_ge(),
                })))
            }
            Node::Among(sides) => {
                let (item, among) = self.both(sides)?;
                self.among(&item, &among)
            }
            Node::Sum(operation, sides) => {
                let (left, right) = self.both(sides)?;
                self.sum(*operation, &left, &right)
            }
            Node::Matches(of, pattern) => {
                let of = self.value(of)?;
                self.matches(&of, pattern)
            }
            Node::Call(function, arguments) => {
                let arguments = arguments.iter().map(|argument| self.value(argument)).collect::<Result<Vec<_>, _>>()?;
                self.call(*function, &arguments)
            }
            Node::Part(part, of, zone) => match self.value(of)? {
                Datum::Time(time) => Ok(Datum::Int(clock::part(*part, time, zone.as_ref()))),
                Datum::Span(span) if zone.is_none() => clock::part_of_span(*part, span).map(Datum::Int),
                _ => Err(KINDS),
            },
            Node::Each(each) => self.each(each),
        }
    }

    fn variable(&self, variable: Variable) -> Datum<'a> {
        match variable {
            Variable::Args => Datum::of_json(self.asked.arguments),
            Variable::Tool => Datum::Text(self.asked.tool),
            Variable::Agent => Datum::Text(self.asked.agent),
            Variable::Server => Datum::Text(self.server),
            Variable::Now => Datum::Time(self.asked.now),
        }
    }

    fn both(&mut self, sides: &'a [Node; 2]) -> Result<(Datum<'a>, Datum<'a>), Fault> {
        Ok((self.value(&sides[0])?, self.value(&sides[1])?))
    }

    fn truth(&mut self, node: &'a Node) -> Result<bool, Fault> {
        match self.value(node)? {
            Datum::Bool(truth) => Ok(truth),
            _ => Err(KINDS),
        }
    }

    /// The side that decides counts, also beside an error.
    fn logic(&mut self, or: bool, sides: &'a [Node; 2]) -> Value<'a> {
        let left = self.truth(&sides[0]);
        if left == Ok(or) || left == Err(Fault::Spent) {
            return left.map(Datum::Bool);
        }
        let right = self.truth(&sides[1])?;
        if right == or { Ok(Datum::Bool(or)) } else { left.map(Datum::Bool) }
    }

    fn member(&self, of: &Datum<'a>, key: &str) -> Value<'a> {
        self.budget.take(key.len())?;
        match of {
            Datum::Map(members) => members.get(key).map(Datum::of_json).ok_or(MISSING),
            _ => Err(KINDS),
        }
    }

    fn index(&self, of: &Datum<'a>, by: &Datum<'a>) -> Value<'a> {
        match (of, by, by.text()) {
            (Datum::Map(_), _, Some(key)) => self.member(of, key),
            (Datum::Array(_) | Datum::List(_), Datum::Int(_) | Datum::Uint(_), _) => {
                let index = match by {
                    Datum::Int(index) => usize::try_from(*index).ok(),
                    Datum::Uint(index) => usize::try_from(*index).ok(),
                    _ => None,
                };
                index.and_then(|index| of.at(index)).ok_or(Fault::Error("a list that it looks at has no such place"))
            }
            _ => Err(KINDS),
        }
    }

    fn among(&self, item: &Datum<'a>, among: &Datum<'a>) -> Value<'a> {
        if let Datum::Map(members) = among {
            return match (item, item.text()) {
                (_, Some(key)) => {
                    self.budget.take(key.len())?;
                    Ok(Datum::Bool(members.contains_key(key)))
                }
                // Keys of other kinds are CEL's, and no argument has one.
                (Datum::Bool(_) | Datum::Int(_) | Datum::Uint(_) | Datum::Double(_), None) => Ok(Datum::Bool(false)),
                _ => Err(KINDS),
            };
        }
        for index in 0..among.length().ok_or(KINDS)? {
            if among.at(index).map_or(Ok(false), |other| item.equals(&other, self.budget))? {
                return Ok(Datum::Bool(true));
            }
        }
        Ok(Datum::Bool(false))
    }

    fn matches(&self, of: &Datum<'a>, pattern: &Pattern) -> Value<'a> {
        let text = of.text().ok_or(KINDS)?;
        self.budget.take(pattern.cost(text))?;
        Ok(Datum::Bool(pattern.is_match(text)))
    }

    fn sum(&self, operation: Operation, left: &Datum<'a>, right: &Datum<'a>) -> Value<'a> {
        if let (Operation::Add, Some(left), Some(right)) = (operation, left.text(), right.text()) {
            self.budget.take(left.len().saturating_add(right.len()))?;
            return Ok(Datum::Made(Rc::from([left, right].concat())));
        }
        if let (Operation::Add, Some(first), Some(second)) = (operation, left.length(), right.length()) {
            self.budget.take(first.saturating_add(second).saturating_mul(super::BYTES_PER_STEP))?;
            let items = (0..first).filter_map(|index| left.at(index)).chain((0..second).filter_map(|index| right.at(index)));
            return Ok(Datum::List(items.collect()));
        }
        match (left, right) {
            (Datum::Int(left), Datum::Int(right)) => match operation {
                Operation::Add => left.checked_add(*right),
                Operation::Subtract => left.checked_sub(*right),
                Operation::Multiply => left.checked_mul(*right),
                Operation::Divide => left.checked_div(*right),
                Operation::Remainder => left.checked_rem(*right),
            }
            .map(Datum::Int)
            .ok_or(RANGE),
            (Datum::Uint(left), Datum::Uint(right)) => match operation {
                Operation::Add => left.checked_add(*right),
                Operation::Subtract => left.checked_sub(*right),
                Operation::Multiply => left.checked_mul(*right),
                Operation::Divide => left.checked_div(*right),
                Operation::Remainder => left.checked_rem(*right),
            }
            .map(Datum::Uint)
            .ok_or(RANGE),
            (Datum::Double(left), Datum::Double(right)) => match operation {
                Operation::Add => Ok(Datum::Double(left + right)),
                Operation::Subtract => Ok(Datum::Double(left - right)),
                Operation::Multiply => Ok(Datum::Double(left * right)),
                Operation::Divide => Ok(Datum::Double(left / right)),
                Operation::Remainder => Err(KINDS),
            },
            (Datum::Time(left), Datum::Time(right)) if operation == Operation::Subtract => Ok(Datum::Span(left.duration_since(*right))),
            (Datum::Time(time), Datum::Span(span)) | (Datum::Span(span), Datum::Time(time)) if operation == Operation::Add => moved(*time, Some(*span)),
            (Datum::Time(time), Datum::Span(span)) if operation == Operation::Subtract => moved(*time, span.checked_neg()),
            (Datum::Span(left), Datum::Span(right)) if matches!(operation, Operation::Add | Operation::Subtract) => {
                let sum = if operation == Operation::Add { left.checked_add(*right) } else { left.checked_sub(*right) };
                sum.map(Datum::Span).ok_or(RANGE)
            }
            _ => Err(KINDS),
        }
    }

    fn call(&self, function: Function, arguments: &[Datum<'a>]) -> Value<'a> {
        let Some(first) = arguments.first() else { return Err(KINDS) };
        let text = first.text();
        self.budget.take(text.map_or(0, str::len))?;
        match (function, arguments.get(1), text) {
            (Function::Size, _, Some(text)) => int(text.chars().count()),
            (Function::Size, _, None) => match first {
                Datum::Map(members) => int(members.len()),
                list => int(list.length().ok_or(KINDS)?),
            },
            (Function::Contains, Some(part), Some(text)) => Ok(Datum::Bool(text.contains(part.text().ok_or(KINDS)?))),
            (Function::StartsWith, Some(part), Some(text)) => Ok(Datum::Bool(text.starts_with(part.text().ok_or(KINDS)?))),
            (Function::EndsWith, Some(part), Some(text)) => Ok(Datum::Bool(text.ends_with(part.text().ok_or(KINDS)?))),
            (Function::LowerAscii, _, Some(text)) => Ok(Datum::Made(Rc::from(text.to_ascii_lowercase()))),
            (Function::UpperAscii, _, Some(text)) => Ok(Datum::Made(Rc::from(text.to_ascii_uppercase()))),
            (Function::Trim, _, Some(text)) => Ok(Datum::Made(Rc::from(text.trim()))),
            (Function::Int, ..) => to_int(first),
            (Function::Uint, ..) => to_uint(first),
            (Function::Double, ..) => to_double(first),
            (Function::Text, ..) => to_text(first),
            (Function::Time, _, Some(text)) => clock::time(text).map(Datum::Time).ok_or(RANGE),
            (Function::Time, _, None) => match first {
                Datum::Time(time) => Ok(Datum::Time(*time)),
                Datum::Int(seconds) => Timestamp::from_second(*seconds).map(Datum::Time).map_err(|_| RANGE),
                _ => Err(KINDS),
            },
            (Function::Span, _, Some(text)) => clock::span(text).map(Datum::Span).ok_or(RANGE),
            (Function::Span, _, None) => match first {
                Datum::Span(span) => Ok(Datum::Span(*span)),
                _ => Err(KINDS),
            },
            _ => Err(KINDS),
        }
    }

    fn each(&mut self, each: &'a Each) -> Value<'a> {
        let over = self.value(&each.over)?;
        let (mut found, mut kept, mut fault) = (0_usize, Vec::new(), None);
        let keys: Vec<Datum<'a>> = match &over {
            Datum::Map(members) => {
                self.budget.take(members.len().saturating_mul(super::BYTES_PER_STEP))?;
                members.keys().map(|key| Datum::Text(key)).collect()
            }
            _ => Vec::new(),
        };
        let count = over.length().unwrap_or(keys.len());
        if over.length().is_none() && !matches!(over, Datum::Map(_)) {
            return Err(KINDS);
        }
        for index in 0..count {
            self.budget.take(0)?;
            let Some(item) = over.at(index).or_else(|| keys.get(index).cloned()) else { break };
            self.locals.push(item.clone());
            let answer = self.one(each);
            self.locals.pop();
            match (each.kind, answer) {
                (_, Err(Fault::Spent)) => return Err(Fault::Spent),
                (EachKind::All, Ok(One::Truth(false))) => return Ok(Datum::Bool(false)),
                (EachKind::Exists, Ok(One::Truth(true))) => return Ok(Datum::Bool(true)),
                (EachKind::All | EachKind::Exists, Err(other)) => fault = Some(other),
                (_, Err(other)) => return Err(other),
                (EachKind::ExistsOne, Ok(One::Truth(true))) => found += 1,
                (EachKind::Filter, Ok(One::Truth(true))) => kept.push(item),
                (EachKind::Map, Ok(One::Value(value))) => kept.push(value),
                (_, Ok(_)) => {}
            }
        }
        match (fault, each.kind) {
            (Some(fault), _) => Err(fault),
            (None, EachKind::All) => Ok(Datum::Bool(true)),
            (None, EachKind::Exists) => Ok(Datum::Bool(false)),
            (None, EachKind::ExistsOne) => Ok(Datum::Bool(found == 1)),
            (None, EachKind::Map | EachKind::Filter) => Ok(Datum::List(kept.into())),
        }
    }

    /// What is asked of the element that was just pushed.
    fn one(&mut self, each: &'a Each) -> Result<One<'a>, Fault> {
        if each.kind != EachKind::Map {
            return self.truth(&each.body).map(One::Truth);
        }
        if let Some(filter) = &each.filter
            && !self.truth(filter)?
        {
            return Ok(One::Nothing);
        }
        self.value(&each.body).map(One::Value)
    }
}

enum One<'a> {
    Truth(bool),
    Value(Datum<'a>),
    Nothing,
}

fn int<'a>(count: usize) -> Value<'a> {
    i64::try_from(count).map(Datum::Int).map_err(|_| RANGE)
}

fn moved<'a>(time: Timestamp, by: Option<SignedDuration>) -> Value<'a> {
    by.and_then(|by| time.checked_add(by).ok()).map(Datum::Time).ok_or(RANGE)
}

fn negated<'a>(value: &Datum<'a>) -> Value<'a> {
    match value {
        Datum::Int(int) => int.checked_neg().map(Datum::Int).ok_or(RANGE),
        Datum::Double(double) => Ok(Datum::Double(-double)),
        _ => Err(KINDS),
    }
}
