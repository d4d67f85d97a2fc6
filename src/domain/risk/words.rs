//! The words by which a tool is taken for what it is. Lists of a kind say where they count: as the first word of a
//! name, the last, or anywhere. A word that stands in none is unknown, and what is unknown is denied. Used by `risk`.

/// First words of tools that change nothing.
pub(super) const READING: &[&str] = &[
    "read", "list", "get", "search", "find", "fetch", "count", "show", "view", "describe", "browse", "lookup", "retrieve", "inspect", "query", "check", "peek",
    "stat", "whoami", "ping",
];

/// Whole names of tools that change nothing.
pub(super) const KNOWN_READS: &[&str] = &["health_check", "healthcheck", "health", "status", "version", "server_info", "server_status", "who_am_i", "me"];

/// Last words of tools that ask about something.
pub(super) const ABOUT: &[&str] = &["status", "history", "count", "list", "info", "details", "stats", "health", "version"];

/// Words that make a reading name unclear, anywhere in it or in the name of an argument.
pub(super) const EFFECTS: &[&str] = &[
    "create",
    "update",
    "edit",
    "set",
    "add",
    "insert",
    "write",
    "modify",
    "rename",
    "upload",
    "import",
    "save",
    "archive",
    "join",
    "leave",
    "enable",
    "disable",
    "register",
    "subscribe",
    "switch",
    "claim",
    "assign",
    "approve",
    "accept",
    "reject",
    "submit",
    "trigger",
    "sync",
    "configure",
    "toggle",
    "unlock",
    "install",
    "send",
    "clear",
    "pop",
    "consume",
    "reset",
    "mark",
    "ack",
    "acknowledge",
];

/// Words between two things that one tool does.
pub(super) const JOINING: &[&str] = &["and", "or", "then"];

/// Words of arguments by which reading changes what is read.
pub(super) const MARKING: &[&str] = &["mark", "ack", "acknowledge", "seen"];

/// In a description: every call changes what the next one finds.
pub(super) const CONSUMING: &[&str] = &[
    "read cursor",
    "advances your",
    "advances the",
    "mark as read",
    "marks as read",
    "marked as read",
    "marks them",
    "mark them",
    "marks messages",
    "acknowledges",
    "dequeues",
    "consumes",
];

/// Words of tools that nobody wants done by mistake, anywhere.
pub(super) const DANGEROUS: &[&str] = &[
    "delete",
    "remove",
    "destroy",
    "purge",
    "wipe",
    "erase",
    "drop",
    "unlink",
    "truncate",
    "overwrite",
    "publish",
    "deploy",
    "execute",
    "exec",
    "eval",
    "shell",
    "bash",
    "sudo",
    "command",
    "revoke",
    "rotate",
    "terminate",
    "kill",
    "shutdown",
    "reboot",
    "ban",
    "kick",
    "impersonate",
    "grant",
];

/// The same for what costs money.
pub(super) const MONEY: &[&str] = &[
    "pay", "payment", "payout", "transfer", "wire", "buy", "purchase", "sell", "trade", "refund", "charge", "withdraw", "donate", "bid", "checkout", "invoice",
    "money", "funds", "crypto", "coins", "tip",
];

/// The same, only as a first word.
pub(super) const DANGEROUS_FIRST: &[&str] = &["order", "run", "format", "reset", "cancel", "block", "unfriend", "book"];

/// What a reading tool should not give out, anywhere in its name.
pub(super) const SECRETS: &[&str] =
    &["password", "passwords", "secret", "secrets", "credential", "credentials", "token", "tokens", "apikey", "key", "keys", "otp", "cookie", "cookies"];

/// First words that send, whatever the tool takes.
pub(super) const SENDING: &[&str] =
    &["send", "reply", "post", "tweet", "retweet", "toot", "notify", "mail", "email", "sms", "dm", "message", "forward", "broadcast", "announce", "whisper"];

/// First words that send if the tool takes a text.
pub(super) const TALKING: &[&str] = &["ask", "answer", "comment", "say", "respond", "contact", "chat", "text", "tell", "speak", "invite"];

/// First words that send if a message is what is made, and the tool takes a text.
pub(super) const COMPOSING: &[&str] = &["create", "new", "make", "add", "submit", "write", "schedule", "compose", "start", "open"];

/// What is made then.
pub(super) const POSTS: &[&str] = &[
    "dm",
    "message",
    "messages",
    "post",
    "tweet",
    "toot",
    "email",
    "mail",
    "sms",
    "reply",
    "comment",
    "notification",
    "thread",
    "announcement",
    "story",
    "chat",
    "conversation",
];

/// Words of a message that is written and does not leave.
pub(super) const WRITING: &[&str] = &["draft", "drafts", "template", "templates"];

/// First words of tools that change a message, or do something else with it than send it.
pub(super) const CUTS: &[&str] = &[
    "update",
    "edit",
    "mark",
    "archive",
    "unarchive",
    "preview",
    "react",
    "like",
    "unlike",
    "pin",
    "unpin",
    "follow",
    "unfollow",
    "mute",
    "unmute",
    "flag",
    "report",
    "hide",
    "move",
    "copy",
    "save",
    "star",
    "filter",
    "translate",
    "summarize",
];

/// Names of arguments that hold a text, beside those of messages.
pub(super) const TOLD: &[&str] = &["caption", "status", "question", "answer", "reply", "newmessage", "html", "markdown", "subject", "tweet"];

/// Names of arguments that are run.
pub(super) const CODE: &[&str] = &["sql", "command", "cmd", "script", "code", "shell", "statement"];

/// Names of arguments that say where to connect to.
pub(super) const ADDRESSES: &[&str] = &["url", "uri", "urls", "endpoint", "webhook", "webhookurl", "host", "hostname", "address", "href"];
