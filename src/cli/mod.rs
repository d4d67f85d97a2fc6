//! The face in a terminal: one file per command. Standard output carries only what the contract promises,
//! everything else goes to standard error; exit codes are 0 done, 1 not so, 2 wrong use or config, 3 the gateway
//! could not be reached. Called by `main`.

mod agent;
mod audit;
mod calls;
mod check;
mod connect;
mod demo;
mod fault;
mod init;
mod listing;
mod mail;
mod manual;
mod pause;
mod policy;
mod reach;
mod reviewer;
mod scan;
mod serve;
mod settings;
mod starter;
mod store;
mod terminal;

use clap::{CommandFactory as _, Parser, Subcommand};
use fault::Fault;
use settings::Where;
use std::process::ExitCode;

const ABOUT: &str = "Paraph holds what an agent wants to send until a person has read it.";

const EXAMPLES: &str = "\
Examples:
  paraph demo                                     see the whole thing, with nothing to set up
  paraph init dm -- insta-mcp                     from your MCP server to the first held call
  paraph check                                    every mistake in ./config.toml
  paraph serve                                    run the gateway
  paraph reviewer add ann@example.org             prints a sign-in link
  paraph agent add support-bot --server demo      prints the agent's token
  paraph calls                                    what waits for a person
  paraph policy explain call.json                 what the rules say of a call, and why
  paraph pause --reason \"Wrong account.\"          nothing is sent until `paraph resume`

Exit codes: 0 done, 1 the thing asked about is not so, 2 wrong use or configuration, 3 the gateway could not be reached.";

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "paraph", version, about = ABOUT, after_help = EXAMPLES, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    place: Where,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway (also what a bare `paraph` does)
    Serve(serve::Serve),
    /// Show a held, an allowed and a denied call, with nothing to set up
    Demo(demo::Demo),
    /// Put the gateway before an MCP server: writes its part of the configuration, makes an agent and a reviewer
    Init(init::Init),
    /// Say what a server's tools probably do, and print a starter policy
    Scan(scan::Scan),
    /// The MCP server of the demo, on standard input and output
    DemoServer,
    /// Runs a stdio server so that it ends with the gateway
    #[command(hide = true)]
    Guard {
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Read the configuration and print every mistake in it
    Check(check::Check),
    /// Agents and their tokens
    #[command(subcommand)]
    Agent(agent::Agent),
    /// The people who decide
    #[command(subcommand)]
    Reviewer(reviewer::Reviewer),
    /// The desk in a terminal: list, show, approve, reject, watch
    Calls(calls::Calls),
    /// Export the audit and verify an export
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Judge calls without serving: explain, test, import
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Stop everything that would be sent, or say whether it is stopped
    Pause(pause::Pause),
    /// Let the gateway send again
    Resume(pause::Resume),
    /// Back up, restore and shrink the store
    #[command(subcommand)]
    Store(store::Store),
    /// Try out how mails leave
    #[command(subcommand)]
    Mail(mail::Mail),
    /// MCP on standard input and output, bridged to the running gateway
    Connect(connect::Connect),
    /// Print a completion script for a shell
    Completions(manual::Completions),
    /// Print the manual page
    Man(manual::Man),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is no reason to fail.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    // The guard makes its own runtime, as small as can be: there is one for every server.
    if let Some(Command::Guard { command }) = cli.command {
        return crate::mcp::guard::run(command);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Fault::new(1, format!("the runtime could not be started: {error}")).told(),
    };
    let code = runtime.block_on(run(cli));
    // A read of standard input that nobody will answer must not keep the process.
    runtime.shutdown_background();
    code
}

async fn run(cli: Cli) -> ExitCode {
    let place = cli.place;
    let done = match cli.command {
        None => Box::pin(serve::bare(&place)).await,
        Some(Command::Serve(serve)) => Box::pin(serve.run(&place)).await,
        Some(Command::Demo(demo)) => Box::pin(demo.run()).await,
        Some(Command::Init(init)) => Box::pin(init.run(&place)).await,
        Some(Command::Scan(scan)) => Box::pin(scan.run(&place)).await,
        Some(Command::DemoServer) => crate::mcp::demo_server::run().await.map(|()| ExitCode::SUCCESS).map_err(|error| Fault::new(1, error.to_string())),
        Some(Command::Guard { command }) => Ok(crate::mcp::guard::run(command)),
        Some(Command::Check(check)) => Box::pin(check.run(&place)).await,
        Some(Command::Agent(agent)) => Box::pin(agent.run(&place)).await,
        Some(Command::Reviewer(reviewer)) => Box::pin(reviewer.run(&place)).await,
        Some(Command::Calls(calls)) => Box::pin(calls.run(&place)).await,
        Some(Command::Audit(audit)) => Box::pin(audit.run(&place)).await,
        Some(Command::Policy(policy)) => Box::pin(policy.run(&place)).await,
        Some(Command::Pause(pause)) => Box::pin(pause.run(&place)).await,
        Some(Command::Resume(resume)) => Box::pin(resume.run(&place)).await,
        Some(Command::Store(store)) => Box::pin(store.run(&place)).await,
        Some(Command::Mail(mail)) => Box::pin(mail.run(&place)).await,
        Some(Command::Connect(connect)) => Box::pin(connect.run()).await,
        Some(Command::Completions(completions)) => Ok(completions.run(&Cli::command())),
        Some(Command::Man(man)) => man.run(&Cli::command()),
    };
    done.unwrap_or_else(|fault| fault.told())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    fn without_examples(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        let path = format!("{path} {}", command.get_name());
        let explained = command.get_after_help().is_some_and(|help| help.to_string().contains("Examples:\n"));
        // A group of commands is explained by its members; demo-server is started by the demo's configuration.
        if !explained && !command.has_subcommands() && command.get_name() != "demo-server" {
            found.push(path.clone());
        }
        command.get_subcommands().filter(|below| !below.is_hide_set()).for_each(|below| without_examples(below, &path, found));
    }

    #[test]
    fn no_command_is_without_examples() {
        let mut found = Vec::new();
        without_examples(&Cli::command(), "", &mut found);
        assert_eq!(found, Vec::<String>::new());
    }
}
