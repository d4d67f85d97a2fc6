//! A value while a `when` is evaluated. Texts, lists and maps of the arguments are looked at where they are; only
//! what an expression makes is owned, and copying it copies a pointer. Numbers compare by exact value whatever
//! their kind, as in conditions. Used by `eval` and `clock`.

use super::super::number;
use super::tree::Literal;
use super::{Budget, Fault};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Number, Value};
use std::cmp::Ordering;
use std::rc::Rc;

/// One value.
#[derive(Debug, Clone)]
pub(super) enum Datum<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    /// A text of the call or of the expression.
    Text(&'a str),
    /// A text that the expression made.
    Made(Rc<str>),
    /// A list of the arguments.
    Array(&'a [Value]),
    /// A list that the expression made.
    List(Rc<[Datum<'a>]>),
    Map(&'a Map<String, Value>),
    Time(Timestamp),
    Span(SignedDuration),
}

impl<'a> Datum<'a> {
    /// A whole number is an `int`, or a `uint` when it is too large for one; every other number is a `double`.
    pub(super) fn of_json(value: &'a Value) -> Datum<'a> {
        match value {
            Value::Null => Datum::Null,
            Value::Bool(flag) => Datum::Bool(*flag),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(int), _) => Datum::Int(int),
                (None, Some(uint)) => Datum::Uint(uint),
                (None, None) => Datum::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Datum::Text(text),
            Value::Array(items) => Datum::Array(items),
            Value::Object(members) => Datum::Map(members),
        }
    }

    pub(super) fn of_literal(literal: &'a Literal) -> Datum<'a> {
        match literal {
            Literal::Null => Datum::Null,
            Literal::Bool(flag) => Datum::Bool(*flag),
            Literal::Int(int) => Datum::Int(*int),
            Literal::Uint(uint) => Datum::Uint(*uint),
            Literal::Double(double) => Datum::Double(*double),
            Literal::Text(text) => Datum::Text(text),
            Literal::Time(time) => Datum::Time(*time),
            Literal::Span(span) => Datum::Span(*span),
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Datum::Text(text) => Some(text),
            Datum::Made(text) => Some(text),
            _ => None,
        }
    }

    /// How many elements a list has.
    pub(super) fn length(&self) -> Option<usize> {
        match self {
            Datum::Array(items) => Some(items.len()),
            Datum::List(items) => Some(items.len()),
            _ => None,
        }
    }

    /// An element of a list.
    pub(super) fn at(&self, index: usize) -> Option<Datum<'a>> {
        match self {
            Datum::Array(items) => items.get(index).map(Datum::of_json),
            Datum::List(items) => items.get(index).cloned(),
            _ => None,
        }
    }

    /// CEL's equality: values of different kinds are not equal, numbers are by their value.
    pub(super) fn equals(&self, other: &Datum<'_>, budget: &Budget) -> Result<bool, Fault> {
        budget.take(0)?;
        if let (Some(left), Some(right)) = (self.text(), other.text()) {
            budget.take(left.len().min(right.len()))?;
            return Ok(left == right);
        }
        if let (Some(length), Some(others)) = (self.length(), other.length()) {
            if length != others {
                return Ok(false);
            }
            for index in 0..length {
                if let (Some(left), Some(right)) = (self.at(index), other.at(index))
                    && !left.equals(&right, budget)?
                {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        Ok(match (self, other) {
            (Datum::Null, Datum::Null) => true,
            (Datum::Bool(left), Datum::Bool(right)) => left == right,
            (Datum::Time(left), Datum::Time(right)) => left == right,
            (Datum::Span(left), Datum::Span(right)) => left == right,
            (Datum::Map(left), Datum::Map(right)) => {
                if left.len() != right.len() {
                    return Ok(false);
                }
                for (key, value) in left.iter() {
                    budget.take(key.len())?;
                    let Some(other) = right.get(key) else { return Ok(false) };
                    if !Datum::of_json(value).equals(&Datum::of_json(other), budget)? {
                        return Ok(false);
                    }
                }
                true
            }
            _ => numbers(self, other).is_some_and(|order| order == Some(Ordering::Equal)),
        })
    }

    /// CEL's order: of numbers, texts, truth values, times and durations among themselves. `None` for a NaN.
    pub(super) fn compare(&self, other: &Datum<'_>, budget: &Budget) -> Result<Option<Ordering>, Fault> {
        if let (Some(left), Some(right)) = (self.text(), other.text()) {
            budget.take(left.len().min(right.len()))?;
            return Ok(Some(left.cmp(right)));
        }
        match (self, other) {
            (Datum::Bool(left), Datum::Bool(right)) => Ok(Some(left.cmp(right))),
            (Datum::Time(left), Datum::Time(right)) => Ok(Some(left.cmp(right))),
            (Datum::Span(left), Datum::Span(right)) => Ok(Some(left.cmp(right))),
            _ => numbers(self, other).ok_or(Fault::Error("it compares values of different kinds")),
        }
    }
}

/// `None` when one of them is no number, `Some(None)` when one of them is a NaN.
fn numbers(left: &Datum<'_>, right: &Datum<'_>) -> Option<Option<Ordering>> {
    /// A number that JSON can hold, or a double that it cannot.
    fn number(datum: &Datum<'_>) -> Option<Result<Number, f64>> {
        match datum {
            Datum::Int(int) => Some(Ok(Number::from(*int))),
            Datum::Uint(uint) => Some(Ok(Number::from(*uint))),
            Datum::Double(double) => Some(Number::from_f64(*double).ok_or(*double)),
            _ => None,
        }
    }
    Some(match (number(left)?, number(right)?) {
        (Ok(left), Ok(right)) => Some(number::compare(&left, &right)),
        // One is infinite or a NaN: the other's exact value does not matter.
        (Err(left), Err(right)) => left.partial_cmp(&right),
        (Err(left), Ok(_)) => left.partial_cmp(&0.0),
        (Ok(_), Err(right)) => 0.0_f64.partial_cmp(&right),
    })
}
