//! Scenarios that say what they would do, and do not.

use testudo_rules::plan::Simulation;

/// Whether alerts of a scenario are simulated: all are, but for the exclusions; or only those.
pub fn is_simulated(simulation: &Simulation, scenario: &str) -> bool {
    simulation.simulation != simulation.exclusions.iter().any(|name| name == scenario)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusions_turn_it_round() {
        let plan = |simulation, exclusions: &[&str]| Simulation {
            simulation,
            exclusions: exclusions.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert!(!is_simulated(&plan(false, &[]), "a/b"));
        assert!(is_simulated(&plan(true, &[]), "a/b"));
        assert!(is_simulated(&plan(false, &["a/b"]), "a/b"));
        assert!(!is_simulated(&plan(true, &["a/b"]), "a/b"));
    }
}
