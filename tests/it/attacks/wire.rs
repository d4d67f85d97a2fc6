//! Bodies that two readers could understand differently, and names that look like others: each is judged as what the
//! server will execute, or refused. The same table over every transport, policy and revision.

use super::*;

/// What must become of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// An error with this code; nothing leaves.
    Error(i64),
    /// Judged as the tool that may not be called.
    Denied,
    /// Taken and dropped: it wants no answer.
    Dropped,
    /// Called with the row's own arguments.
    Executed,
}
use Want::{Denied, Dropped, Error, Executed};

const NO_JSON: Want = Error(-32700);
const NO_MESSAGE: Want = Error(-32600);
const NO_METHOD: Want = Error(-32601);
const NO_PARAMS: Want = Error(-32602);

struct Row {
    name: String,
    body: Vec<u8>,
    want: Want,
}

fn row(name: &str, body: impl Into<Vec<u8>>, want: Want) -> Row {
    Row { name: name.to_owned(), body: body.into(), want }
}

const BAD: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_account","arguments":{}}}"#;

/// The call that may not be, with one part exchanged.
fn bad(part: &str, by: &str) -> String {
    assert!(BAD.contains(part), "{part}");
    BAD.replacen(part, by, 1)
}

/// A call that may be, of this tool with these arguments and these further params.
fn good(tool: &str, arguments: &str, more: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}{more}}}}}"#)
}

/// Readers differ on what a second member means: the first counts, the last counts, or case does not.
fn second_members() -> Vec<Row> {
    let mut rows = Vec::new();
    for (key, value) in [("jsonrpc", "\"2.0\""), ("id", "1"), ("method", "\"ping\""), ("params", r#"{"name":"read_a"}"#)] {
        for (order, text) in [("first", bad("{", &format!("{{\"{key}\":{value},"))), ("last", format!("{},\"{key}\":{value}}}", &BAD[..BAD.len() - 1]))] {
            rows.push(row(&format!("{key} twice, {order}"), text, if key == "params" { NO_PARAMS } else { NO_MESSAGE }));
        }
    }
    let spelled = ["\\u006dethod", "m\\u0065thod"].map(|key| row(key, bad("{", &format!("{{\"{key}\":\"ping\",")), NO_MESSAGE));
    let folded = [
        "JSONRPC",
        "Id",
        "ID",
        "Method",
        "METHOD",
        "Params",
        "PARAMS",
        "param\u{17f}",
        "PARAM\u{17f}",
        "param\\u017f",
        "\u{131}d",
        "Result",
        "ERROR",
        "re\u{17f}ult",
    ];
    rows.extend(spelled);
    rows.extend(folded.map(|key| row(&format!("{key} in the envelope"), bad("{", &format!("{{\"{key}\":\"ping\",")), NO_MESSAGE)));
    rows.push(row("a result beside a method", bad("{", "{\"result\":{},"), NO_MESSAGE));
    rows.push(row("an error beside a method", bad("{", "{\"error\":{},"), NO_MESSAGE));
    let params = [
        r#""name":"read_a""#,
        r#""n\u0061me":"read_a""#,
        r#""NAME":"read_a""#,
        r#""Name":"read_a""#,
        r#""arguments":{"a":1}"#,
        r#""Arguments":{"a":1}"#,
        "\"argument\u{17f}\":{}",
        r#""argument\u017f":{}"#,
        r#""ARGUMENTS":null"#,
        r#""_Meta":{}"#,
        r#""_meta":{},"_meta":{}"#,
        r#""_meta":{},"_META":{}"#,
        "\"tas\u{212a}\":{}",
        r#""TASK":{}"#,
        "\"reque\u{17f}tState\":1",
        r#""inputresponses":1"#,
    ];
    for member in params {
        rows.push(row(&format!("{member} first in params"), bad("{\"name\"", &format!("{{{member},\"name\"")), NO_PARAMS));
        rows.push(row(&format!("{member} last in params"), bad("{}}}", &format!("{{}},{member}}}}}")), NO_PARAMS));
    }
    for arguments in [r#"{"to":1,"to":2}"#, r#"{"to":1,"t\u006f":2}"#, r#"{"a":[{"b":{"c":1,"c":1}}]}"#, r#"{"":1,"":2}"#, r#"{"a~/b":0,"a~/b":0}"#] {
        rows.push(row(&format!("arguments {arguments}"), good("read_a", arguments, ""), NO_PARAMS));
    }
    for meta in [r#"{"a":{"b":1,"b":2}}"#, r#"{"progressToken":1,"progressToken":2}"#, r#"{"traceparent":"a","tracep\u0061rent":"b"}"#] {
        rows.push(row(&format!("meta {meta}"), good("read_a", "{}", &format!(",\"_meta\":{meta}")), NO_PARAMS));
    }
    // Case matters to most servers in arguments, so two such keys are two keys: both are judged and both are sent.
    let twins = "keys in arguments that differ in case";
    rows.push(row(twins, good("read_a", &format!(r#"{{"row":"{twins}","To":1,"to":2,"TO":3}}"#), ""), Executed));
    rows
}

fn shapes() -> Vec<Row> {
    let mut rows = Vec::new();
    for arguments in ["[]", "[\"x\"]", "\"{}\"", "\"\"", "7", "-0.5", "null", "true", "false"] {
        rows.push(row(&format!("arguments are {arguments}"), bad("{}", arguments), NO_PARAMS));
        rows.push(row(&format!("arguments of an allowed tool are {arguments}"), good("read_a", arguments, ""), NO_PARAMS));
    }
    for name in ["null", "7", "[\"delete_account\"]", "{\"name\":\"delete_account\"}", "true", "\"\""] {
        rows.push(row(&format!("the name is {name}"), bad("\"delete_account\"", name), NO_PARAMS));
    }
    for params in ["[\"delete_account\"]", "null", "\"delete_account\"", "7"] {
        rows.push(row(&format!("params are {params}"), bad(r#"{"name":"delete_account","arguments":{}}"#, params), NO_PARAMS));
    }
    rows.push(row("no params", bad(r#","params":{"name":"delete_account","arguments":{}}"#, ""), NO_PARAMS));
    rows.push(row("no name", bad(r#""name":"delete_account","#, ""), NO_PARAMS));
    for (id, want) in [
        ("null", NO_MESSAGE),
        ("1.0", NO_MESSAGE),
        ("1e0", NO_MESSAGE),
        ("1.5", NO_MESSAGE),
        ("{}", NO_MESSAGE),
        ("[1]", NO_MESSAGE),
        ("true", NO_MESSAGE),
        ("1e400", NO_MESSAGE),
        ("99999999999999999999", NO_MESSAGE),
        ("\"\\ud800\"", NO_MESSAGE),
        ("18446744073709551615", Denied),
        ("-9223372036854775808", Denied),
        ("\"\"", Denied),
        ("\"\\u0000\\r\\n\\r\\ndata: {}\"", Denied),
    ] {
        rows.push(row(&format!("the id is {id}"), bad("\"id\":1", &format!("\"id\":{id}")), want));
    }
    rows.push(row("an id of 257 characters", bad("\"id\":1", &format!("\"id\":\"{}\"", "é".repeat(257))), NO_MESSAGE));
    rows.push(row("an id of 256 characters", bad("\"id\":1", &format!("\"id\":\"{}\"", "é".repeat(256))), Denied));
    rows.push(row("a notification that carries a call", bad("\"id\":1,", ""), Dropped));
    rows.push(row("a notification of another name that carries a call", bad("\"id\":1,", "").replace("tools/call", "notifications/tools/call"), Dropped));
    rows.push(row("a response that carries a call", BAD.replace("\"method\":\"tools/call\",\"params\"", "\"result\""), Dropped));
    rows.push(row("an error that carries a call", BAD.replace("\"method\":\"tools/call\",\"params\"", "\"error\""), Dropped));
    rows.push(row("an empty object", "{}", NO_MESSAGE));
    rows.push(row("a string that holds the call", format!("{}", json!(BAD)), NO_MESSAGE));
    rows.push(row("version 1", bad("2.0", "1.0"), NO_MESSAGE));
    rows.push(row("the version as a number", bad("\"2.0\"", "2.0"), NO_MESSAGE));
    rows
}

/// What lenient readers take for JSON, and what only some readers can read.
fn texts() -> Vec<Row> {
    let mut rows = Vec::new();
    for value in [
        "NaN",
        "Infinity",
        "-Infinity",
        "nan",
        "+1",
        ".5",
        "5.",
        "01",
        "0x10",
        "1_000",
        "'a'",
        "undefined",
        "True",
        "None",
        "1,",
        "/*c*/1",
        "\"\\x41\"",
        "\"\\'\"",
        "\"\t\"",
        "\"a\nb\"",
    ] {
        rows.push(row(&format!("an argument {value:?}"), good("read_a", &format!("{{\"x\":{value}}}"), ""), NO_JSON));
        rows.push(row(&format!("an argument {value:?} of the tool"), bad("{}", &format!("{{\"x\":{value}}}")), NO_JSON));
    }
    for value in [
        "1e400",
        "-1e400",
        "1e-400",
        "12345678901234567890123",
        "-9223372036854775809",
        "18446744073709551616",
        "1.00000000000000001",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"\\ud83d\\u0041\"",
    ] {
        rows.push(row(&format!("an argument {value}"), good("read_a", &format!("{{\"x\":[{value}]}}"), ""), NO_PARAMS));
        rows.push(row(&format!("meta with {value}"), good("read_a", "{}", &format!(",\"_meta\":{{\"x\":{value}}}")), NO_PARAMS));
    }
    for key in ["\\ud800", "a\\udfffb"] {
        rows.push(row(&format!("a key {key}"), good("read_a", &format!("{{\"{key}\":1}}"), ""), NO_PARAMS));
    }
    for name in ["delete_account\\ud800", "\\udc00delete_account"] {
        rows.push(row(&format!("the name {name}"), bad("delete_account", name), NO_PARAMS));
    }
    let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
    rows.push(row("65 levels", good("read_a", &nested(64), ""), NO_PARAMS));
    rows.push(row("100,000 levels", good("read_a", &nested(100_000), ""), NO_PARAMS));
    rows.push(row("100,000 levels, never closed", "[".repeat(100_000), NO_JSON));
    rows.push(row("100,000 levels of meta", good("read_a", "{}", &format!(",\"_meta\":{}", nested(100_000))), NO_PARAMS));
    rows.push(row("100,000 levels beside the params", bad("{", &format!("{{\"x\":{},", nested(100_000))), NO_MESSAGE));

    let utf16 = |text: &str, big: bool| text.encode_utf16().flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect::<Vec<_>>();
    let utf32 = |text: &str, big: bool| text.chars().flat_map(|c| if big { (c as u32).to_be_bytes() } else { (c as u32).to_le_bytes() }).collect::<Vec<_>>();
    for big in [false, true] {
        for mark in ["", "\u{feff}"] {
            rows.push(row(&format!("UTF-16 {big} {mark:?}"), utf16(&format!("{mark}{BAD}"), big), NO_JSON));
            rows.push(row(&format!("UTF-32 {big} {mark:?}"), utf32(&format!("{mark}{BAD}"), big), NO_JSON));
        }
    }
    rows.push(row("a byte order mark", format!("\u{feff}{BAD}"), NO_JSON));
    rows.push(row("a byte order mark after a blank", format!(" \u{feff}{BAD}"), NO_JSON));
    for bytes in [&b"\xe9"[..], b"\xc0\xaf", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xff"] {
        rows.push(row(
            &format!("the byte {bytes:x?} in an argument"),
            [&br#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_a","arguments":{"x":""#[..], bytes, b"\"}}}"].concat(),
            NO_JSON,
        ));
    }
    let allowed = good("read_a", "{}", "");
    for (name, text) in [
        ("trailing data", format!("{allowed}x")),
        ("a trailing brace", format!("{allowed}}}")),
        ("a trailing comma", format!("{allowed},")),
        ("a trailing NUL", format!("{allowed}\0")),
        ("two texts", format!("{allowed}{BAD}")),
        ("two texts on two lines", format!("{allowed}\n{BAD}")),
        ("two texts with a record separator", format!("\u{1e}{allowed}\n\u{1e}{BAD}\n")),
        ("an event", format!("data: {BAD}\n\n")),
        ("a length and the call", format!("Content-Length: {}\r\n\r\n{BAD}", BAD.len())),
        ("a vertical tab before", format!("\u{b}{allowed}")),
        ("a form feed after", format!("{allowed}\u{c}")),
        ("a blank of Unicode", format!("\u{a0}{allowed}")),
        ("a line separator between tokens", allowed.replacen(',', "\u{2028},", 1)),
        ("a guard before", format!(")]}}'\n{BAD}")),
        ("single quotes", BAD.replace('"', "'")),
        ("keys without quotes", bad("\"method\"", "method")),
        ("a comment", bad("{", "{/*x*/")),
        ("a comment to the line's end", bad("{", "{//x\n")),
        ("nothing", String::new()),
        ("blanks", " \r\n\t".to_owned()),
    ] {
        rows.push(row(name, text, NO_JSON));
    }
    rows.push(row("blanks around", format!("\r\n\t {BAD} \r\n"), Denied));
    rows
}

/// The name is compared after unescaping and to the letter; so is the method.
fn names(open: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    for name in ["\\u0064elete_account", "delete\\u005faccount", "\\u0064\\u0065lete_account"] {
        rows.push(row(&format!("the name {name}"), bad("delete_account", name), Denied));
    }
    for method in ["tools\\/call", "\\u0074ools/call", "tools\\u002fcall", "tools/cal\\u006C"] {
        rows.push(row(&format!("the method {method}"), bad("tools/call", method), Denied));
        let name = format!("the method {method} of an allowed tool");
        let arguments = json!({"row": name}).to_string();
        rows.push(row(&name, good("read_\\u0061", &arguments, "").replace("tools/call", method), Executed));
    }
    for method in [
        "tools/call ",
        " tools/call",
        "TOOLS/CALL",
        "Tools/Call",
        "tools/call\\u0000",
        "tools/call\\n",
        "tools/call/",
        "/tools/call",
        "tool\u{17f}/call",
        "tools/ca\\u200bll",
        "tools\\\\call",
        "tools.call",
        "tools/call2",
        "",
        "initialize ",
        "rpc.tools/call",
    ] {
        rows.push(row(&format!("the method {method:?}"), bad("tools/call", method), NO_METHOD));
    }
    for method in ["7", "null", "[\"tools/call\"]", "{}"] {
        rows.push(row(&format!("the method is {method}"), bad("\"tools/call\"", method), NO_MESSAGE));
    }
    // Where everything is denied that no rule allows, no spelling is let through. Where everything is allowed, another
    // name is another tool.
    let spellings = [
        "delete_account ",
        " delete_account",
        "delete_account\\t",
        "delete_account\\u0000",
        "DELETE_ACCOUNT",
        "Delete_Account",
        "delete-account",
        "deleteAccount",
        "d\u{435}lete_account",
        "delete_\u{430}ccount",
        "\u{ff44}elete_account",
        "delete\u{ff3f}account",
        "delete_account\u{200b}",
        "delete\u{ad}_account",
        "\u{202e}tnuocca_eteled",
        "demo/delete_account",
        "./delete_account",
        "read_a/../delete_account ".trim_start_matches("read_a/"),
        " read_a",
        "Read_a",
        "READ_A",
        "\u{280}ead_a",
        "*",
        "read",
    ];
    if !open {
        rows.extend(spellings.map(|name| row(&format!("the name {name:?}"), bad("delete_account", name), Denied)));
    }
    rows.push(row("a name of 1,025 characters", bad("delete_account", &"d".repeat(1_025)), NO_PARAMS));
    rows.push(row("a hidden tool", bad("delete_account", "hidden_b"), NO_PARAMS));
    rows.push(row("a hidden tool, escaped", bad("delete_account", "\\u0068idden_b"), NO_PARAMS));
    rows
}

/// Since 2025-06-18 a body is one message. Where batches are, each element is its own call.
fn batches(batches: bool) -> Vec<Row> {
    let want = |judged| if batches { judged } else { NO_MESSAGE };
    vec![
        row("a batch of one", format!("[{BAD}]"), want(Denied)),
        row("an empty batch", "[]", NO_MESSAGE),
        row("a batch in a batch", format!("[[{BAD}]]"), NO_MESSAGE),
        row("a batch with a blank before", format!(" \n[{BAD}]"), want(Denied)),
    ]
}

fn check(row: &Row, raw: &Raw) {
    let shown = String::from_utf8_lossy(&row.body[..row.body.len().min(300)]).into_owned();
    let fits = match row.want {
        // An element of a batch is refused in the batch's answer.
        Error(code) if raw.body.starts_with('[') => raw.json().as_array().is_some_and(|all| matches!(&all[..], [one] if one["error"]["code"] == code)),
        Error(code) => raw.error() == Some(code) && raw.json()["result"].is_null(),
        Denied => raw.body.contains("\"state\":\"denied\""),
        Dropped => (raw.status, raw.body.as_str()) == (202, ""),
        Executed => raw.status == 200 && raw.json()["result"] == json!({"content": []}),
    };
    assert!(fits, "{}: {:?} expected of {shown}, not {raw:?}", row.name, row.want);
}

#[tokio::test]
async fn a_body_is_judged_as_what_the_server_would_execute_or_refused() {
    let site = Site::new().await;
    for server in Site::SERVERS {
        let mut expected = Vec::new();
        for (revision, batch) in REVISIONS {
            let session = site.session(server, revision).await;
            let rows = [second_members(), shapes(), texts(), names(server.starts_with("open")), batches(batch)];
            for row in rows.iter().flatten() {
                check(row, &site.post(server, &session, &row.body).await);
                if row.want == Executed {
                    expected.push(row.name.clone());
                }
            }
            // What came before it in the same pipe has been read by now.
            let last = format!("the last of {revision}");
            let raw = site.post(server, &session, good("read_a", &json!({"row": last}).to_string(), "").as_bytes()).await;
            assert_eq!(raw.json()["result"], json!({"content": []}), "{raw:?}");
            expected.push(last);
        }
        assert_eq!(site.executed(server), expected, "{server}");
    }
    site.upstreams.shutdown().await;
}
