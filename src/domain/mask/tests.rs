//! What of arguments people are shown, that an edit gives every value back where it was, and that no planted secret
//! survives, whatever the arguments look like.

use super::*;
use proptest::prelude::*;

const SECRET: &str = "planted-0f2c-secret";

fn key() -> MaskKey {
    MaskKey::new([7; 32])
}

fn masked(value: &Value) -> Masked {
    Masker::new(&key(), &Names::default()).mask(value, &["/to", "/text"])
}

/// Put together here, so that no scanner takes this file for a leak.
fn token() -> String {
    format!("gh{}{}", "p_", "a1B2".repeat(9))
}

fn marks(masked: &Masked) -> Vec<(&str, Why, usize, bool)> {
    masked.masks.iter().map(|mask| (mask.pointer.as_str(), mask.why, mask.length, mask.is_name)).collect()
}

#[test]
fn values_are_masked_by_name_and_by_shape_and_everything_else_stays() {
    let value = json!({"to": "@bob", "text": "hi", "api_key": SECRET, "note": format!("use {} please", token()), "n": 1.5, "deep": [{"pin": 4711}, "x"]});
    let found = masked(&value);
    assert_eq!(marks(&found), [("/api_key", Why::Name, 19, false), ("/note", Why::Shape("a GitHub token"), 51, false), ("/deep/0/pin", Why::Name, 4, false)]);
    let mark = |index: usize| json!({"$masked": format!("sha256:{}", found.masks[index].mark)});
    assert_eq!(found.value, json!({"to": "@bob", "text": "hi", "api_key": mark(0), "note": mark(1), "n": 1.5, "deep": [{"pin": mark(2)}, "x"]}));
    assert!(found.masks.iter().all(|mask| mask.mark.len() == 8 && mask.mark.bytes().all(|digit| digit.is_ascii_hexdigit())));
}

#[test]
fn recipient_and_text_are_masked_by_name_only() {
    let value = json!({"to": token(), "text": format!("it is {}", token()), "copy": token()});
    assert_eq!(marks(&masked(&value)).iter().map(|mask| mask.0).collect::<Vec<_>>(), ["/copy"]);
    let by_name = Masker::new(&key(), &Names::default()).mask(&json!({"secret": {"text": "x"}, "token": "y"}), &["/token", "/secret/text"]);
    assert_eq!(marks(&by_name).iter().map(|mask| mask.0).collect::<Vec<_>>(), ["/secret", "/token"]);
}

#[test]
fn what_stands_under_a_secret_name_is_masked_whole_and_empty_things_are_not() {
    let value = json!({"credentials": {"user": "u", "more": [SECRET]}, "tokens": [SECRET], "passwords": [SECRET], "token": "", "password": null, "secret": true, "cookie": []});
    let found = masked(&value);
    assert_eq!(marks(&found).iter().map(|mask| mask.0).collect::<Vec<_>>(), ["/credentials", "/passwords"]);
    assert_eq!((&found.value["token"], &found.value["password"], &found.value["secret"]), (&json!(""), &json!(null), &json!(true)));
}

#[test]
fn the_same_value_has_the_same_mark_and_another_key_another() {
    let one = masked(&json!({"api_key": SECRET, "deep": {"token": SECRET}, "password": "other"}));
    assert_eq!(one.masks[0].mark, one.masks[1].mark);
    assert_ne!(one.masks[0].mark, one.masks[2].mark);
    let other = Masker::new(&MaskKey::new([8; 32]), &Names::default()).mask(&json!({"api_key": SECRET}), &[]);
    assert_ne!(other.masks[0].mark, one.masks[0].mark);
    assert_eq!(format!("{:?}", key()), "MaskKey(\u{2026})");
}

#[test]
fn a_secret_as_a_name_is_masked_and_hides_nothing_but_itself() {
    let value = json!({"map": {token(): {"amount": 7, "pin": 1234}}});
    let found = masked(&value);
    let shown = found.value.to_string();
    assert!(!shown.contains(&token()) && shown.contains("\"amount\":7") && !shown.contains("1234"), "{shown}");
    assert!(found.masks.iter().all(|mask| !mask.pointer.contains(&token())));
    assert_eq!(Masker::new(&key(), &Names::default()).unmask(&found.value, &value, &[]), Ok(value));
}

#[test]
fn a_value_that_looks_like_a_mark_is_masked_itself() {
    let value = json!({"a": {"$masked": "sha256:00000000"}, "b": {"$masked": 1, "x": 2}, "c": {"$masked:sha256:00000000": 3}});
    let found = masked(&value);
    assert_eq!(
        marks(&found).iter().map(|mask| (mask.0, mask.1, mask.3)).filter(|mask| !mask.2).collect::<Vec<_>>(),
        [("/a", Why::Mark, false), ("/b", Why::Mark, false)]
    );
    assert!(!found.value.to_string().contains("00000000"));
    assert_eq!(Masker::new(&key(), &Names::default()).unmask(&found.value, &value, &[]), Ok(value));
}

#[test]
fn a_mark_means_its_value_at_its_own_place_and_nothing_anywhere_else() {
    let (key, names) = (key(), Names::default());
    let masker = Masker::new(&key, &names);
    let real = json!({"api_key": SECRET, "list": [{"token": "one"}, {"token": "two"}], "note": "n"});
    let shown = masker.mask(&real, &[]).value;
    let mark = shown["api_key"].clone();
    assert_eq!(masker.unmask(&shown, &real, &[]).as_ref(), Ok(&real));
    for (edited, expected) in [
        (json!({"api_key": mark}), Ok(json!({"api_key": SECRET}))),
        (json!({"note": "other", "api_key": mark}), Ok(json!({"note": "other", "api_key": SECRET}))),
        (json!({"api_key": "new"}), Ok(json!({"api_key": "new"}))),
        (json!({}), Ok(json!({}))),
        (json!({"key": mark}), Err("/key")),
        (json!({"note": mark}), Err("/note")),
        (json!({"api_key": [mark]}), Err("/api_key/0")),
        (json!({"api_key": {"$masked": "sha256:00000000"}}), Err("/api_key")),
        (json!({"api_key": {"$masked": mark["$masked"], "x": 1}}), Err("/api_key")),
        (json!({"api_key": {"$masked": null}}), Err("/api_key")),
        (json!({"list": [shown["list"][1]]}), Err("/list/0/token")),
        (json!({"list": [shown["list"][0]]}), Ok(json!({"list": [{"token": "one"}]}))),
        (json!({"note": {"$masked:sha256:00000000": 1}}), Err("/note/$masked:sha256:00000000")),
        (mark.clone(), Err("")),
    ] {
        let found = masker.unmask(&edited, &real, &[]);
        assert_eq!(found, expected.map_err(|pointer: &str| Misplaced(pointer.to_owned())), "{edited}");
    }
}

#[test]
fn an_answer_that_repeats_a_secret_is_shown_without_it() {
    let (key, names) = (key(), Names::default());
    let masker = Masker::new(&key, &names);
    let real = json!({"api_key": SECRET, "pin": 47_114_711});
    let known = secrets(&real, &masker.mask(&real, &[]).value);
    assert_eq!(known, [SECRET, "47114711"]);
    let answer =
        json!({"content": [{"type": "text", "text": format!("Bad key {SECRET} or {}.", token())}], "isError": true, "echo": 47114711, "session_id": "s"});
    let shown = masker.mask_answer(&answer, &known).unwrap();
    let text = shown.to_string();
    assert!(!text.contains(SECRET) && !text.contains(&token()) && !text.contains("47114711") && text.contains("Bad key [masked "), "{text}");
    assert_eq!(shown["isError"], true);
    assert!(digits(&shown["session_id"]).is_some());
    assert_eq!(masker.mask_answer(&json!({"content": [{"text": "fine", "n": 1.0}]}), &known), None);
}

#[test]
fn a_mark_written_out_in_a_text_is_refused_unless_the_agent_sent_that_text() {
    let (key, names) = (key(), Names::default());
    let masker = Masker::new(&key, &names);
    let mark = "{\"$masked\":\"sha256:6edf5213\"}";
    let real = json!({"otp": SECRET, "note": format!("as {mark}"), "list": ["x"], mark: 1});
    let own = json!({"note": format!("as {mark}"), "list": ["y"], mark: 2});
    assert_eq!(masker.unmask(&own, &real, &[]).as_ref(), Ok(&own));
    for (edited, place) in [
        (json!({"otp": format!("Your code: {mark}")}), "/otp"),
        (json!({"otp": format!("{mark} ")}), "/otp"),
        (json!({"otp": mark}), "/otp"),
        (json!({"otp": "{ \"$masked\" : \"sha256:00000000\" }"}), "/otp"),
        (json!({"otp": "Your code: a masked value (5 characters, 6edf)"}), "/otp"),
        (json!({"note": format!("as  {mark}")}), "/note"),
        (json!({"note": json!({"pin": json!(mark).to_string()}).to_string()}), "/note"),
        (json!({"list": [format!("as {mark}")]}), "/list/0"),
        (json!({"new": {"x": mark}}), "/new/x"),
        (json!({format!("{mark}2"): 1}), "/{\"$masked\":\"sha256:6edf5213\"}2"),
    ] {
        assert_eq!(masker.unmask(&edited, &real, &[]), Err(Misplaced(place.to_owned())), "{edited}");
    }
}

#[test]
fn a_secret_is_found_in_an_answer_in_every_spelling_of_json() {
    let (key, names) = (key(), Names::default());
    let masker = Masker::new(&key, &names);
    for secret in ["hun\"ter-tail2026", "dom\\user-tail2026", "p\u{e4}ss-\u{1f600}-tail2026", "a/b<c>-tail2026", "two\nlines-tail2026"] {
        let real = json!({"password": secret});
        let known = secrets(&real, &masker.mask(&real, &[]).value);
        let json = Value::from(secret).to_string();
        let ascii: String = json.encode_utf16().map(|unit| if unit < 128 { char::from(unit as u8).to_string() } else { format!("\\u{unit:04x}") }).collect();
        let upper: String = json.encode_utf16().map(|unit| if unit < 128 { char::from(unit as u8).to_string() } else { format!("\\u{unit:04X}") }).collect();
        for echo in
            [json.clone(), ascii.clone(), upper, json.replace('/', "\\/"), json.replace('<', "\\u003c").replace('>', "\\u003e"), Value::from(ascii).to_string()]
        {
            for said in [format!("bad request: {{\"n\": 1, \"other\": {echo}}}"), format!("password={secret}"), format!("not {echo}, {secret}")] {
                let shown = masker.mask_answer(&json!({"text": said}), &known).unwrap().to_string();
                assert!(!shown.contains("tail2026") && !shown.contains("hun") && !shown.contains("dom"), "{said} {shown}");
            }
        }
    }
}

#[test]
fn what_a_limit_counts_by_is_masked_by_any_name_on_its_way_and_by_its_look_without_case() {
    let (key, never) = (key(), Names::new(&[], &["badge".to_owned()]));
    let masker = Masker::new(&key, &never);
    for (path, value) in [
        ("/api_key", "x1"),
        ("/credentials/user", "bob"),
        ("/passwords/0", "bob"),
        ("args.credentials.user", "bob"),
        ("/key", &format!("ak{}iosfodnn7example", "ia")),
        ("/key", &format!("[\"{}\",1]", token().to_lowercase())),
        ("/key", "{\"password\":\"hunter2\"}"),
    ] {
        assert!(masker.mask_counted(path, value).is_some_and(|digits| digits.len() == 8), "{path} {value}");
    }
    for (path, value) in [("/key", "bob"), ("/to", "@bob"), ("/badge", &token()), ("/page_token", "7"), ("", "missing"), ("/api_key", "")] {
        assert_eq!(masker.mask_counted(path, value), None, "{path} {value}");
    }
}

#[test]
fn a_name_beside_a_value_and_an_option_before_it_say_what_it_is() {
    let value = json!({
        "env": [{"name": "DB_PASSWORD", "value": SECRET}, {"name": "page_token", "value": "p1"}, {"Key": "Authorization", "Value": [SECRET]}],
        "args": ["--user", "bob", "--password", SECRET, "--password-file", "/run/x", "--token", "--verbose", "y"],
        "row": {"name": "password", "comment": "c", "value": true},
    });
    let found = masked(&value);
    assert_eq!(marks(&found).iter().map(|mask| mask.0).collect::<Vec<_>>(), ["/env/0/value", "/env/2/Value", "/args/3"]);
    assert!(!found.value.to_string().contains(SECRET));
    assert_eq!(Masker::new(&key(), &Names::default()).unmask(&found.value, &value, &[]), Ok(value));
    let answer = masker_answer(&json!({"rows": [{"header": "X-Api-Key", "value": SECRET}]}));
    assert!(!answer.to_string().contains(SECRET), "{answer}");
}

fn masker_answer(answer: &Value) -> Value {
    Masker::new(&key(), &Names::default()).mask_answer(answer, &[]).unwrap()
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z ]{0,8}".prop_map(Value::from),
        Just(json!(token())),
        Just(json!({"$masked": "sha256:12345678"})),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("password".to_owned()),
        Just("to".to_owned()),
        Just("text".to_owned()),
        Just("githubToken".to_owned()),
        Just("$masked".to_owned()),
        Just("$masked:sha256:12345678".to_owned()),
        Just(token()),
        "[a-z/~]{0,3}",
    ]
}

fn tree() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Puts the planted secret under a secret's name somewhere in the tree.
fn planted(value: &Value, way: &[usize]) -> Value {
    match (value, way) {
        (Value::Array(items), [at, rest @ ..]) if !items.is_empty() => {
            let mut items = items.clone();
            let at = at % items.len();
            items[at] = planted(&items[at], rest);
            Value::Array(items)
        }
        (Value::Object(members), [at, rest @ ..]) if !members.is_empty() => {
            let mut members = members.clone();
            let name = members.keys().nth(at % members.len()).cloned().unwrap();
            members[&name] = planted(&members[&name], rest);
            Value::Object(members)
        }
        (value, _) => json!({"around": value, "client_secret": SECRET, "list": [{"x-api-key": [SECRET]}]}),
    }
}

proptest! {
    #[test]
    fn masking_and_unmasking_gives_every_value_back(value in tree()) {
        let (key, names) = (key(), Names::default());
        let masker = Masker::new(&key, &names);
        for shown in [&[][..], &["/to", "/text/0"]] {
            let masked = masker.mask(&value, shown);
            let restored = masker.unmask(&masked.value, &value, shown);
            prop_assert_eq!(restored.as_ref(), Ok(&value));
        }
    }

    #[test]
    fn no_planted_secret_survives(value in tree(), way in prop::collection::vec(0usize..6, 0..5)) {
        let value = planted(&value, &way);
        let masked = masked(&value);
        prop_assert!(!masked.value.to_string().contains(SECRET));
        // By shape as well, anywhere but at the two pointers of the message.
        let mut rest = masked.value.clone();
        if let Value::Object(members) = &mut rest {
            members.retain(|name, _| name != "to" && name != "text");
        }
        prop_assert!(!rest.to_string().contains(&token()), "{}", rest);
        for mask in &masked.masks {
            prop_assert!(!mask.pointer.contains(SECRET) && !mask.pointer.contains(&token()));
            if !mask.is_name {
                prop_assert_eq!(masked.value.pointer(&mask.pointer).and_then(digits), Some(mask.mark.as_str()));
            }
        }
    }
}
