//! What counts of a tool's definition: its name, what it takes, what its server says of it. Read as strictly as
//! arguments are, so that no reader understands the tool in another way. Called by `risk`.

use crate::domain::json::strict;
use serde_json::Value;

/// Arguments of one tool that are looked at; a tool with more is not read.
const ARGUMENTS: usize = 500;

/// One tool.
pub(super) struct Facts {
    pub(super) name: String,
    pub(super) description: String,
    /// `annotations.readOnlyHint` and `destructiveHint`, where the server wrote them.
    pub(super) read_only: Option<bool>,
    pub(super) destructive: Option<bool>,
    pub(super) arguments: Vec<Argument>,
}

/// One property of its `inputSchema`.
pub(super) struct Argument {
    pub(super) name: String,
    /// `type`, where it is one.
    pub(super) kind: Option<String>,
    pub(super) required: bool,
}

impl Facts {
    /// The error is the name, as far as it can be told, and why the tool is not judged.
    pub(super) fn read(text: &str) -> Result<Facts, (String, String)> {
        let loose: Option<Value> = serde_json::from_str(text).ok();
        let name = loose.as_ref().and_then(|tool| tool["name"].as_str()).unwrap_or_default().to_owned();
        let refused = |why: &str| Err((name.clone(), why.to_owned()));
        let Ok(tool) = strict(text.as_bytes()) else { return refused("two readers could understand its definition differently") };
        let Some(name) = tool["name"].as_str().filter(|name| !name.is_empty()) else { return refused("has no name") };
        let hint = |key: &str| tool["annotations"][key].as_bool();
        let schema = &tool["inputSchema"];
        let needs = |key: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|name| name == key));
        let properties = schema["properties"].as_object();
        if properties.is_some_and(|properties| properties.len() > ARGUMENTS) {
            return refused("takes more arguments than anybody could look at");
        }
        let arguments = properties.into_iter().flatten().map(|(key, property)| Argument {
            name: key.clone(),
            kind: property["type"].as_str().map(str::to_owned),
            required: needs(key),
        });
        Ok(Facts {
            name: name.to_owned(),
            description: tool["description"].as_str().unwrap_or_default().to_owned(),
            read_only: hint("readOnlyHint"),
            destructive: hint("destructiveHint"),
            arguments: arguments.collect(),
        })
    }
}
