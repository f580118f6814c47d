//! The profiles of an installation that has none of its own.

use std::sync::Arc;

use testudo_rules::{SourceFile, load_profiles, plan::Profile};

/// Sources that a rule wants remedied are banned for four hours: addresses, then networks. Two of the rules that the
/// binary carries are about what was attacked: there, those who took part often enough are.
const TEXT: &str = "\
name: default_distributed_bruteforce
filters:
  - Alert.Remediation == true && Alert.GetScenario() == 'testudo/distributed-bruteforce'
decisions:
  - type: ban
    duration: 4h
attribution: {contributors: {least: 2}}
on_success: break
---
name: default_distributed_flood
filters:
  - Alert.Remediation == true && Alert.GetScenario() == 'testudo/distributed-flood'
decisions:
  - type: ban
    duration: 4h
attribution: {contributors: {least: 50}}
on_success: break
---
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
        let expected = [
            "default_distributed_bruteforce",
            "default_distributed_flood",
            "default_ip_remediation",
            "default_range_remediation",
        ];
        assert_eq!(names, expected);
    }
}
