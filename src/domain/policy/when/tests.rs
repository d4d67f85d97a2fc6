//! `when` as tables: what is true, what cannot be judged, what is refused when loading; that no text and no
//! arguments make it panic or take long; and that it says what the parser's own evaluator says.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn when(source: &str) -> When {
    let mut mistakes = Vec::new();
    When::compile(source, "rules[0].when", &mut mistakes).unwrap_or_else(|| panic!("{source}: {mistakes:?}"))
}

fn wrong(source: &str) -> String {
    let mut mistakes = Vec::new();
    assert!(When::compile(source, "rules[0].when", &mut mistakes).is_none(), "{source}");
    assert_eq!((mistakes.len(), mistakes[0].at.as_str()), (1, "rules[0].when"));
    format!("{}. {}", mistakes[0].problem, mistakes[0].mend)
}

fn asked(arguments: &Value) -> Asked<'_> {
    Asked { agent: "bot", tool: "send_dm", arguments, session: None, now: "2026-11-21T16:30:05.250Z".parse().unwrap() }
}

fn holds(source: &str, arguments: &Value) -> Result<bool, &'static str> {
    when(source).holds(&asked(arguments), "demo", &Budget::of(Budget::STEPS))
}

#[test]
fn an_expression_looks_at_arguments_tool_agent_server_and_time() {
    let arguments = json!({
        "text": "h\u{e9}llo", "n": 5, "big": 9_007_199_254_740_993_u64, "huge": u64::MAX, "price": 1.5, "yes": true, "none": null,
        "to": ["@ann", "@bob"], "items": [{"price": 1}, {"price": 3}], "a.b": {"c": 1}, "empty": [],
    });
    for (source, expected) in [
        ("size(args.text) == 5", true),
        ("args.text.size() > 5", false),
        ("args.n == 5 && args.n == 5.0 && args.n == 5u", true),
        ("args.n + 1 == 6 && args.n * 2 - 3 == 7 && args.n / 2 == 2 && args.n % 2 == 1 && -args.n == -5", true),
        ("args.big == 9007199254740993", true),
        ("args.big == 9007199254740992.0", false),
        ("args.big > 9007199254740992.0", true),
        ("args.huge == 18446744073709551615u && args.huge > 1 && args.huge > 1e10", true),
        ("args.price * 2.0 == 3.0 && args.price < 2", true),
        ("args.yes", true),
        ("!args.yes || args.none == null", true),
        ("args.none != null", false),
        ("'@ann' in args.to && !('@eve' in args.to) && 'n' in args", true),
        ("args.to[1] == '@bob' && args['a.b'].c == 1", true),
        ("args.to == ['@ann', '@bob'] && args.to + ['x'] == ['@ann', '@bob', 'x']", true),
        ("args.items.all(i, i.price < 5) && args.items.exists(i, i.price == 3) && args.items.exists_one(i, i.price > 2)", true),
        ("args.items.map(i, i.price) == [1, 3] && args.items.filter(i, i.price > 1).map(i, i.price) == [3]", true),
        ("args.items.map(i, i.price > 1, i.price * 2) == [6]", true),
        ("args.items.all(i, args.to.exists(t, size(t) > i.price))", true),
        ("args.empty.all(e, e.nothing) && !args.empty.exists(e, e.nothing)", true),
        ("args['a.b'].exists(key, key == 'c')", true),
        ("has(args.text) && !has(args.other)", true),
        ("has(args.other) && args.other > 1", false),
        ("args.other > 1 && false", false),
        ("args.other > 1 || true", true),
        ("args.text.contains('ll') && args.text.startsWith('h') && args.text.endsWith('o')", true),
        ("args.text.matches('^h.llo$') && matches(args.text, 'l+')", true),
        (r#"" A ".trim().lowerAscii() == "a" && "a".upperAscii() == "A""#, true),
        ("args.yes ? args.n == 5 : args.other", true),
        ("tool == 'send_dm' && agent == 'bot' && server == 'demo'", true),
        ("now > timestamp('2026-01-01T00:00:00Z') && now - timestamp('2026-11-21T16:00:05.250Z') == duration('30m')", true),
        ("now.getHours() == 16 && now.getHours('+05:30') == 22 && now.getMinutes('-00:30') == 0 && now.getHours('UTC') == 16", true),
        ("now.getDayOfWeek() == 6 && now.getMonth() == 10 && now.getDate() == 21 && now.getDayOfMonth() == 20 && now.getFullYear() == 2026", true),
        ("now.getSeconds() == 5 && now.getMilliseconds() == 250 && now.getDayOfYear() == 324 && duration('90m').getHours() == 1", true),
        ("now + duration('1h') > now && now - duration('1h') < now && int(now) == 1795278605", true),
        ("int('5') == args.n && double('1.5') == args.price && string(args.n) == '5' && uint(5) == 5u && int(1.9) == 1", true),
        ("dyn(args.n) == 5", true),
        ("true in args['a.b'] || 1 in args['a.b'] || 1.5 in args['a.b']", false),
        ("args.n == '5'", false),
    ] {
        assert_eq!(holds(source, &arguments), Ok(expected), "{source}");
    }
}

#[test]
fn what_is_neither_true_nor_false_says_why_without_any_value() {
    let arguments = json!({"text": "secret", "n": 5, "list": [1], "none": null, "max": i64::MAX, "nested": {"a": "x"}, "zero": 0, "nan": "NaN", "inf": "-inf"});
    for source in [
        "args.other",
        "args.other == 1",
        "args.text",
        "args.none",
        "args.text > 5",
        "args.n + 1.5 > 2",
        "args.text + 1 == 'x'",
        "args.list[1] == 2",
        "args.list['a'] == 2",
        "args.list.a == 2",
        "args.n.a == 2",
        "args.n / args.zero == 1",
        "args.n % args.zero == 1",
        "args.max + 1 > 0",
        "-args.text == 'x'",
        "args.n.contains('5')",
        "size(args.n) == 1",
        "args.n in args.text",
        "args.n.all(x, x)",
        "args.list.all(x, x.y)",
        "args.other || false",
        "args.other && true",
        "!args.n",
        "args.n ? true : false",
        "int(args.text) == 1",
        "double(args.nan) > 100.0",
        "double(args.inf) > 100.0",
        "timestamp(args.text) < now",
        "duration(args.text) == duration('1s')",
        "args.n.matches('5')",
        "has(args.text.length)",
        "now.getHours() + args.nested.b == 1",
        "timestamp(args.max) == now",
        "uint(-args.n) == 1u",
    ] {
        let why = holds(source, &arguments).expect_err(source);
        assert!(!why.contains("secret") && !why.contains('5') && why.len() > 10, "{source}: {why}");
    }
}

#[test]
fn a_text_that_is_no_expression_is_refused_with_place_and_mend() {
    for (source, expected) in [
        ("", "is empty"),
        ("  ", "is empty"),
        ("arg.text == 'a'", "character 1: \"arg\" is not known. Did you mean \"args\"?"),
        ("args.items.all(item, itm > 1)", "character 22: \"itm\" is not known. Did you mean \"item\"?"),
        ("true &&\n  sise(args.text) > 1", "line 2, character 7: \"sise\" is not a function. Did you mean \"size\"?"),
        ("args.text.startswith('a')", "Did you mean \"startsWith\"?"),
        ("args.a == 'x", "is not a CEL expression: character"),
        ("args.a = 1", "is not a CEL expression: character"),
        ("'\u{1f600}' == tol", "character 8: \"tol\" is not known. Did you mean \"tool\"?"),
        ("size(args.text)", "is never true or false"),
        ("args.n + 1", "is never true or false"),
        ("'a'", "is never true or false"),
        ("tool", "is never true or false"),
        ("args.text.matches('(')", "not a regular expression"),
        ("args.text.matches('a{1000}{1000}')", "not a regular expression"),
        ("args.text.matches(args.pattern)", "the pattern of matches is not written out"),
        ("has(args)", "has() asks for a member"),
        ("size(args.a, args.b) == 1", "size is not written so. Write size(x)"),
        ("contains(args.a, 'x')", "contains is not written so. Write x.contains(y)"),
        ("args.int() == 1", "int is not written so. Write int(x)"),
        ("timestamp('yesterday') < now", "timestamp cannot read this text"),
        ("timestamp('2026-01-01') < now", "timestamp cannot read this text"),
        ("duration('1 day') == duration('24h')", "duration cannot read this text"),
        ("now.getHours('Mars/Base') == 1", "there is no such time zone"),
        ("now.getHours(args.zone) == 1", "the time zone is not written out"),
        ("args.all(args, true)", "\"args\" is the name of something else here"),
        ("args.all(1, true)", "wants a name for the element"),
        ("args.all(x)", "wants a name and what to ask"),
        ("{'a': 1}.a == 1", "writes a map"),
        ("Message{a: 1} == 1", "writes a map"),
        ("b'x' == b'x'", "has bytes"),
        ("args.?a == 1", "is not a CEL expression"),
    ] {
        let text = wrong(source);
        assert!(text.contains(expected), "{source}\n  {text}");
        assert!(text.len() < 600, "{text}");
    }
    assert!(wrong(&format!("args.text == '{}'", "a".repeat(4096))).contains("4096 bytes"));
}

/// Each of these takes the parser deep into its stack; two megabytes of it end the process.
#[test]
fn a_text_that_is_nested_or_long_is_refused_or_read_but_ends_nothing() {
    let nested = |open: &str, inner: &str, close: &str| {
        let times = 4096 / (open.len() + close.len()) - inner.len();
        format!("{}{inner}{}", open.repeat(times), close.repeat(times))
    };
    let mut sources: Vec<String> = [("(", "1", ")"), ("[", "1", "]"), ("args[", "1", "]"), ("{1:", "1", "}"), ("-(", "1", ")"), ("has(", "args.a", ")")]
        .map(|(open, inner, close)| nested(open, inner, close))
        .into();
    sources.push(nested("args.all(x, ", "x", ")"));
    for chain in ["1+", "1<", "a?b:", "a?", "!", "-", "- ", "true && ", "true || ", "'a' + ", "(((((+*/&&", "\u{1f600}\"", "'", "\\", "\n", "["] {
        sources.push(format!("{}1", chain.repeat(4095 / chain.len())));
    }
    for chain in [".b", ".b()", "[0]", ".size()", ".?b"] {
        sources.push(format!("args{}", chain.repeat(4090 / chain.len())));
    }
    for source in sources {
        assert!(source.len() <= 4096);
        if let Some(when) = When::compile(&source, "when", &mut Vec::new()) {
            let _ = when.holds(&asked(&json!({})), "demo", &Budget::of(Budget::STEPS));
        }
    }
    assert!(wrong(&format!("{}1{} == 1", "(".repeat(200), ")".repeat(200))).contains("nested too deeply"));
    assert!(wrong(&format!("{}1 == 1", "1 + ".repeat(100))).contains("more than 64 levels"));
}

#[test]
fn arguments_that_would_take_long_cannot_be_judged_and_take_nothing_further() {
    let many: Vec<u32> = (0..300_000).collect();
    let arguments = json!({ "many": many, "text": "a".repeat(500_000), "texts": vec!["b".repeat(1000); 400], "long": vec![[1; 10]; 30_000] });
    for source in [
        "args.many.all(x, args.many.all(y, x + y >= 0))",
        "args.many.all(x, x >= 0)",
        "args.many.map(x, args.text + 'a').size() > 0",
        "args.many.exists(x, args.text.contains('b'))",
        "args.many.all(x, x in args.many)",
        "args.many.all(x, args.many == args.many)",
        "args.many.filter(x, args.text.matches('(a|b)*c')).size() == 0",
        "args.many.map(x, args.many + args.many).size() > 0",
        "args.texts.exists(t, args.texts.exists(u, u == t + 'x'))",
        "args.many.all(x, false || args.many.all(y, true)) || true",
        // Half a megabyte is little for a small pattern and much for a large one.
        r"args.text.matches('\\w{1,9}x$')",
        "args.long.map(x, x + x).map(x, x + x).map(x, x + x).size() > 0",
    ] {
        let budget = Budget::of(Budget::STEPS);
        let why = when(source).holds(&asked(&arguments), "demo", &budget).expect_err(source);
        assert_eq!(why, "these arguments are too large or too many for it", "{source}");
        assert_eq!(budget.0.get(), 0);
        assert!(when("true || args.n").holds(&asked(&arguments), "demo", &budget).is_err(), "what was too much for one rule is too much for the next");
    }
    assert_eq!(holds("args.texts.all(t, t.startsWith('b')) && size(args.text) == 500000 && args.text.matches('a$')", &arguments), Ok(true));
}

#[test]
fn an_infinity_or_a_nan_compares_as_ieee_754_says() {
    let arguments = json!({"zero": 0.0, "one": 1.0, "big": u64::MAX});
    for (source, expected) in [
        ("args.one / args.zero > args.big", true),
        ("-args.one / args.zero < -9223372036854775807", true),
        ("args.zero / args.zero == args.zero / args.zero", false),
        ("args.zero / args.zero < 1 || args.zero / args.zero > 1", false),
        ("args.one / args.zero == args.one / args.zero", true),
    ] {
        assert_eq!(holds(source, &arguments), Ok(expected), "{source}");
    }
    assert!(holds("int(args.one / args.zero) == 1", &arguments).is_err());
}

/// Any JSON with small trees; hostile sizes have their own test.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|double| json!(double)),
        (-3..4_i64).prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::hash_map("[abc]", inner, 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Expressions that mostly compile: of whole numbers, doubles, texts, lists and truth values.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("args.a"),
        Just("args.b"),
        Just("args.c"),
        Just("args.a.b"),
        Just("args.a[0]"),
        Just("has(args.a)"),
        Just("has(args.b.c)"),
        Just("true"),
        Just("false"),
        Just("null"),
        Just("0"),
        Just("1"),
        Just("-2"),
        Just("3u"),
        Just("1.5"),
        Just("'a'"),
        Just("''"),
        Just("[1, 'a']"),
        Just("[]"),
        Just("tool"),
    ]
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 20, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            (two.clone(), prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">=", "&&", "||", "+", "-", "*", "/", "%", "in"]))
                .prop_map(|((left, right), operator)| format!("({left} {operator} {right})")),
            (inner.clone(), prop::sample::select(vec!["!", "-", "size", "int", "uint", "double", "dyn"]))
                .prop_map(|(of, function)| format!("{function}({of})")),
            (two.clone(), prop::sample::select(vec!["contains", "startsWith", "endsWith"]))
                .prop_map(|((of, part), function)| format!("({of}).{function}({part})")),
            (two, prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter"]))
                .prop_map(|((over, body), kind)| format!("({over}).{kind}(x, {body} == x)")),
            (inner.clone(), inner.clone(), inner).prop_map(|(test, yes, no)| format!("({test} ? {yes} : {no})")),
        ]
    })
}

/// Expressions of the right kinds over `n`, `m` (whole), `d` (double), `s`, `t` (texts), `l` (list) and `b`.
fn sensible() -> impl Strategy<Value = String> {
    let number = prop::sample::select(vec!["args.n", "args.m", "1", "-2", "size(args.s)", "args.l.size()", "int(args.d)", "args.l[0]", "args.l[args.n]"]);
    let number = number.prop_map(str::to_owned).prop_recursive(2, 6, 2, |inner| {
        (inner.clone(), prop::sample::select(vec!["+", "-", "*", "/", "%"]), inner).prop_map(|(left, operator, right)| format!("({left} {operator} {right})"))
    });
    let text = prop::sample::select(vec!["args.s", "args.t", "'a'", "tool", "string(args.n)", "(args.s + args.t)"]).prop_map(str::to_owned);
    let order = || prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        (number.clone(), order(), number.clone()).prop_map(|(left, order, right)| format!("{left} {order} {right}")),
        (number.clone(), order()).prop_map(|(left, order)| format!("{left} {order} args.d")),
        (text.clone(), order(), text.clone()).prop_map(|(left, order, right)| format!("{left} {order} {right}")),
        (text.clone(), prop::sample::select(vec!["contains", "startsWith", "endsWith"]), text).prop_map(|(of, f, part)| format!("{of}.{f}({part})")),
        (number.clone(), order(), prop::sample::select(vec!["all", "exists", "exists_one"]))
            .prop_map(|(number, order, kind)| format!("args.l.{kind}(x, x {order} {number})")),
        (number.clone(), order())
            .prop_map(|(number, order)| format!("args.l.filter(x, x {order} {number}).map(x, x * 2) == args.l.map(x, x {order} {number}, x + x)")),
        number.prop_map(|number| format!("{number} in args.l")),
        Just("args.b".to_owned()),
        Just("has(args.missing)".to_owned()),
        Just("args.missing".to_owned()),
        Just("args.l.all(x, args.l.exists(y, y > x))".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            (inner.clone(), prop::sample::select(vec!["&&", "||", "==", "!="]), inner.clone())
                .prop_map(|(left, operator, right)| format!("(({left}) {operator} ({right}))")),
            inner.clone().prop_map(|of| format!("!({of})")),
            (inner.clone(), inner.clone(), inner).prop_map(|(test, yes, no)| format!("(({test}) ? ({yes}) : ({no}))")),
        ]
    })
}

/// What the parser's own evaluator says; `None` for an error.
fn reference(source: &str, arguments: &Value) -> Option<bool> {
    /// As this crate reads JSON: a whole number is an `int` when it fits.
    fn to_cel(value: &Value) -> cel::Value {
        match value {
            Value::Null => cel::Value::Null,
            Value::Bool(flag) => (*flag).into(),
            Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(int), _) => int.into(),
                (None, Some(uint)) => uint.into(),
                (None, None) => number.as_f64().unwrap().into(),
            },
            Value::String(text) => text.as_str().into(),
            Value::Array(items) => items.iter().map(to_cel).collect::<Vec<_>>().into(),
            Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), to_cel(value))).collect::<std::collections::HashMap<_, _>>().into(),
        }
    }
    let program = cel::Program::compile(source).ok()?;
    let mut context = cel::Context::default();
    context.add_variable_from_value("args", to_cel(arguments));
    context.add_variable_from_value("tool", "send_dm");
    match program.execute(&context) {
        Ok(cel::Value::Bool(verdict)) => Some(verdict),
        _ => None,
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_compiler_panic(source in ".{0,60}", symbols in "[\\[\\](){}.,?:!&|+*/%<>='\"a-c0-9 \\\\\n-]{0,60}") {
        for text in [source, symbols] {
            if let Some(when) = When::compile(&text, "when", &mut Vec::new()) {
                let _ = when.holds(&asked(&json!({"a": 1})), "demo", &Budget::of(1000));
            }
        }
    }

    #[test]
    fn no_arguments_make_the_evaluation_panic(source in expression(), arguments in any_json(), steps in 0_u32..2000) {
        if let Some(when) = When::compile(&source, "when", &mut Vec::new()) {
            let _ = when.holds(&asked(&arguments), "demo", &Budget::of(steps));
        }
    }

    #[test]
    fn it_says_what_the_parsers_own_evaluator_says(
        wild in expression(), (a, b, c) in (any_json(), any_json(), any_json()),
        sensible in sensible(), n in -2..4_i64, m in any::<i64>(), d in -4.0..4.0_f64, s in "[ab]{0,2}", t in "[ab]{0,2}", l in prop::collection::vec(-2..4_i64, 0..4), flag in any::<bool>(),
    ) {
        for (source, arguments) in [
            (wild, json!({ "a": a, "b": b, "c": c })),
            (sensible, json!({ "n": n, "m": m, "d": d, "s": s, "t": t, "l": l, "b": flag })),
        ] {
            if let Some(when) = When::compile(&source, "when", &mut Vec::new()) {
                let ours = when.holds(&asked(&arguments), "demo", &Budget::of(Budget::STEPS)).ok();
                prop_assert_eq!(ours, reference(&source, &arguments), "{} over {}", source, arguments);
            }
        }
    }
}
