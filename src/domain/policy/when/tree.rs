//! The tree that a `when` becomes: every name resolved, every pattern and time zone compiled, so that evaluating
//! cannot meet anything unknown. Plain data that threads may share. Made by `compile`, walked by `eval`.

use crate::domain::policy::pattern::Pattern;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// One part of an expression.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Literal(Literal),
    Variable(Variable),
    /// The variable of the n-th `all`, `exists`, … around this place.
    Local(usize),
    Select(Box<Node>, String),
    Has(Box<Node>, String),
    Index(Box<Node>, Box<Node>),
    List(Vec<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    Logic {
        or: bool,
        sides: Box<[Node; 2]>,
    },
    Choose(Box<[Node; 3]>),
    Equal {
        wanted: bool,
        sides: Box<[Node; 2]>,
    },
    Order(Order, Box<[Node; 2]>),
    Among(Box<[Node; 2]>),
    Sum(Operation, Box<[Node; 2]>),
    Matches(Box<Node>, Box<Pattern>),
    Call(Function, Vec<Node>),
    Part(Part, Box<Node>, Option<TimeZone>),
    Each(Box<Each>),
}

/// A value that stands in the expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(String),
    Time(Timestamp),
    Span(SignedDuration),
}

/// What an expression may look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variable {
    Args,
    Tool,
    Agent,
    Server,
    Now,
}

impl Variable {
    pub(super) const NAMES: [(&'static str, Variable); 5] =
        [("args", Variable::Args), ("tool", Variable::Tool), ("agent", Variable::Agent), ("server", Variable::Server), ("now", Variable::Now)];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Functions of values; the first argument may stand before the dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Size,
    Contains,
    StartsWith,
    EndsWith,
    LowerAscii,
    UpperAscii,
    Trim,
    Int,
    Uint,
    Double,
    Text,
    Time,
    Span,
}

impl Function {
    /// Name, number of arguments, and whether it may stand before a bracket, after a dot, or both.
    pub(super) const NAMES: [(&'static str, Function, usize, Style); 13] = [
        ("size", Function::Size, 1, Style::Both),
        ("contains", Function::Contains, 2, Style::Dot),
        ("startsWith", Function::StartsWith, 2, Style::Dot),
        ("endsWith", Function::EndsWith, 2, Style::Dot),
        ("lowerAscii", Function::LowerAscii, 1, Style::Dot),
        ("upperAscii", Function::UpperAscii, 1, Style::Dot),
        ("trim", Function::Trim, 1, Style::Dot),
        ("int", Function::Int, 1, Style::Bracket),
        ("uint", Function::Uint, 1, Style::Bracket),
        ("double", Function::Double, 1, Style::Bracket),
        ("string", Function::Text, 1, Style::Bracket),
        ("timestamp", Function::Time, 1, Style::Bracket),
        ("duration", Function::Span, 1, Style::Bracket),
    ];
}

/// How a function is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `size(x)`.
    Bracket,
    /// `x.contains(y)`.
    Dot,
    /// Either.
    Both,
}

/// Parts of a time, as CEL names and counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Year,
    /// From 0.
    Month,
    /// The day of the month from 0.
    DayFromZero,
    /// The day of the month from 1.
    Day,
    /// From 0, Sunday.
    Weekday,
    /// From 0.
    DayOfYear,
    Hour,
    Minute,
    Second,
    Millisecond,
}

impl Part {
    pub(super) const NAMES: [(&'static str, Part); 10] = [
        ("getFullYear", Part::Year),
        ("getMonth", Part::Month),
        ("getDayOfMonth", Part::DayFromZero),
        ("getDate", Part::Day),
        ("getDayOfWeek", Part::Weekday),
        ("getDayOfYear", Part::DayOfYear),
        ("getHours", Part::Hour),
        ("getMinutes", Part::Minute),
        ("getSeconds", Part::Second),
        ("getMilliseconds", Part::Millisecond),
    ];
}

/// What is done with each element of a list or each key of a map.
#[derive(Debug, Clone)]
pub(super) struct Each {
    pub(super) kind: EachKind,
    pub(super) over: Node,
    /// Which elements `map` takes; everything without it.
    pub(super) filter: Option<Node>,
    pub(super) body: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EachKind {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
}

impl EachKind {
    pub(super) const NAMES: [(&'static str, EachKind); 6] = [
        ("all", EachKind::All),
        ("exists", EachKind::Exists),
        ("exists_one", EachKind::ExistsOne),
        ("existsOne", EachKind::ExistsOne),
        ("map", EachKind::Map),
        ("filter", EachKind::Filter),
    ];
}

impl Node {
    /// Whether the value can be true or false; for what an argument holds it can.
    pub(super) fn may_be_a_verdict(&self) -> bool {
        match self {
            Node::Literal(literal) => matches!(literal, Literal::Bool(_)),
            Node::Select(..) | Node::Index(..) | Node::Local(_) => true,
            Node::Has(..) | Node::Not(_) | Node::Logic { .. } | Node::Equal { .. } | Node::Order(..) | Node::Among(_) | Node::Matches(..) => true,
            Node::Choose(parts) => parts[1].may_be_a_verdict() || parts[2].may_be_a_verdict(),
            Node::Call(function, _) => matches!(function, Function::Contains | Function::StartsWith | Function::EndsWith),
            Node::Each(each) => matches!(each.kind, EachKind::All | EachKind::Exists | EachKind::ExistsOne),
            Node::Variable(_) | Node::List(_) | Node::Negate(_) | Node::Sum(..) | Node::Part(..) => false,
        }
    }

    /// Whether anything of the call is looked at.
    pub(super) fn looks_at_the_call(&self) -> bool {
        matches!(self, Node::Variable(_)) || self.parts().into_iter().any(Node::looks_at_the_call)
    }

    /// Levels of the tree below and with this one.
    pub(super) fn levels(&self) -> usize {
        1 + self.parts().into_iter().map(Node::levels).max().unwrap_or(0)
    }

    fn parts(&self) -> Vec<&Node> {
        match self {
            Node::Literal(_) | Node::Variable(_) | Node::Local(_) => Vec::new(),
            Node::Select(of, _) | Node::Has(of, _) | Node::Not(of) | Node::Negate(of) | Node::Matches(of, _) | Node::Part(_, of, _) => vec![of],
            Node::Index(of, by) => vec![of, by],
            Node::List(items) | Node::Call(_, items) => items.iter().collect(),
            Node::Choose(parts) => parts.iter().collect(),
            Node::Logic { sides, .. } | Node::Equal { sides, .. } | Node::Order(_, sides) | Node::Among(sides) | Node::Sum(_, sides) => sides.iter().collect(),
            Node::Each(each) => each.filter.iter().chain([&each.over, &each.body]).collect(),
        }
    }
}
