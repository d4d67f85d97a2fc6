//! What was judged is what any server reads: random hostile texts, and what the real gateway forwards of them, are read
//! by Python's `json`, by Node's `JSON.parse`, by a reader that folds case and lets the last double win (as Go's does
//! with known members) and by one that lets the first double win. Whatever `domain::json::strict` accepts, all of
//! them read alike.
//!
//! One difference is allowed, because semantics.md 3 accepts every integer of 64 bits: readers that know only doubles,
//! as Node's, round integers above 2^53. The bytes that are sent are the agent's own, so the text is the same; the judge
//! compares exactly. For Node an integer is therefore compared after the same rounding.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends")]

use crate::attacks::Site;
use crate::world::node;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use paraph::domain::json::strict_within;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::Value;
use std::process::Stdio;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Texts per run; `PARAPH_ROUNDS` raises the number.
const TEXTS: usize = 2_000;
/// Of them, so many go through the gateway.
const THROUGH: usize = 500;

/// Reads each line (base64) as three readers and writes what each read in the form of `written`, or `-`.
const PYTHON: &str = r#"
import base64, json, struct, sys
def number(v):
    if isinstance(v, float) and not v.is_integer(): return "d" + struct.pack(">d", v).hex()
    return "i%d" % int(v)
def text(v): return "s" + v.encode("utf-16-le", "surrogatepass").hex()
def written(v):
    if v is None: return "n"
    if v is True: return "t"
    if v is False: return "f"
    if isinstance(v, (int, float)): return number(v)
    if isinstance(v, str): return text(v)
    if isinstance(v, list): return "[" + ",".join(map(written, v)) + "]"
    return "{" + ",".join(sorted(text(k) + ":" + written(w) for k, w in v.items())) + "}"
def first(pairs):
    kept = {}
    for k, v in pairs: kept.setdefault(k, v)
    return kept
KNOWN = {"jsonrpc", "id", "method", "params", "name", "arguments", "_meta", "task", "requestState", "inputResponses"}
FOLDED = {name.casefold(): name for name in KNOWN}
def fold(pairs): return {FOLDED.get(k.casefold(), k): v for k, v in pairs}
def go(raw):
    # Known members fold; what is in arguments and _meta is a map, whose keys do not.
    message = fold(json.loads(raw, object_pairs_hook=lambda pairs: pairs and Pairs(pairs) or {}))
    if isinstance(message.get("params"), (Pairs, dict)): message["params"] = fold(message["params"])
    return settle(message)
class Pairs(list): pass
def settle(v):
    if isinstance(v, Pairs): v = dict(v)
    if isinstance(v, dict): return {k: settle(w) for k, w in v.items()}
    if isinstance(v, list): return [settle(w) for w in v]
    return v
def attempt(read, raw):
    try: return written(read(raw))
    except Exception: return "-"
def folding(raw):
    value = json.loads(raw)
    if not isinstance(value, dict) or not value: return value
    return go(raw)
def firsts(raw): return json.loads(raw, object_pairs_hook=first)
for line in sys.stdin:
    raw = base64.b64decode(line)
    print(attempt(json.loads, raw), attempt(folding, raw), attempt(firsts, raw), flush=True)
"#;

const NODE: &str = r#"
const text = v => 's' + Buffer.from(v, 'utf16le').toString('hex');
const number = v => {
  if (Number.isInteger(v)) return 'i' + BigInt(v);
  const bits = Buffer.alloc(8); bits.writeDoubleBE(v); return 'd' + bits.toString('hex');
};
const written = v => v === null ? 'n' : v === true ? 't' : v === false ? 'f' : typeof v === 'number' ? number(v) : typeof v === 'string' ? text(v)
  : Array.isArray(v) ? '[' + v.map(written).join(',') + ']'
  : '{' + Object.keys(v).map(k => text(k) + ':' + written(v[k])).sort().join(',') + '}';
require('readline').createInterface({ input: process.stdin }).on('line', line => {
  let out = '-';
  try { out = written(JSON.parse(Buffer.from(line, 'base64').toString('utf8'))); } catch {}
  console.log(out);
});
"#;

/// One reading in one line: strings as their UTF-16, numbers as integers or as the bits of the double, members sorted.
fn written(value: &Value, doubles: bool) -> String {
    let text = |text: &str| format!("s{}", text.encode_utf16().flat_map(u16::to_le_bytes).map(|byte| format!("{byte:02x}")).collect::<String>());
    match value {
        Value::Null => "n".to_owned(),
        Value::Bool(yes) => if *yes { "t" } else { "f" }.to_owned(),
        Value::Number(number) if !doubles && !number.is_f64() => format!("i{number}"),
        Value::Number(number) => {
            let double = number.as_f64().unwrap();
            if double.fract() == 0.0 { format!("i{:.0}", if double == 0.0 { 0.0 } else { double }) } else { format!("d{:016x}", double.to_bits()) }
        }
        Value::String(string) => text(string),
        Value::Array(items) => format!("[{}]", items.iter().map(|item| written(item, doubles)).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let mut members: Vec<String> = members.iter().map(|(key, value)| format!("{}:{}", text(key), written(value, doubles))).collect();
            members.sort();
            format!("{{{}}}", members.join(","))
        }
    }
}

/// What one process reads of each text: for each, the readings of its readers.
async fn readings(mut command: Command, texts: &[Vec<u8>]) -> Vec<Vec<String>> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the reader starts");
    let mut input = child.stdin.take().unwrap();
    let lines: String = texts.iter().map(|text| STANDARD.encode(text) + "\n").collect();
    let writing = tokio::spawn(async move { input.write_all(lines.as_bytes()).await.unwrap() });
    let output = child.wait_with_output().await.unwrap();
    writing.await.unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let all: Vec<Vec<String>> = output.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect();
    assert_eq!(all.len(), texts.len(), "one line for each text");
    all
}

/// The four readings of each text: Python, folding, first of two, Node.
async fn all_readings(texts: &[Vec<u8>]) -> Vec<[String; 4]> {
    let (mut python, mut javascript) = (Command::new("python3"), Command::new(node()));
    python.args(["-c", PYTHON]);
    javascript.args(["-e", NODE]);
    let (python, javascript) = tokio::join!(readings(python, texts), readings(javascript, texts));
    let join = |(mut python, mut javascript): (Vec<String>, Vec<String>)| {
        python.append(&mut javascript);
        python.try_into().unwrap()
    };
    python.into_iter().zip(javascript).map(join).collect()
}

/// The readers' names, and whether each knows only doubles.
const READERS: [(&str, bool); 4] = [("Python", false), ("a folding reader", false), ("a reader that takes the first", false), ("Node", true)];

const ALL: &[usize] = &[0, 1, 2, 3];
/// For texts that are no messages: which members a reader folds is a matter of messages, and `message::read` sees to it.
const ALL_BUT_THE_FOLDING: &[usize] = &[0, 2, 3];

fn agree(value: &Value, text: &[u8], readings: &[String; 4], who: &[usize]) {
    for reader in who {
        let ((reader, doubles), reading) = (&READERS[*reader], &readings[*reader]);
        assert_eq!(*reading, written(value, *doubles), "{reader} reads another value than was judged in {}", String::from_utf8_lossy(text));
    }
}

// --- texts -------------------------------------------------------------------------------------------------------------

fn any_string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => "[a-zA-Z0-9_ ./~-]{0,4}",
        2 => proptest::sample::select(vec![r"\n", r"\u0000", r"\/", r#"\""#, r"\\", r"\u0061", r"\u004E", r"\u2028", r"\ud83d\ude00", r"\u017f", r"\u212A"]).prop_map(str::to_owned),
        2 => proptest::sample::select(vec!["é", "\u{17f}", "\u{212a}", "\u{1f600}", "\u{2028}", "\u{85}", "\u{feff}", "\u{fffd}", "\u{202e}", "\u{7f}"]).prop_map(str::to_owned),
        1 => proptest::sample::select(vec![r"\ud800", r"\udfff", r"\ude00\ud83d", "\t", r"\x41", r"\u12", r"\'"]).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// Few names, so that doubles and twins in case come about.
fn any_key() -> impl Strategy<Value = String> {
    let few = vec![
        r#""a""#,
        r#""A""#,
        r#""\u0061""#,
        r#""b""#,
        r#""id""#,
        r#""name""#,
        r#""Name""#,
        r#""__proto__""#,
        r#""constructor""#,
        r#""1""#,
        r#""""#,
        "\"\u{17f}\"",
        r#""s""#,
    ];
    prop_oneof![6 => proptest::sample::select(few).prop_map(str::to_owned), 2 => any_string()]
}

fn any_number() -> impl Strategy<Value = String> {
    let odd = vec![
        "0",
        "-0",
        "0.0",
        "-0.0",
        "1.10",
        "1e2",
        "1E+2",
        "100.0",
        "0.1",
        "5e-324",
        "2.5e-8",
        "1.7976931348623157e308",
        "9007199254740993",
        "-9007199254740993",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551615",
        "1e21",
        "123456789012345680000",
        "1e-7",
        "4.35",
        "0.1e1",
        "10e-1",
        "18446744073709551616",
        "1e400",
        "1.00000000000000001",
        "1e-400",
        "01",
        "+1",
        ".5",
        "1.",
        "0x1",
        "NaN",
        "-Infinity",
        "1_0",
        "-",
        "1e",
        "--1",
    ];
    prop_oneof![3 => proptest::sample::select(odd).prop_map(str::to_owned), 2 => any::<i64>().prop_map(|n| n.to_string()), 1 => any::<u64>().prop_map(|n| n.to_string()),
        2 => any::<f64>().prop_map(|d| format!("{d:e}")), 1 => (-1_000_000i64..1_000_000).prop_map(|n| format!("{}.{}", n, n.unsigned_abs() % 997))]
}

fn gap() -> impl Strategy<Value = &'static str> {
    prop_oneof![30 => Just(""), 6 => Just(" "), 2 => Just("\n"), 1 => Just("\r\n\t"), 1 => proptest::sample::select(vec!["\u{a0}", "\u{c}", "/**/", "\0", "\u{feff}"])]
}

fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![proptest::sample::select(vec!["null", "true", "false", "True", "nul"]).prop_map(str::to_owned), any_number(), any_string()];
    leaf.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            (prop::collection::vec(inner.clone(), 0..4), gap()).prop_map(|(items, gap)| format!("[{gap}{}{gap}]", items.join(&format!("{gap},")))),
            (prop::collection::vec((any_key(), inner), 0..4), gap()).prop_map(|(members, gap)| {
                let members: Vec<String> = members.into_iter().map(|(key, value)| format!("{key}{gap}:{value}")).collect();
                format!("{{{}{gap}}}", members.join(&format!(",{gap}")))
            }),
        ]
    })
}

/// A text, hardly ever spoiled by a change of its bytes: most spoiled texts are no JSON for anybody.
fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let snippet = proptest::sample::select(vec![
        &b"\""[..],
        b"\\",
        b",",
        b":",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\\u",
        b"\\ud800",
        b"e9",
        b"-",
        b"0",
        b"\"a\":1,",
        b" ",
        b"\n",
    ]);
    let change = (any::<prop::sample::Index>(), 0usize..3, snippet);
    (any_json(), prop_oneof![6 => Just(0usize), 1 => 1usize..4], prop::collection::vec(change, 4)).prop_map(|(text, changes, what)| {
        let mut bytes = text.into_bytes();
        for (at, out, put) in what.into_iter().take(changes) {
            let at = at.index(bytes.len() + 1);
            let end = (at + out).min(bytes.len());
            bytes.splice(at..end, put.iter().copied());
        }
        bytes
    })
}

fn rounds(usual: usize) -> usize {
    std::env::var("PARAPH_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).map_or(usual, |rounds: usize| rounds.max(usual))
}

/// The same texts in every run.
fn texts<S: Strategy<Value = Vec<u8>>>(strategy: &S, count: usize) -> Vec<Vec<u8>> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

#[tokio::test]
async fn whatever_is_accepted_every_reader_reads_alike() {
    let texts = texts(&any_text(), rounds(TEXTS));
    let readings = all_readings(&texts).await;
    let (mut accepted, mut disputed) = (0, 0);
    for (text, readings) in texts.iter().zip(&readings) {
        match strict_within(text, 2) {
            Ok(value) => {
                accepted += 1;
                agree(&value, text, readings, ALL_BUT_THE_FOLDING);
            }
            // The readers differ on what we refuse; on nothing else, as the line above says.
            Err(_) => disputed += usize::from(readings.iter().any(|reading| *reading != readings[0])),
        }
    }
    assert!(accepted > texts.len() / 4, "only {accepted} of {} were accepted", texts.len());
    assert!(disputed > texts.len() / 50, "the readers differ on {disputed} of {} only: too tame", texts.len());
}

/// The members of an envelope and of its params, some of them twice, in any order and spelling.
fn any_call() -> impl Strategy<Value = Vec<u8>> {
    let pick = |all: &[&'static str]| proptest::sample::select(all.to_vec()).prop_map(str::to_owned);
    let name = pick(&[r#""read_a""#, r#""\u0072ead_a""#, r#""send""#, r#""delete_account""#, r#""d\u0065lete_account""#, r#""delete_account ""#]);
    let spare = prop_oneof![
        12 => Just(String::new()),
        2 => any_json().prop_map(|value| format!(r#","_meta":{{"k":{value}}}"#)),
        1 => pick(&[r#","name":"delete_account""#, r#","NAME":"delete_account""#, r#","n\u0061me":"read_a""#, ",\"argument\u{17f}\":{}", r#","arguments":{}"#, r#","x":1"#]),
    ];
    let arguments = prop_oneof![8 => (any_key(), any_json(), gap()).prop_map(|(key, value, gap)| format!("{{{gap}{key}:{value}}}")), 1 => any_json()];
    let around = prop_oneof![12 => Just(String::new()), 1 => pick(&[r#","method":"ping""#, r#","Method":"ping""#, r#","x":1"#, r#","params":{}"#])];
    let method = prop_oneof![12 => pick(&[r#""tools/call""#, r#""tools\/call""#]), 1 => pick(&[r#""tools/call ""#, r#""tools/list""#])];
    (name, arguments, spare, around, method, gap()).prop_map(|(name, arguments, spare, around, method, gap)| {
        format!(r#"{{"jsonrpc":"2.0",{gap}"id":1,"method":{method},"params":{{"arguments":{gap}{arguments},"name":{name}{spare}}}{around}}}"#).into_bytes()
    })
}

#[tokio::test]
async fn what_the_gateway_forwards_every_reader_executes_as_it_was_judged() {
    let site = Site::new().await;
    let texts = texts(&any_call(), rounds(THROUGH));
    for server in ["open-http", "open-stdio"] {
        let session = site.session(server, "2025-11-25").await;
        let begun = site.got(server).len();
        let (mut judged, mut denied) = (Vec::new(), 0);
        for text in &texts {
            let raw = site.post(server, &session, text).await;
            denied += usize::from(raw.state().as_deref() == Some("denied"));
            let allowed = raw.status == 200 && raw.state().is_none() && raw.error().is_none();
            let value = strict_within(text, 2).ok().filter(|value| allowed && value["method"] == "tools/call");
            judged.extend(value);
        }
        let forwarded: Vec<Vec<u8>> = site.got(server).split_off(begun);
        let calls: Vec<Vec<u8>> = forwarded.into_iter().filter(|bytes| String::from_utf8_lossy(bytes).contains("\"tools/call\"")).collect();
        assert_eq!(calls.len(), judged.len(), "every call that was let through arrived once, and none other");
        for ((bytes, value), readings) in calls.iter().zip(&judged).zip(all_readings(&calls).await) {
            let sent = strict_within(bytes, 2).unwrap();
            agree(&sent, bytes, &readings, ALL);
            assert_eq!(
                (&sent["method"], &sent["params"]["name"], &sent["params"]["arguments"]),
                (&value["method"], &value["params"]["name"], &value["params"]["arguments"])
            );
            assert_ne!(sent["params"]["name"], "delete_account");
            assert!(sent["params"].as_object().unwrap().keys().all(|key| ["name", "arguments", "_meta"].contains(&key.as_str())), "{sent}");
        }
        assert!(judged.len() > texts.len() / 10 && denied > texts.len() / 50, "{} forwarded, {denied} denied of {}", judged.len(), texts.len());
    }
    site.upstreams.shutdown().await;
}

#[tokio::test]
async fn the_readers_read_what_is_disputed_differently() {
    let disputed: [&[u8]; 5] =
        [br#"{"a":1,"a":2}"#, br#"{"method":1,"Method":2}"#, br#"{"a":NaN}"#, br#"{"n":9007199254740993}"#, br#"{"params":{"name":1,"NAME":2}}"#];
    let disputed: Vec<Vec<u8>> = disputed.iter().map(|text| text.to_vec()).collect();
    for (text, readings) in disputed.iter().zip(all_readings(&disputed).await) {
        assert!(readings.iter().any(|reading| *reading != readings[0]), "{} {readings:?}", String::from_utf8_lossy(text));
    }
}
