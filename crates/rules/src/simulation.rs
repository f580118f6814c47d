//! The simulation file: which scenarios decide nothing but say what they would.

use std::sync::Arc;

use crate::{
    keys,
    load::{self, Fields, Loaded},
    place::SourceFile,
    plan::Simulation,
};

/// Reads a simulation file. One that is empty simulates nothing.
pub fn load_simulation(file: Arc<SourceFile>) -> Loaded<Simulation> {
    let mut loaded = load::documents(file, |load, document| {
        let fields = Fields::read(load, document, &keys::SIMULATION);
        let exclusions = fields.get("exclusions").map_or(Vec::new(), |list| load.texts(list, "exclusions"));
        Some(Simulation {
            simulation: fields.flag(load, "simulation"),
            exclusions: exclusions.into_iter().map(|name| name.text.to_owned()).collect(),
        })
    });
    if loaded.items.is_empty() && loaded.diagnostics.is_empty() {
        loaded.items.push(Simulation::default());
    }
    loaded
}
