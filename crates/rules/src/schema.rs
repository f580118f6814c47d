//! The environments that rule expressions are checked against, as the public rule language
//! defines them.

use std::sync::LazyLock;

use testudo_expr::{Schema, Type, schema::Field};

/// All record types of the rule language.
const RECORDS: &str = "
record KeyValue
  Key string
  Value string
record Source
  AsName string
  AsNumber string
  Cn string
  IP string
  Range string
  Latitude float
  Longitude float
  Scope string
  Value string
  GetScope() string
  GetValue() string
  GetAsNumberName() string
  String() string
record AlertEvent
  Meta []KeyValue
  Timestamp string
  GetMeta(string) string
record Decision
  Duration string
  ID int
  Origin string
  Scenario string
  Scope string
  Simulated bool
  Type string
  Until string
  UUID string
  Value string
record Alert
  Capacity int
  CreatedAt string
  Decisions []*Decision
  Events []*AlertEvent
  EventsCount int
  ID int
  Kind string
  Labels []string
  Leakspeed string
  MachineID string
  Message string
  Meta []*KeyValue
  Remediation bool
  Scenario string
  ScenarioHash string
  ScenarioVersion string
  Simulated bool
  Source *Source
  StartAt string
  StopAt string
  UUID string
  GetScope() string
  GetValue() string
  GetScenario() string
  GetEventsCount() int
  GetMeta(string) string
record Overflow
  Mapkey string
  BucketId string
  Whitelisted bool
  Reprocess bool
  Sources map[string]Source
  Alert *Alert
  APIAlerts []Alert
  GetSources() []string
record Line
  Raw string
  Src string
  Time time
  Labels map[string]string
  Process bool
  Module string
record MatchedRules
  ByID(int) MatchedRules
  ByKind(string) MatchedRules
  ByTag(string) MatchedRules
  ByTags([]string) MatchedRules
  ByTagRx(string) MatchedRules
  ByDisruptiveness(bool) MatchedRules
  BySeverity(string) MatchedRules
  ByAccuracy(string) MatchedRules
  GetField(string) []string
  GetURI() string
  GetHash() string
  GetVersion() string
  GetName() string
  GetNames() []string
  GetMethod() string
  GetRuleIDs() []int
  Kinds() []string
  GetMatchedZones() []string
  GetHighestSeverity() string
record Appsec
  HasInBandMatches bool
  HasOutBandMatches bool
  MatchedRules MatchedRules
  Vars map[string]string
  HookVars map[string]string
  GetVar(string) string
  ByID(int) MatchedRules
  ByKind(string) MatchedRules
  ByTag(string) MatchedRules
  ByTags([]string) MatchedRules
  ByTagRx(string) MatchedRules
  ByDisruptiveness(bool) MatchedRules
  BySeverity(string) MatchedRules
  ByAccuracy(string) MatchedRules
  GetField(string) []string
  GetURI() string
  GetHash() string
  GetVersion() string
  GetName() string
  GetNames() []string
  GetMethod() string
  GetRuleIDs() []int
  Kinds() []string
  GetMatchedZones() []string
  GetHighestSeverity() string
record Event
  Type int
  ExpectMode int
  Whitelisted bool
  WhitelistReason string
  Stage string
  Line Line
  Parsed map[string]string
  Enriched map[string]string
  Unmarshaled map[string]any
  Overflow Overflow
  Time time
  StrTime string
  StrTimeFormat string
  MarshaledTime string
  Process bool
  Appsec Appsec
  Meta map[string]string
  GetType() string
  GetMeta(string) string
  SetMeta(string, string) bool mutates
  SetParsed(string, string) bool mutates
  ParseIPSources() []string
record Queue
  Queue []Event
  L int
  GetQueue() []Event
record Spec
  Name string
  Type string
  Description string
  Capacity int
  LeakSpeed string
  Duration string
  GroupBy string
  Distinct string
  Filter string
record Factory
  Spec Spec
record Leaky
  Name string
  Mode int
  Queue Queue
  Mapkey string
  Uuid string
  First_ts time
  Last_ts time
  Ovflw_ts time
  Total_count int
  Duration duration
  SerializedState any
  Factory Factory
record Reputation
  Listed bool
  Count int
  Origins []string
  Scenarios []string
  Types []string
  Since time
  Until time
record Url
  Scheme string
  Host string
  Path string
  RawPath string
  RawQuery string
  Fragment string
  String() string
record Header
  Get(string) string
  Values(string) []string
record Request
  Host string
  Method string
  Proto string
  RequestURI string
  RemoteAddr string
  ContentLength int
  URL *Url
  Header Header
  UserAgent() string
  Referer() string
";

static BASE: LazyLock<Schema> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "a constant of this file, read by every test")]
    Schema::parse(RECORDS).expect("the record types parse")
});

fn with(names: &[(&str, &str, bool)], extra: &[(&str, Type)]) -> Schema {
    let mut variables: Vec<Field> = names
        .iter()
        .filter_map(|&(name, record, pointer)| {
            let Some(Type::Record { index, .. }) = BASE.record(record) else { return None };
            Some(Field { name: name.to_owned(), ty: Type::Record { index, pointer } })
        })
        .collect();
    variables.extend(extra.iter().map(|(n, ty)| Field { name: (*n).to_owned(), ty: ty.clone() }));
    BASE.with_variables(variables)
}

/// `evt`: parsers, scenario filters and most of the rest.
pub static EVENT: LazyLock<Schema> = LazyLock::new(|| with(&[("evt", "Event", false)], &[]));

/// `evt`, `contributor`: who is let off of those that poured into a bucket.
pub static CONTRIBUTOR: LazyLock<Schema> =
    LazyLock::new(|| with(&[("evt", "Event", false)], &[("contributor", Type::String)]));

/// `evt`, `queue`, `leaky`: conditions of conditional and bayesian buckets.
pub static CONDITION: LazyLock<Schema> = LazyLock::new(|| {
    with(&[("evt", "Event", false), ("queue", "Queue", false), ("leaky", "Leaky", false)], &[])
});

/// `evt`, `queue`, `leaky`, `signal`: overflow filters.
pub static OVERFLOW: LazyLock<Schema> = LazyLock::new(|| {
    with(
        &[
            ("evt", "Event", true),
            ("queue", "Queue", false),
            ("leaky", "Leaky", false),
            ("signal", "Overflow", false),
        ],
        &[],
    )
});

/// `evt`, `match`, `req`: alert context.
pub static CONTEXT: LazyLock<Schema> = LazyLock::new(|| {
    with(&[("evt", "Event", false), ("req", "Request", true)], &[("match", Type::Map(Box::new(Type::Any)))])
});

/// `Alert`: profiles.
pub static PROFILE: LazyLock<Schema> = LazyLock::new(|| with(&[("Alert", "Alert", true)], &[]));
