//! The whole gateway under load, beside what it is compared with, in one run: `cargo bench --bench whole`.
//! docs/performance.md says what each row means and how to repeat it.

mod asker;
mod bare;
mod decide;
mod figures;
mod growth;
mod histogram;
mod holds;
mod inbox;
mod load;
mod officer;
mod paraph;
mod process;
mod receiver;
mod restart;
mod scenarios;
mod scene;
mod streams;
mod waiting;

use std::path::PathBuf;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "role-streams") {
        return streams::serve().await;
    }
    let program = PathBuf::from(std::env::var_os("PARAPH_BENCH_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_paraph").into()));
    for name in scenarios::NAMES.iter().filter(|name| arguments.iter().any(|argument| argument == *name)) {
        let sizes = scenarios::sizes(name, &arguments).unwrap_or_else(|mistake| panic!("{mistake}"));
        scenarios::run(name, &program, sizes).await;
    }
}
