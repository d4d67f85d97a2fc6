//! `paraph mail test`: one mail the way all mails go, and on failure the step that failed and what to do about it. It
//! reads the configuration and needs no gateway; a running one is not asked. What the mail server says is a stranger's
//! text, and the password is never shown. Called by `cli`.

use super::fault::Fault;
use super::settings::{Where, mail_address};
use super::terminal;
use crate::config::{Encryption, MailTransport};
use crate::serve::{Left, MailTest, Tried, TryError, test_mail};
use clap::Subcommand;
use serde_json::{Value, json};
use std::process::ExitCode;

/// `paraph mail …`.
#[derive(Debug, Subcommand)]
pub(super) enum Mail {
    /// Send one mail through the configured transport
    #[command(after_help = "\
Examples:
  paraph mail test ann@example.org
  paraph mail test ann@example.org --json

It works whether the gateway runs or not, and needs nothing but the configuration. Exit codes:
0 the mail server (or the folder) took the mail, 1 it refused it, or no mail is configured, 2 wrong
use or configuration, also a refused user or password, 3 the mail server could not be reached, or
not safely.")]
    Test {
        /// Where to; it need not be a reviewer's address
        #[arg(value_parser = mail_address)]
        address: String,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
}

impl Mail {
    pub(super) async fn run(self, place: &Where) -> Result<ExitCode, Fault> {
        let Mail::Test { address, json } = self;
        let config = place.config()?;
        let Some(test) = Box::pin(test_mail(&config, &address)).await else {
            let why = "no mail is sent: [mail] transport is \"off\", or there is no [mail] table";
            if json {
                terminal::say(&terminal::json(&json!({ "sent": false, "transport": "off", "problem": why }), true));
                return Ok(ExitCode::FAILURE);
            }
            return Err(Fault::new(1, format!("{why}. Write transport = \"smtp\" with url and from, and try again.")));
        };
        let code = match &test.tried {
            Ok(_) => 0,
            Err(error) => exit_code(error),
        };
        let asked = Asked { transport: &config.mail.transport, from: &config.mail.from, address: &address, test: &test };
        if json {
            terminal::say(&terminal::json(&asked.view(), true));
        } else {
            asked.tell();
        }
        Ok(ExitCode::from(code))
    }
}

fn exit_code(error: &TryError) -> u8 {
    match &error.fault {
        Some(fault) if fault.is_about_sign_in() => 2,
        Some(_) if error.is_unreachable() => 3,
        _ => 1,
    }
}

/// What was asked and what came of it.
struct Asked<'a> {
    transport: &'a MailTransport,
    from: &'a str,
    address: &'a str,
    test: &'a MailTest,
}

impl Asked<'_> {
    fn tell(&self) {
        let row = |name: &str, value: &str| terminal::say(&format!("{name:<12} {}", terminal::visible(value)));
        row(if matches!(self.transport, MailTransport::File { .. }) { "Folder" } else { "Mail server" }, &self.test.to);
        match &self.test.tried {
            Ok(Tried { message_id, left }) => {
                if let Left::Taken(taken) = left {
                    row("Encryption", self.encryption(taken.encrypted).1);
                    row("Signed in", self.user().filter(|_| taken.signed_in).unwrap_or("no"));
                }
                row("From", self.from);
                row("To", self.address);
                row("Message-ID", message_id);
                row("Links", &self.test.public_url);
                match left {
                    Left::File(path) => terminal::say(&format!("Written to {}", terminal::visible(&path.display().to_string()))),
                    Left::Taken(taken) => {
                        row("It said", &taken.words);
                        terminal::say("The mail server took the mail. Look into the inbox, and among the spam.");
                    }
                }
            }
            Err(error) => {
                row("From", self.from);
                row("To", self.address);
                let step = error.fault.as_ref().map(|fault| format!(" at the step {:?}", fault.step.word())).unwrap_or_default();
                terminal::note(&format!("paraph: the mail did not leave{step}: {}.", terminal::visible(error.cause.trim_end_matches('.'))));
                if let Some((code, words)) = error.fault.as_ref().and_then(|fault| Some((fault.code()?, fault.words.as_deref().unwrap_or_default()))) {
                    terminal::note(&format!("It said: {code} {}", terminal::visible(words)));
                }
                if !error.mend.is_empty() {
                    terminal::note(error.mend);
                }
            }
        }
    }

    fn view(&self) -> Value {
        let mut view = json!({ "sent": self.test.tried.is_ok(), "from": self.from, "address": self.address, "links": self.test.public_url });
        if matches!(self.transport, MailTransport::File { .. }) {
            view["transport"] = json!("file");
            view["folder"] = json!(self.test.to);
        } else {
            view["transport"] = json!("smtp");
            view["server"] = json!(self.test.to);
        }
        match &self.test.tried {
            Ok(Tried { message_id, left }) => {
                view["message_id"] = json!(message_id);
                match left {
                    Left::File(path) => view["file"] = json!(path.display().to_string()),
                    Left::Taken(taken) => {
                        view["encryption"] = json!(self.encryption(taken.encrypted).0);
                        view["signed_in"] = json!(taken.signed_in);
                        view["said"] = json!(taken.words);
                    }
                }
            }
            Err(error) => {
                view["problem"] = json!(error.cause);
                view["mend"] = json!(error.mend);
                view["step"] = json!(error.fault.as_ref().map(|fault| fault.step.word()));
                view["code"] = json!(error.fault.as_ref().and_then(|fault| fault.code()));
                view["said"] = json!(error.fault.as_ref().and_then(|fault| fault.words.as_deref()));
            }
        }
        view
    }

    fn user(&self) -> Option<&str> {
        if let MailTransport::Smtp(server) = self.transport { server.user.as_deref() } else { None }
    }

    fn encryption(&self, encrypted: bool) -> (&'static str, &'static str) {
        match self.transport {
            MailTransport::Smtp(server) if encrypted && server.tls == Encryption::Implicit => ("tls", "TLS from the first byte, certificate checked"),
            _ if encrypted => ("starttls", "STARTTLS, certificate checked"),
            _ => ("none", "none: the mail travelled readable"),
        }
    }
}
