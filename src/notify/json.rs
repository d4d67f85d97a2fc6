//! Lays JSON text out over lines without reading its values: numbers and escapes stay as they will be sent.
//! A parse into numbers and back could show another value than the one that leaves. Called by `page`.

/// The same JSON, one member per line, indented by two spaces. The text must be valid JSON.
pub(super) fn lay_out(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 4);
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    let mut characters = json.chars().filter(|c| !c.is_ascii_control()).peekable();
    while let Some(c) = characters.next() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                while characters.peek() == Some(&' ') {
                    characters.next();
                }
                out.push(c);
                if let Some(end) = characters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            ' ' => {}
            other => out.push(other),
        }
    }
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    // Deep nesting must not blow the mail up.
    out.extend(std::iter::repeat_n("  ", depth.min(20)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_escapes_stay_as_they_will_be_sent() {
        let laid = lay_out(r#"{"id":12345678901234567890123,"t":"a \"{,}\\","e":{ },"l":[1.0,2e5]}"#);
        assert_eq!(laid, "{\n  \"id\": 12345678901234567890123,\n  \"t\": \"a \\\"{,}\\\\\",\n  \"e\": {},\n  \"l\": [\n    1.0,\n    2e5\n  ]\n}");
    }
}
