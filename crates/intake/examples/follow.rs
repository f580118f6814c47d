//! Follows what an acquisition file names and prints its lines: `follow acquis.yaml positions.json`.
//!
//! A whole user of the crate in a page: sources from a file, positions from the last run, and every
//! batch noted after it is dealt with. Killed at any moment, it goes on where it was.

use std::{env, error::Error, fs, path::Path};

use testudo_intake::{Options, Positions, config, start};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().collect();
    let [_, acquisition, noted] = arguments.as_slice() else {
        return Err("usage: follow ACQUISITION POSITIONS".into());
    };
    let loaded = config::load(Some(Path::new(acquisition)), None, &config::environment)?;
    for diagnostic in &loaded.diagnostics {
        eprint!("{}", testudo_rules::render(diagnostic, false));
    }
    let mut positions: Positions = match fs::read(noted) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(_) => Positions::default(),
    };
    positions.check()?;
    let sources = loaded.sources.iter().map(config::Acquisition::source).collect();
    let (intake, mut batches) = start(sources, positions.clone(), &Options::default());
    while let Some(batch) = batches.recv().await {
        for line in batch.lines() {
            println!("{} {}: {line}", batch.stream.kind, batch.stream.src);
        }
        if let Some(progress) = batch.progress() {
            positions.apply(progress);
            let new = format!("{noted}.new");
            fs::write(&new, serde_json::to_vec(&positions)?)?;
            fs::rename(&new, noted)?;
        }
    }
    for status in intake.statuses() {
        eprintln!("{}: {:?}", status.settings.title, status.state);
    }
    Ok(())
}
