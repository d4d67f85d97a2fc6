//! From the text of a `when` to its tree. The parser is recursive, runs out of a common thread's stack on some fifty
//! brackets and has panicked on odd texts, so it works on a thread of its own with a large stack; what it read is
//! then checked name by name. Called by `When::compile`.

use super::tree::{Each, EachKind, Function, Literal, Node, Operation, Order, Part, Style, Variable};
use super::{LEVELS, SOURCE_BYTES, clock};
use crate::domain::policy::pattern::Pattern;
use crate::domain::spelling::closest;
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};
use cel::{Env, ParseErrors};

/// Bytes of stack for the parser: several times what the worst text of [`SOURCE_BYTES`] takes in a debug build.
const STACK: usize = 64 << 20;
/// Characters of an operator's text that a mistake repeats.
const ECHO: usize = 60;

/// What is wrong, and what to do.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) problem: String,
    pub(super) mend: String,
}

impl Wrong {
    fn new(problem: impl Into<String>, mend: impl Into<String>) -> Wrong {
        Wrong { problem: problem.into(), mend: mend.into() }
    }
}

/// Reads and checks an expression.
pub(super) fn read(source: &str) -> Result<Node, Wrong> {
    if source.trim().is_empty() {
        return Err(Wrong::new("is empty", "Write an expression such as 'size(args.text) > 500', or leave it out."));
    }
    if source.len() > SOURCE_BYTES {
        return Err(Wrong::new("is longer than 4096 bytes", "Use several rules, or conditions."));
    }
    let text = source.to_owned();
    let parsing = std::thread::Builder::new().name("when".into()).stack_size(STACK).spawn(move || parse(&text));
    // A panic of the parser ends as an error here.
    parsing.ok().and_then(|parsing| parsing.join().ok()).unwrap_or_else(|| Err(Wrong::new("cannot be read", "Write it in another way, or use conditions.")))
}

fn parse(source: &str) -> Result<Node, Wrong> {
    let program = Env::default().with_optional_support(false).compile(source).map_err(|errors| not_cel(source, &errors))?;
    let mut reader = Reader { source, places: program.source_info(), locals: Vec::new() };
    let root = reader.node(program.expression())?;
    if root.levels() > LEVELS {
        return Err(Wrong::new(format!("has more than {LEVELS} levels"), "Use several rules, or conditions."));
    }
    if !root.may_be_a_verdict() {
        return Err(Wrong::new("is never true or false", "Compare the value with something, such as size(args.text) > 500."));
    }
    Ok(root)
}

fn not_cel(source: &str, errors: &ParseErrors) -> Wrong {
    const MEND: &str = "Texts stand in quotes of the other kind than the expression; args.KEY is an argument; && is and, || is or, ! is not.";
    let Some(first) = errors.errors.first() else { return Wrong::new("is not a CEL expression", MEND) };
    if errors.errors.iter().any(|error| error.msg.contains("Recursion limit")) {
        return Wrong::new("is nested too deeply", "Use several rules, or conditions.");
    }
    let line = usize::try_from(first.pos.0).unwrap_or(1).max(1);
    let column = usize::try_from(first.pos.1).unwrap_or(1).max(1);
    let message = first.msg.strip_prefix("Syntax error: ").unwrap_or(&first.msg);
    let message: String = message.split(" expecting ").next().unwrap_or_default().chars().take(ECHO * 2).collect();
    let place = if source.contains('\n') { format!("line {line}, character {column}") } else { format!("character {column}") };
    Wrong::new(format!("is not a CEL expression: {place}: {message}"), MEND)
}

struct Reader<'s> {
    source: &'s str,
    places: &'s SourceInfo,
    /// The variables of the `all`, `exists`, … around the place, outermost first.
    locals: Vec<String>,
}

impl Reader<'_> {
    fn node(&mut self, part: &IdedExpr) -> Result<Node, Wrong> {
        match &part.expr {
            Expr::Literal(literal) => self.literal(part, literal),
            Expr::Ident(name) => self.name(part, name),
            Expr::Select(select) => Ok(Node::Select(Box::new(self.node(&select.operand)?), select.field.clone())),
            Expr::Call(call) => self.call(part, call),
            Expr::List(list) => Ok(Node::List(list.elements.iter().map(|item| self.node(item)).collect::<Result<_, _>>()?)),
            Expr::Map(_) | Expr::Struct(_) => Err(self.wrong(part, "writes a map, which a when cannot", "Compare the members one by one.")),
            Expr::Comprehension(_) | Expr::Unspecified => Err(self.wrong(part, "cannot be read", "Write it in another way.")),
        }
    }

    fn literal(&self, part: &IdedExpr, literal: &LiteralValue) -> Result<Node, Wrong> {
        Ok(Node::Literal(match literal {
            LiteralValue::Null => Literal::Null,
            LiteralValue::Boolean(flag) => Literal::Bool(*flag.inner()),
            LiteralValue::Int(int) => Literal::Int(*int.inner()),
            LiteralValue::UInt(uint) => Literal::Uint(*uint.inner()),
            LiteralValue::Double(double) => Literal::Double(*double.inner()),
            LiteralValue::String(text) => Literal::Text(text.inner().to_owned()),
            LiteralValue::Bytes(_) => return Err(self.wrong(part, "has bytes, which no argument holds", "Write a text without the b before it.")),
        }))
    }

    fn name(&self, part: &IdedExpr, name: &str) -> Result<Node, Wrong> {
        if let Some(index) = self.locals.iter().rposition(|local| local == name) {
            return Ok(Node::Local(index));
        }
        if let Some((_, variable)) = Variable::NAMES.iter().find(|(known, _)| *known == name) {
            return Ok(Node::Variable(*variable));
        }
        let known: Vec<&str> = Variable::NAMES.iter().map(|(known, _)| *known).chain(self.locals.iter().map(String::as_str)).collect();
        Err(self.unknown(part, name, "is not known", &known))
    }

    fn call(&mut self, part: &IdedExpr, call: &CallExpr) -> Result<Node, Wrong> {
        let arguments = call.args.as_slice();
        match (call.func_name.as_str(), &call.target, arguments) {
            (operators::LOGICAL_AND, None, [left, right]) => Ok(Node::Logic { or: false, sides: self.both(left, right)? }),
            (operators::LOGICAL_OR, None, [left, right]) => Ok(Node::Logic { or: true, sides: self.both(left, right)? }),
            (operators::EQUALS, None, [left, right]) => Ok(Node::Equal { wanted: true, sides: self.both(left, right)? }),
            (operators::NOT_EQUALS, None, [left, right]) => Ok(Node::Equal { wanted: false, sides: self.both(left, right)? }),
            (operators::IN, None, [left, right]) => Ok(Node::Among(self.both(left, right)?)),
            (operators::INDEX, None, [of, by]) => Ok(Node::Index(Box::new(self.node(of)?), Box::new(self.node(by)?))),
            (operators::LOGICAL_NOT, None, [of]) => Ok(Node::Not(Box::new(self.node(of)?))),
            (operators::NEGATE, None, [of]) => Ok(Node::Negate(Box::new(self.node(of)?))),
            (operators::CONDITIONAL, None, [test, yes, no]) => Ok(Node::Choose(Box::new([self.node(test)?, self.node(yes)?, self.node(no)?]))),
            (operators::HAS, None, [of]) => self.has(of),
            ("dyn", None, [of]) => self.node(of),
            ("matches", None, [of, pattern]) => self.matches(of, pattern),
            ("matches", Some(of), [pattern]) => self.matches(of, pattern),
            (operator, None, [left, right]) if order(operator).is_some() || operation(operator).is_some() => {
                let sides = self.both(left, right)?;
                match (order(operator), operation(operator)) {
                    (Some(order), _) => Ok(Node::Order(order, sides)),
                    (None, Some(operation)) => Ok(Node::Sum(operation, sides)),
                    (None, None) => Err(self.wrong(part, "cannot be read", "Write it in another way.")),
                }
            }
            (name, target, _) => self.function(part, name, target.as_deref(), arguments),
        }
    }

    fn function(&mut self, part: &IdedExpr, name: &str, target: Option<&IdedExpr>, arguments: &[IdedExpr]) -> Result<Node, Wrong> {
        if let (Some(over), Some((_, kind))) = (target, EachKind::NAMES.iter().find(|(known, _)| *known == name)) {
            return self.each(part, *kind, over, arguments);
        }
        if let (Some(of), Some((_, what))) = (target, Part::NAMES.iter().find(|(known, _)| *known == name)) {
            let zone = match arguments {
                [] => None,
                [zone] => Some(self.zone(zone)?),
                _ => return Err(self.wrong(part, &format!("{name} takes one zone at most"), "Write now.getHours(\"Europe/Berlin\").")),
            };
            return Ok(Node::Part(*what, Box::new(self.node(of)?), zone));
        }
        let found = Function::NAMES.iter().find(|(known, ..)| *known == name);
        let Some((_, function, count, style)) = found else {
            let known: Vec<&str> = Function::NAMES.iter().map(|(known, ..)| *known).chain(["has", "matches"]).collect();
            let known: Vec<&str> = known.into_iter().chain(EachKind::NAMES.map(|(known, _)| known)).chain(Part::NAMES.map(|(known, _)| known)).collect();
            return Err(self.unknown(part, name, "is not a function", &known));
        };
        let all: Vec<&IdedExpr> = target.into_iter().chain(arguments).collect();
        let fits = match style {
            Style::Both => true,
            Style::Bracket => target.is_none(),
            Style::Dot => target.is_some(),
        };
        if !fits || all.len() != *count {
            let form = match (style, count) {
                (Style::Dot, 2) => format!("x.{name}(y)"),
                (Style::Dot, _) => format!("x.{name}()"),
                (Style::Bracket | Style::Both, _) => format!("{name}(x)"),
            };
            return Err(self.wrong(part, &format!("{name} is not written so"), &format!("Write {form}.")));
        }
        // Times and durations that are written out are read now, so that a slip shows.
        if let (Function::Time | Function::Span, Some(IdedExpr { expr: Expr::Literal(LiteralValue::String(text)), .. })) = (function, all.first()) {
            let read = if *function == Function::Time { clock::time(text.inner()).map(Literal::Time) } else { clock::span(text.inner()).map(Literal::Span) };
            let mend = "Write timestamp(\"2026-01-31T00:00:00Z\") or duration(\"1h30m\").";
            return read.map(Node::Literal).ok_or_else(|| self.wrong(part, &format!("{name} cannot read this text"), mend));
        }
        Ok(Node::Call(*function, all.into_iter().map(|argument| self.node(argument)).collect::<Result<_, _>>()?))
    }

    fn both(&mut self, left: &IdedExpr, right: &IdedExpr) -> Result<Box<[Node; 2]>, Wrong> {
        Ok(Box::new([self.node(left)?, self.node(right)?]))
    }

    fn has(&mut self, of: &IdedExpr) -> Result<Node, Wrong> {
        match &of.expr {
            Expr::Select(select) => Ok(Node::Has(Box::new(self.node(&select.operand)?), select.field.clone())),
            _ => Err(self.wrong(of, "has() asks for a member", "Write has(args.KEY).")),
        }
    }

    fn matches(&mut self, of: &IdedExpr, pattern: &IdedExpr) -> Result<Node, Wrong> {
        let Expr::Literal(LiteralValue::String(text)) = &pattern.expr else {
            return Err(self.wrong(pattern, "the pattern of matches is not written out", "Write the pattern as a text; it cannot come from a call."));
        };
        let mend = "There is no look-around and no back-reference; brackets must be closed. A backslash is doubled, or the text begins with r.";
        let problem = "the pattern of matches is not a regular expression, or larger than 1 MiB when compiled";
        let compiled = Pattern::compile(text.inner()).map_err(|_| self.wrong(pattern, problem, mend))?;
        Ok(Node::Matches(Box::new(self.node(of)?), Box::new(compiled)))
    }

    fn zone(&self, zone: &IdedExpr) -> Result<jiff::tz::TimeZone, Wrong> {
        let mend = "Write a zone such as \"Europe/Berlin\", \"UTC\" or \"+05:30\"; names need the zone files of the system.";
        match &zone.expr {
            Expr::Literal(LiteralValue::String(text)) => clock::zone(text.inner()).ok_or_else(|| self.wrong(zone, "there is no such time zone", mend)),
            _ => Err(self.wrong(zone, "the time zone is not written out", mend)),
        }
    }

    fn each(&mut self, part: &IdedExpr, kind: EachKind, over: &IdedExpr, arguments: &[IdedExpr]) -> Result<Node, Wrong> {
        const FORM: &str = "Write args.items.all(item, item.price < 10).";
        let (name, filter, body) = match (kind, arguments) {
            (EachKind::Map, [name, filter, body]) => (name, Some(filter), body),
            (_, [name, body]) => (name, None, body),
            _ => return Err(self.wrong(part, "wants a name and what to ask of each element", FORM)),
        };
        let Expr::Ident(name_text) = &name.expr else { return Err(self.wrong(name, "wants a name for the element", FORM)) };
        if Variable::NAMES.iter().any(|(known, _)| known == name_text) || self.locals.contains(name_text) {
            return Err(self.wrong(name, &format!("{:?} is the name of something else here", cut(name_text)), "Give the element another name."));
        }
        let over = self.node(over)?;
        self.locals.push(name_text.clone());
        let inner = filter.map(|filter| self.node(filter)).transpose().and_then(|filter| Ok((filter, self.node(body)?)));
        self.locals.pop();
        let (filter, body) = inner?;
        Ok(Node::Each(Box::new(Each { kind, over, filter, body })))
    }

    fn unknown(&self, part: &IdedExpr, name: &str, problem: &str, known: &[&str]) -> Wrong {
        let guess = closest(name, known).map(|known| format!("Did you mean {known:?}? ")).unwrap_or_default();
        self.wrong(part, &format!("{:?} {problem}", cut(name)), &format!("{guess}Known here: {}.", known.join(", ")))
    }

    fn wrong(&self, part: &IdedExpr, problem: &str, mend: &str) -> Wrong {
        let Some((start, _)) = self.places.offset_for(part.id) else { return Wrong::new(problem, mend) };
        // Bytes, unlike the places of errors in the syntax.
        let before = usize::try_from(start).ok().and_then(|start| self.source.get(..start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let place = if self.source.contains('\n') { format!("line {line}, character {column}") } else { format!("character {column}") };
        Wrong::new(format!("{place}: {problem}"), mend)
    }
}

fn cut(name: &str) -> String {
    name.chars().take(ECHO).collect()
}

fn order(operator: &str) -> Option<Order> {
    match operator {
        operators::LESS => Some(Order::Less),
        operators::LESS_EQUALS => Some(Order::LessOrEqual),
        operators::GREATER => Some(Order::Greater),
        operators::GREATER_EQUALS => Some(Order::GreaterOrEqual),
        _ => None,
    }
}

fn operation(operator: &str) -> Option<Operation> {
    match operator {
        operators::ADD => Some(Operation::Add),
        operators::SUBSTRACT => Some(Operation::Subtract),
        operators::MULTIPLY => Some(Operation::Multiply),
        operators::DIVIDE => Some(Operation::Divide),
        operators::MODULO => Some(Operation::Remainder),
        _ => None,
    }
}
