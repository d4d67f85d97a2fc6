//! Schemas as servers write them, well meant and hostile, against arguments of both kinds.
//! What a check may cost is tested on a thread with the stack that the gate gives it.

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn compiled(schema: &Value) -> Schema {
    Schema::compile(&schema.to_string()).unwrap()
}

/// On a thread with the stack that a check needs, as the gate runs it.
fn check(schema: &Value, arguments: &Value) -> Fit {
    let small = compiled(schema).check_small(arguments);
    let (schema, arguments) = (schema.clone(), arguments.clone());
    let check = std::thread::Builder::new().stack_size(STACK).spawn(move || compiled(&schema).check(&arguments));
    let fit = check.unwrap().join().unwrap();
    assert!(small.is_none_or(|small| small == fit), "a check on the spot says what one on a thread says");
    fit
}

fn misfit(schema: &Value, arguments: &Value) -> String {
    match check(schema, arguments) {
        Fit::Not(misfit) => misfit.sentence(),
        other => panic!("{schema} {other:?}"),
    }
}

fn dm() -> Value {
    json!({"type": "object", "properties": {"to": {"type": "string"}, "text": {"type": "string", "maxLength": 20}, "when": {"type": ["string", "null"]}},
        "required": ["to", "text"], "additionalProperties": false})
}

#[test]
fn what_does_not_fit_is_named_by_its_place_and_by_what_is_asked_and_never_by_its_value() {
    for (arguments, said) in [
        (json!({"to": "@bob"}), "the arguments as a whole must have a member \"text\""),
        (json!({"to": 99_887_766, "text": "x"}), "/to must be of type string"),
        (json!({"to": "@bob", "text": "x", "when": 5}), "/when must be of type null or string"),
        (json!({"to": "@bob", "text": "secret words of one person"}), "/text must have at most 20 characters"),
        (json!({"to": "@bob", "text": "x", "a/b": "SECRET"}), "/a~1b is a member that the tool does not take"),
    ] {
        let told = misfit(&dm(), &arguments);
        assert!(told.starts_with(said) || told == said, "{told}");
        for value in ["99887766", "secret words", "SECRET"] {
            assert!(!told.contains(value), "{told}");
        }
    }
    assert_eq!(check(&dm(), &json!({"to": "@bob", "text": "hi", "when": null})), Fit::Fits);
}

#[test]
fn every_keyword_says_what_it_asks() {
    for (schema, value, said) in [
        (json!({"enum": ["a", "b"]}), json!("zzz"), "must be one of \"a\", \"b\""),
        (json!({"const": 7}), json!("zzz"), "must be 7"),
        (json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), json!(5), "must fit at least one of the forms under anyOf"),
        (json!({"oneOf": [{"minimum": 1}, {"minimum": 2}]}), json!(5), "must fit exactly one of the forms under oneOf, and fits several"),
        (json!({"oneOf": [{"type": "string"}]}), json!(5), "must fit one of the forms under oneOf"),
        (json!({"not": {"type": "integer"}}), json!(5), "must not fit the form under not"),
        (json!(false), json!(5), "must not be there"),
        (json!({"contains": {"type": "null"}}), json!([5]), "must contain"),
        (json!({"minLength": 9}), json!("zzz"), "must have at least 9 characters"),
        (json!({"minItems": 2}), json!([5]), "must have at least 2 items"),
        (json!({"maxItems": 0}), json!([5]), "must have at most 0 items"),
        (json!({"minProperties": 2}), json!({}), "must have at least 2 members"),
        (json!({"maxProperties": 0}), json!({"zzz": 1}), "must have at most 0 members"),
        (json!({"minimum": 9}), json!(5), "must be at least 9"),
        (json!({"maximum": 3}), json!(5), "must be at most 3"),
        (json!({"exclusiveMinimum": 5}), json!(5), "must be more than 5"),
        (json!({"exclusiveMaximum": 4}), json!(5), "must be less than 4"),
        (json!({"multipleOf": 3}), json!(5), "must be a multiple of 3"),
        (json!({"pattern": "^[0-9]+$"}), json!("zzz"), "must match the pattern ^[0-9]+$"),
        (json!({"propertyNames": {"maxLength": 1}}), json!({"zzz": 1}), "has a member whose name the tool does not take"),
        (json!({"uniqueItems": true}), json!(["zzz", "zzz"]), "must not have the same item twice"),
        (json!({"unevaluatedProperties": false}), json!({"y": 1}), "is a member that the tool does not take"),
        (json!({"prefixItems": [true], "unevaluatedItems": false}), json!([1, 5]), "has items that the tool does not take"),
        (json!({"prefixItems": [true], "items": false}), json!([1, 5]), "must"),
    ] {
        let told = misfit(&json!({"properties": {"x": schema}}), &json!({"x": value}));
        assert!(told.starts_with("/x") && told.contains(said), "{told}");
        assert!(!told.contains("zzz") && told.chars().count() <= 500, "{told}");
    }
}

#[test]
fn a_sentence_is_bounded_however_long_names_and_lists_are() {
    let long = "n".repeat(3_000);
    let many: Vec<String> = (0..5_000).map(|n| format!("choice-{n}")).collect();
    for told in [
        misfit(&json!({"properties": {&long: {"type": "string"}}}), &json!({&long: 5})),
        misfit(&json!({"properties": {"x": {"enum": many}}}), &json!({"x": 5})),
        misfit(&json!({"required": [&long]}), &json!({})),
        misfit(&json!({"properties": {"x": {"pattern": &long}}}), &json!({"x": ""})),
    ] {
        assert!(told.chars().count() <= 420, "{}", told.chars().count());
    }
}

#[test]
fn the_draft_is_2020_12_unless_the_schema_names_another() {
    let tuple = json!({"properties": {"x": {"items": [{"type": "string"}]}}});
    assert!(Schema::compile(&tuple.to_string()).is_err(), "a list under items is no schema in 2020-12");
    for (draft, word) in [("http://json-schema.org/draft-07/schema#", "definitions"), ("https://json-schema.org/draft/2019-09/schema", "$defs")] {
        let mut older = tuple.clone();
        older["$schema"] = json!(draft);
        older[word] = json!({"n": {"type": "integer"}});
        older["properties"]["n"] = json!({"$ref": format!("#/{word}/n")});
        assert_eq!(check(&older, &json!({"x": ["a"], "n": 1})), Fit::Fits);
        assert!(misfit(&older, &json!({"x": [1]})).starts_with("/x/0 must be of type string"));
        assert!(misfit(&older, &json!({"n": "1"})).starts_with("/n must be of type integer"));
    }
    let four = json!({"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"x": {"maximum": 5, "exclusiveMaximum": true}}});
    assert!(misfit(&four, &json!({"x": 5})).starts_with("/x must"));
    assert!(Schema::compile(r#"{"$schema":"https://example.org/mine"}"#).is_err());
}

#[test]
fn a_format_is_an_annotation_and_not_asserted() {
    for draft in ["https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema#", "http://json-schema.org/draft-04/schema#"] {
        for format in ["uuid", "email", "uri", "date-time", "ipv4"] {
            let schema =
                json!({"$schema": draft, "properties": {"x": {"format": format, "contentEncoding": "base64", "contentMediaType": "application/json"}}});
            assert_eq!(check(&schema, &json!({"x": "none of these"})), Fit::Fits, "{format}");
        }
    }
}

#[test]
fn a_schema_that_is_too_large_too_deep_or_refers_beyond_itself_does_not_compile() {
    let mut deep = json!({"type": "string"});
    for _ in 0..40 {
        deep = json!({"properties": {"a": deep}});
    }
    let long = json!({"description": "d".repeat(MAX_BYTES)});
    let refs: Vec<Value> = (0..=MAX_REFS).map(|_| json!({"$ref": "#"})).collect();
    let patterns: Vec<Value> = (0..=MAX_PATTERNS).map(|n| json!({"pattern": format!("^{n}")})).collect();
    for (schema, why) in [
        (long.to_string(), "256 KiB"),
        (deep.to_string(), "64 levels"),
        ("{".to_owned(), "no JSON"),
        ("true".to_owned(), "no object"),
        (format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000)), "no JSON"),
        (json!({"allOf": refs}).to_string(), "500 references"),
        (json!({"allOf": patterns}).to_string(), "64 patterns"),
        (json!({"$ref": "http://127.0.0.1:1/x.json"}).to_string(), "another document"),
        (json!({"$ref": "https://json-schema.org/draft/2020-12/schema"}).to_string(), "another document"),
        (json!({"$ref": "file:///etc/passwd"}).to_string(), "another document"),
        (json!({"$ref": "other.json"}).to_string(), "another document"),
        (json!({"$defs": {"a": {"$id": "https://example.org/a", "type": "string"}}, "$ref": "#/$defs/a"}).to_string(), "several documents"),
        (json!({"type": "strong"}).to_string(), "no valid JSON Schema"),
        (json!({"$ref": "#/$defs/nowhere"}).to_string(), "no valid JSON Schema"),
        (json!({"pattern": "(((a{100}){100}){100}){100}"}).to_string(), "no valid JSON Schema"),
        (json!({"pattern": "("}).to_string(), "no valid JSON Schema"),
    ] {
        let error = Schema::compile(&schema).map(drop).unwrap_err();
        assert!(error.0.contains(why), "{error}");
    }
}

#[test]
fn references_within_the_schema_are_followed_by_pointer_anchor_and_own_id() {
    for (target, name) in [("#/$defs/n", "$comment"), ("#here", "$anchor"), ("https://example.org/s#/$defs/n", "$comment"), ("#dyn", "$dynamicAnchor")] {
        let schema = json!({"$id": "https://example.org/s", "$defs": {"n": {"type": "integer", name: target.trim_start_matches('#')}}, "properties": {"x": {"$ref": target}}});
        assert_eq!(check(&schema, &json!({"x": 1})), Fit::Fits, "{target}");
        assert!(misfit(&schema, &json!({"x": "1"})).starts_with("/x must be of type integer"), "{target}");
    }
}

#[test]
fn a_check_that_would_not_end_soon_is_not_begun() {
    let doubled = |levels: usize| {
        let mut defs = serde_json::Map::new();
        for level in 0..levels {
            let next = json!({"$ref": format!("#/$defs/d{}", level + 1)});
            defs.insert(format!("d{level}"), json!({"anyOf": [next.clone(), {"allOf": [next]}]}));
        }
        defs.insert(format!("d{levels}"), json!({"type": "string"}));
        json!({"$defs": defs, "$ref": "#/$defs/d0"})
    };
    let mut left_over = json!({"type": "object"});
    for _ in 0..20 {
        left_over = json!({"anyOf": [left_over, false], "unevaluatedProperties": {"type": "integer"}});
    }
    let mut nested = json!(1);
    for _ in 0..60 {
        nested = json!({"a": nested});
    }
    let chain: serde_json::Map<String, Value> =
        (0..400).map(|n| (format!("d{n}"), json!({"allOf": [{"allOf": [{"allOf": [{"$ref": format!("#/$defs/d{}", (n + 1) % 400)}]}]}]}))).collect();
    for (name, schema, arguments) in [
        ("doubled", doubled(40), json!({})),
        ("left over", left_over, json!({"a": 1, "b": 2, "c": 3})),
        ("branching recursion", json!({"properties": {"a": {"anyOf": [{"$ref": "#"}, {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}]}}}), nested),
        ("itself", json!({"$ref": "#"}), json!({})),
        ("itself, twice", json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}), json!({})),
        ("itself by a dynamic reference", json!({"$dynamicAnchor": "n", "allOf": [{"$dynamicRef": "#n"}]}), json!({})),
        ("a long ring", json!({"$defs": chain, "$ref": "#/$defs/d0"}), json!({})),
        (
            "a long list of fancy patterns",
            json!({"properties": {"x": {"items": {"pattern": "^(a+)+$(?!x)"}}}}),
            json!({"x": vec!["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"; 1_000]}),
        ),
        ("more parts than anybody reads", json!({"properties": {"x": {"items": {"type": "integer"}}}}), json!({"x": vec![1; 500_001]})),
    ] {
        assert_eq!(check(&schema, &arguments), Fit::TooCostly, "{name}");
    }
    assert_eq!(check(&doubled(8), &json!("fits")), Fit::Fits);
}

#[test]
fn hostile_but_bounded_checks_end() {
    let long = "a".repeat(500_000) + "!";
    assert!(misfit(&json!({"properties": {"x": {"pattern": "^(a+)+$(?!x)"}}}), &json!({"x": long})).contains("takes too long"));
    let numbers: Vec<usize> = (0..100_000).collect();
    assert_eq!(check(&json!({"properties": {"x": {"uniqueItems": true}}}), &json!({"x": numbers})), Fit::Fits);
    let objects: Vec<Value> = (0..100_000).map(|n| json!({"n": n / 2})).collect();
    assert!(misfit(&json!({"properties": {"x": {"uniqueItems": true}}}), &json!({"x": objects})).contains("twice"));
    let choices: Vec<String> = (0..15_000).map(|n| format!("choice {n}")).collect();
    assert!(misfit(&json!({"properties": {"x": {"enum": choices}}}), &json!({"x": "none"})).contains("must be one of"));
    // Many items with several forms each: where is not said, because telling would cost more than the check.
    let forms = json!({"properties": {"x": {"items": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}});
    assert!(misfit(&forms, &json!({"x": vec![1; 50_000]})).contains("too many to say where"));
    let mut tree = json!({"value": 1, "next": null});
    for _ in 0..30 {
        tree = json!({"value": 1, "next": tree});
    }
    let list = json!({"type": "object", "properties": {"value": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}});
    assert_eq!(check(&list, &tree), Fit::Fits);
}

/// Schemas of every keyword, valid or not, and arguments of every kind.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e300f64..1e300).prop_map(Value::from),
        "[a-c\u{0}-\u{ffff}]{0,5}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map("[abx]{1,2}", inner, 0..5).prop_map(|all| json!(all))
        ]
    })
}

fn any_schema() -> impl Strategy<Value = Value> {
    let keyword = |name: &'static str, value: BoxedStrategy<Value>| value.prop_map(move |value| json!({name: value})).boxed();
    let numbers = (-5i64..50).prop_map(Value::from).boxed();
    let small = (0u64..5).prop_map(Value::from).boxed();
    let types = prop::sample::select(vec!["string", "integer", "number", "object", "array", "boolean", "null"]).prop_map(Value::from).boxed();
    let mut leaves: Vec<BoxedStrategy<Value>> = vec![
        keyword("type", types),
        keyword("const", any_value().boxed()),
        keyword("enum", prop::collection::vec(any_value(), 1..4).prop_map(Value::from).boxed()),
    ];
    leaves.extend(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"].map(|name| keyword(name, numbers.clone())));
    leaves.extend(["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"].map(|name| keyword(name, small.clone())));
    leaves.push(keyword("multipleOf", (1u64..9).prop_map(Value::from).boxed()));
    leaves.push(keyword("uniqueItems", any::<bool>().prop_map(Value::from).boxed()));
    leaves.push(keyword("pattern", prop::sample::select(vec!["^a", "(a+)+$", "(?=b)", "^(a|b)*\\1"]).prop_map(Value::from).boxed()));
    leaves.push(keyword("$ref", prop::sample::select(vec!["#", "#/properties/a", "#/$defs/x"]).prop_map(Value::from).boxed()));
    leaves.push(keyword("required", prop::collection::btree_set("[abx]{1,2}", 0..3).prop_map(|all| json!(all)).boxed()));
    prop::strategy::Union::new(leaves).prop_recursive(4, 30, 4, |inner| {
        let many = prop::collection::vec(inner.clone(), 1..4);
        let named = prop::collection::btree_map("[abx]{1,2}", inner.clone(), 0..4);
        prop_oneof![
            (prop::sample::select(vec!["allOf", "anyOf", "oneOf", "prefixItems"]), many).prop_map(|(name, all)| json!({name: all})),
            (prop::sample::select(vec!["properties", "patternProperties", "dependentSchemas", "$defs"]), named).prop_map(|(name, all)| json!({name: all})),
            (
                prop::sample::select(vec![
                    "not",
                    "if",
                    "items",
                    "contains",
                    "propertyNames",
                    "additionalProperties",
                    "unevaluatedProperties",
                    "unevaluatedItems"
                ]),
                inner.clone()
            )
                .prop_map(|(name, one)| json!({name: one})),
            prop::collection::vec(inner, 2..4).prop_map(|all| {
                let members = all.into_iter().filter_map(|one| one.as_object().cloned()).flatten();
                Value::Object(members.collect())
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_schema_and_no_arguments_make_a_check_panic_or_say_two_things(schema in any_schema(), arguments in any_value()) {
        if let Ok(compiled) = Schema::compile(&schema.to_string()) {
            let fit = compiled.check(&arguments);
            if let Some(small) = compiled.check_small(&arguments) {
                prop_assert_eq!(&small, &fit);
            }
            match fit {
                Fit::Fits => prop_assert!(compiled.validator.is_valid(&arguments)),
                Fit::Not(misfit) => {
                    prop_assert!(!compiled.validator.is_valid(&arguments));
                    prop_assert!(misfit.sentence().chars().count() <= 420);
                }
                Fit::TooCostly => {}
            }
        }
    }

    #[test]
    fn no_text_makes_compiling_panic(text in "[{}\\[\\]\",:a-z$#/0-9 ]{0,60}") {
        let _ = Schema::compile(&text);
    }
}
