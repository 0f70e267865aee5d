//! What the durable store costs on a real disk: ingest beside the bare engine, reads as the users grow in number, and
//! training exports within a bound of memory.
//!
//! `cargo bench -p augur-feature-store --bench storage -- ingest [EVENTS]`, `-- scale [USERS]` and
//! `-- export [EVENTS [USERS [MEMORY_MIB]]]`; `TMPDIR` says on which
//! disk. Run as a test, everything is tiny and only has to work. Not here: the aggregates' own cost (`apply.rs`).

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark tells what it measured and how far it is"
)]

mod export;
mod ingest;
mod scale;
mod shop;

/// The allocator of the binary that ships.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let measures = std::env::args().any(|word| word == "--bench");
    let size = |default| arguments.get(1).map_or(Ok(default), |size| size.replace('_', "").parse::<u64>());
    match arguments.first().map(String::as_str) {
        Some("ingest") if measures => ingest::measure(size(400_000)?),
        Some("scale") if measures => scale::measure(size(1_000_000)?),
        Some("export") if measures => {
            let events = size(1_000_000)?;
            let number =
                |at: usize| arguments.get(at).map(|it| it.replace('_', "").parse::<u64>()).transpose();
            export::measure(events, number(2)?, number(3)?)
        }
        _ if measures => {
            ingest::measure(400_000)?;
            scale::measure(1_000_000)?;
            export::measure(1_000_000, None, None)
        }
        _ => {
            ingest::measure(2_000)?;
            scale::measure(1_000)?;
            export::measure(2_000, None, None)
        }
    }
}
