//! The profiles of an installation that has none of its own.

use std::sync::Arc;

use testudo_rules::{SourceFile, load_profiles, plan::Profile};

/// Sources that a rule wants remedied are banned for four hours: addresses, then networks.
const TEXT: &str = "\
name: default_ip_remediation
filters:
  - Alert.Remediation == true && Alert.GetScope() == 'Ip'
decisions:
  - type: ban
    duration: 4h
on_success: break
---
name: default_range_remediation
filters:
  - Alert.Remediation == true && Alert.GetScope() == 'Range'
decisions:
  - type: ban
    duration: 4h
on_success: break
";

/// The default profiles.
pub fn default_profiles() -> Vec<Profile> {
    let file = SourceFile { path: "default profiles".to_owned(), text: TEXT.to_owned() };
    load_profiles(Arc::new(file)).items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_load() {
        let names: Vec<_> = default_profiles().iter().map(|profile| profile.name.to_string()).collect();
        assert_eq!(names, ["default_ip_remediation", "default_range_remediation"]);
    }
}
