//! The pure parts on the way of every call: strict parse, digest, verdict, audit entry. Each group first measures a
//! plain `serde_json` parse of the same body, and the table at the end names every time as a multiple of that: a ratio
//! means the same on every machine. Run with `cargo bench --bench pure`; the test command leaves it out.

use criterion::measurement::{Measurement as _, WallTime};
use criterion::{BenchmarkId, Criterion, Throughput};
use paraph::domain::audit::{Data, Fact, Head, Link};
use paraph::domain::digest::Digest;
use paraph::domain::json::strict;
use paraph::domain::mask::{MaskKey, Masker, Names};
use paraph::domain::policy::{Action, Asked, ConditionSpec, Operator, Policy, PolicySpec, RuleSpec};
use serde_json::{Value, json};
use std::hint::black_box;
use std::time::Duration;

/// A `tools/call` of about so many bytes.
fn body(bytes: usize) -> String {
    let ask = |text: &str| json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "send_dm", "arguments": {"to": "@bob", "text": text}}});
    let around = ask("").to_string().len();
    ask(&"See you at the caf\u{e9} at 12:30. ".repeat(bytes / 30 + 1).chars().take(bytes.saturating_sub(around)).collect::<String>()).to_string()
}

/// Which of the rules name the tool that is called.
#[derive(Clone, Copy)]
enum Naming {
    None,
    Three,
    All,
}

/// So many rules, of which none matches: the longest way. Those for other tools are names and patterns in turn.
fn spec(rules: usize, naming: Naming) -> PolicySpec {
    let named = |number: usize| match naming {
        Naming::None => false,
        Naming::Three => [0, rules / 2, rules - 1].contains(&number),
        Naming::All => true,
    };
    let tools = |number: usize| match (named(number), number % 2) {
        (true, 0) => "send_*".to_owned(),
        (true, _) => "send_dm".to_owned(),
        (false, 0) => format!("tool_{number}_*"),
        (false, _) => format!("tool_{number}"),
    };
    let rule = |number: usize| RuleSpec {
        name: format!("rule-{number}"),
        tools: vec![tools(number)],
        agents: vec!["*".to_owned()],
        conditions: vec![ConditionSpec { path: "args.to".to_owned(), op: Operator::Eq, value: json!(format!("@nobody-{number}")) }],
        action: Action::Allow,
        ..RuleSpec::default()
    };
    PolicySpec { rules: (0..rules).map(rule).collect(), ..PolicySpec::default() }
}

fn policy(rules: usize, naming: Naming) -> Policy {
    Policy::build(spec(rules, naming)).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

/// What the audit notes of a call that passes.
fn fact(digest: &Digest) -> Fact {
    let data = Data::new().text("server", "demo").text("tool", "send_dm").text("digest", digest.as_str()).text("rule", "reads").text("policy", digest.as_str());
    Fact { kind: "call.allowed", call: None, actor: "agent:bot".into(), data }
}

/// One rule with a `when` for every call.
fn asking(when: &str) -> Policy {
    let rule = RuleSpec { name: "when".into(), tools: vec!["*".into()], agents: vec!["*".into()], when: Some(when.into()), ..RuleSpec::default() };
    Policy::build(PolicySpec { rules: vec![rule], ..PolicySpec::default() }).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

/// The rows of the table: what, of which body, and how long one takes at best.
#[derive(Default)]
struct Table(Vec<(String, usize, Duration)>);

impl Table {
    fn measure<T>(&mut self, criterion: &mut Criterion, what: &str, size: usize, mut work: impl FnMut() -> T) {
        let mut best = Duration::MAX;
        let mut group = criterion.benchmark_group(format!("{size} B"));
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::from_parameter(what), |bencher| {
            bencher.iter_custom(|rounds| {
                let begun = WallTime.start();
                for _ in 0..rounds {
                    black_box(work());
                }
                let took = WallTime.end(begun);
                best = best.min(took / u32::try_from(rounds).unwrap_or(u32::MAX));
                took
            });
        });
        group.finish();
        self.0.push((what.to_owned(), size, best));
    }

    fn print(&self) {
        eprintln!("    of       what                                one at best       a second     serde_json");
        for (what, size, took) in &self.0 {
            let plain = self.0.iter().find(|(what, of, _)| what == PLAIN && of == size).map_or(0.0, |(_, _, took)| took.as_secs_f64());
            let took = took.as_secs_f64();
            eprintln!("{size:>7} B  {what:<34} {:>11.2} µs  {:>12.0}  {:>11.2} x", took * 1e6, 1.0 / took, took / plain);
        }
    }
}

const PLAIN: &str = "serde_json";

fn main() {
    let quick = Criterion::default().without_plots().sample_size(20).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    let mut criterion = quick.configure_from_args();
    let mut table = Table::default();
    let kinds = [("none names it", Naming::None), ("3 name it", Naming::Three), ("all name it", Naming::All)];
    let policies: Vec<(String, Policy)> =
        kinds.iter().flat_map(|(what, naming)| [1, 100, 10_000].map(|rules| (format!("judge, {rules} rules, {what}"), policy(rules, *naming)))).collect();
    for size in [200, 20_000] {
        let body = body(size);
        let value = strict(body.as_bytes()).unwrap_or_else(|refused| panic!("{refused}"));
        let arguments = &value["params"]["arguments"];
        table.measure(&mut criterion, PLAIN, size, || serde_json::from_str::<Value>(black_box(&body)));
        table.measure(&mut criterion, "strict", size, || strict(black_box(body.as_bytes())));
        table.measure(&mut criterion, "digest", size, || Digest::of_call("demo", "send_dm", black_box(arguments)));
        table.measure(&mut criterion, "strict and digest", size, || {
            strict(black_box(body.as_bytes())).map(|value| Digest::of_call("demo", "send_dm", &value["params"]["arguments"]))
        });
        for (what, policy) in &policies {
            let asked = Asked { agent: "bot", tool: "send_dm", arguments, session: None, now: jiff::Timestamp::UNIX_EPOCH };
            table.measure(&mut criterion, what, size, || policy.judge(black_box(&asked)));
        }
    }
    let (digest, now) = (Digest::of_bytes(b"any"), jiff::Timestamp::UNIX_EPOCH + Duration::from_nanos(1_790_000_000_123_456_789));
    let head = Link::after(&Head::default(), &fact(&digest), now).head;
    table.measure(&mut criterion, "fact alone", 200, || fact(black_box(&digest)));
    table.measure(&mut criterion, "fact, chain", 200, || Link::after(&head, &fact(black_box(&digest)), now));
    let rules = spec(10_000, Naming::None);
    let built = (0..3).map(|_| rules.clone()).map(|rules| {
        let begun = WallTime.start();
        black_box(Policy::build(rules).is_ok());
        WallTime.end(begun)
    });
    table.0.push(("build, 10000 rules".to_owned(), 200, built.min().unwrap_or_default()));
    // Masking is linear: ten times the arguments take about ten times as long, as one text and as many small ones.
    let (key, names) = (MaskKey::new([7; 32]), Names::default());
    let masker = Masker::new(&key, &names);
    for size in [10_000, 100_000, 1_000_000] {
        let line = "See you at the caf\u{e9} at 12:30, https://example.org/a?b=c, id sk_1. ";
        let text = json!({ "to": "@bob", "text": line.repeat(size / line.len()) });
        let many =
            json!({ "api_key": "planted", "items": (0..size / 40).map(|at| json!({ "name": format!("n{at}"), "value": "at 12:30" })).collect::<Vec<_>>() });
        table.measure(&mut criterion, PLAIN, size, || serde_json::from_str::<Value>(black_box(&text.to_string())));
        table.measure(&mut criterion, "mask, one text", size, || masker.mask(black_box(&text), &[]));
        table.measure(&mut criterion, "mask, many texts", size, || masker.mask(black_box(&many), &[]));
    }
    // The most that one evaluation can cost: each of these is cut off, or looks at all of a megabyte.
    let most = json!({ "list": vec![1; 500_000], "text": "a".repeat(1 << 20), "texts": vec!["b".repeat(1000); 1000] });
    for (what, when) in [
        ("when, a text", "size(args.text) > 500 && args.text.startsWith('b')"),
        ("when, cut off in a list", "args.list.all(x, x > 0)"),
        ("when, cut off in copies", "args.list.map(x, args.text + 'b').size() > 0"),
        ("when, cut off in patterns", "args.list.all(x, !args.text.matches('(?i)(a|b|c)*[^a]d$'))"),
        ("when, cut off in texts", "args.texts.exists(t, args.texts.exists(u, u == t + 'x'))"),
    ] {
        let policy = asking(when);
        let asked = Asked { agent: "bot", tool: "send_dm", arguments: &most, session: None, now: jiff::Timestamp::UNIX_EPOCH };
        table.measure(&mut criterion, what, 1 << 20, || policy.judge(black_box(&asked)));
    }
    criterion.final_summary();
    table.print();
}
