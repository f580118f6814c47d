//! The helpers of the rule language: the functions with upper-case names, one file a family.
//!
//! Each body is a thin shell that takes its arguments apart; what it does stands beside it as a
//! function on `&str` and the like, which compiled filters call directly.

use crate::functions::Function;

pub(crate) mod base64;
pub(crate) mod case;
pub(crate) mod files;
pub(crate) mod format;
pub(crate) mod geo;
pub(crate) mod http;
pub(crate) mod ja4h;
pub(crate) mod json;
pub(crate) mod json_scan;
pub(crate) mod kv;
pub(crate) mod libinjection;
pub(crate) mod lists;
pub(crate) mod net;
pub(crate) mod reputation;
pub(crate) mod state;
pub(crate) mod strings;
pub(crate) mod time;
pub(crate) mod uri;
pub(crate) mod url;
mod verbs;
pub(crate) mod xml;
mod xml_path;
mod xml_tree;

#[cfg(test)]
mod testing;

/// All helpers.
pub(crate) fn table() -> Vec<Function> {
    [
        base64::table,
        files::table,
        format::table,
        geo::table,
        http::table,
        ja4h::table,
        json::table,
        kv::table,
        libinjection::table,
        lists::table,
        net::table,
        reputation::table,
        state::table,
        strings::table,
        time::table,
        url::table,
        xml::table,
    ]
    .into_iter()
    .flat_map(|family| family())
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: impl Fn(&Function) -> bool) -> Vec<&'static str> {
        let mut names: Vec<_> = table().iter().filter(|f| of(f)).map(|f| f.name).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn helpers_and_their_effects() {
        let mut all = names(|_| true);
        all.dedup();
        assert_eq!(all.len(), 86);
        assert_eq!(
            names(|f| f.effects.mutates),
            ["LogInfo", "ParseKV", "ParseKVLax", "SetInStash", "UnmarshalJSON"]
        );
        assert_eq!(
            names(|f| f.effects.blocks),
            ["CrowdsecCTI", "HTTPGet", "HTTPHead", "HTTPPost", "HTTPRequest", "LookupHost"]
        );
        let impure = names(|f| f.effects.impure && !f.effects.blocks);
        let expected = [
            "File",
            "FileMap",
            "GeoIPASNEnrich",
            "GeoIPEnrich",
            "GeoIPRangeEnrich",
            "GetActiveDecisionsCount",
            "GetActiveDecisionsTimeLeft",
            "GetDecisionsCount",
            "GetDecisionsSinceCount",
            "GetFromStash",
            "Hostname",
            "IPToCountry",
            "IsListed",
            "ListedBy",
            "LookupFile",
            "MatchKnownBot",
            "ParseUnix",
            "RegexpInFile",
            "Reputation",
            "TimeNow",
        ];
        assert_eq!(impure, expected);
    }
}
