//! The checked plan of one document: names given meaning, expressions parsed and typed, durations
//! and networks read. Nothing in here depends on any other document.

use std::{fmt, net::IpAddr, sync::Arc};

use testudo_event::net::Prefix;
use testudo_expr::{ast, core, error::Span};

use crate::place::Place;

/// A checked expression with the text it came from.
#[derive(Clone, Debug)]
pub struct Expression {
    /// As written in the file, decoded from YAML.
    pub text: Arc<str>,
    /// Its syntax tree.
    pub ast: Arc<ast::Expr>,
    /// Its checked form.
    pub node: Arc<core::Node>,
    /// Where its text begins.
    pub place: Place,
    /// The whole value, with the quotes that it is written in.
    pub scalar: Place,
}

impl Expression {
    /// The place of a part of it, such as that of a node.
    pub fn place_of(&self, part: Span) -> Place {
        self.scalar.within(&self.text, part.range())
    }
}

/// What follows when a node succeeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnSuccess {
    /// The other nodes of the stage go on.
    #[default]
    Continue,
    /// The event moves to the next stage.
    NextStage,
}

/// A document of a parser or postoverflow file.
#[derive(Clone, Debug)]
pub struct Parser {
    /// The stage it runs in: the name of its folder.
    pub stage: Arc<str>,
    /// The top node.
    pub node: ParserNode,
}

/// How people find a node: by its name or, where it has none of its own, by its rule and its place in that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLabel {
    /// Its name; that of the next node above it that has one where it has none.
    pub rule: Arc<str>,
    /// Its number among the children of that node, and so on downwards: `2.1`. Empty for a node with a name.
    pub at: Arc<str>,
    /// The line in the file, from 1.
    pub line: u32,
}

impl NodeLabel {
    /// Without the name of the rule, where that is clear: `node 2.1 (line 14)`.
    pub fn within_rule(&self) -> String {
        if self.at.is_empty() {
            self.rule.to_string()
        } else {
            format!("node {} (line {})", self.at, self.line)
        }
    }
}

impl fmt::Display for NodeLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            return f.write_str(&self.rule);
        }
        write!(f, "{}, node {} (line {})", self.rule, self.at, self.line)
    }
}

/// A node of a parser tree.
#[derive(Clone, Debug)]
pub struct ParserNode {
    /// Its name; `child-<name of the parent>` where a child has none, as counters and the tests of a hub have it.
    pub name: Arc<str>,
    /// What messages call it.
    pub label: NodeLabel,
    /// Where it begins.
    pub place: Place,
    /// What follows when it succeeds.
    pub on_success: OnSuccess,
    /// Must hold for the node to run.
    pub filter: Option<Expression>,
    /// Pattern definitions, in document order.
    pub pattern_syntax: Vec<(String, String, Place)>,
    /// The pattern of the node.
    pub grok: Option<Grok>,
    /// Applied when the node succeeds.
    pub statics: Vec<Static>,
    /// Caches it writes to.
    pub stash: Vec<Stash>,
    /// Ends the way of harmless events.
    pub whitelist: Option<Whitelist>,
    /// Files it needs.
    pub data: Vec<DataFile>,
    /// Its children, in order.
    pub nodes: Vec<ParserNode>,
}

/// A pattern and what it is applied on.
#[derive(Clone, Debug)]
pub struct Grok {
    /// Source text.
    pub source: GrokSource,
    /// The pattern; `None`: an expression without a pattern, which counts as no grok at all.
    pub pattern: Option<GrokPattern>,
    /// Where the pattern or its name is written; the grok, where it has none.
    pub pattern_place: Place,
    /// Applied when the pattern matches.
    pub statics: Vec<Static>,
    /// Where it stands.
    pub place: Place,
}

/// Where a pattern takes its text from.
#[derive(Clone, Debug)]
pub enum GrokSource {
    /// The whole line.
    Line,
    /// A key of `Parsed`; the pattern fails where it is absent.
    Parsed(Arc<str>),
    /// The result of an expression.
    Expression(Expression),
}

/// A pattern, by name or written out.
#[derive(Clone, Debug)]
pub enum GrokPattern {
    /// Name of a library pattern.
    Name(String),
    /// Grok text.
    Inline(String),
}

/// An assignment.
#[derive(Clone, Debug)]
pub struct Static {
    /// Where the value goes.
    pub target: Target,
    /// The value.
    pub value: StaticValue,
    /// Where it stands.
    pub place: Place,
}

/// Where a static writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Handed to an enricher; its answers go to `Enriched`.
    Method(String),
    /// A key of `Parsed`.
    Parsed(Arc<str>),
    /// A key of `Meta`.
    Meta(Arc<str>),
    /// A key of `Enriched`.
    Enriched(Arc<str>),
    /// A key of `Unmarshaled`.
    Unmarshaled(Arc<str>),
    /// A key of `Line.Labels`.
    Label(Arc<str>),
    /// A text field of the event.
    Field(TextField),
    /// A path that names no settable text: nothing is set (a warning at load).
    Nowhere(String),
}

/// Text fields of the event that a static may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the field of that name")]
pub enum TextField {
    StrTime,
    StrTimeFormat,
    MarshaledTime,
    WhitelistReason,
    Stage,
    LineRaw,
    LineSrc,
    LineModule,
    /// `Overflow.Mapkey`
    OverflowMapkey,
    /// `Overflow.BucketId`
    OverflowBucketId,
    /// `Overflow.Alert.Source.Value`
    SourceValue,
    /// `Overflow.Alert.Source.Scope`
    SourceScope,
    /// `Overflow.Alert.Source.IP`
    SourceIp,
    /// `Overflow.Alert.Source.Range`
    SourceRange,
    /// `Overflow.Alert.Source.AsName`
    SourceAsName,
    /// `Overflow.Alert.Source.AsNumber`
    SourceAsNumber,
    /// `Overflow.Alert.Source.Cn`
    SourceCn,
    /// `Overflow.Alert.Scenario`
    AlertScenario,
    /// `Overflow.Alert.Message`
    AlertMessage,
}

/// The value of a static.
#[derive(Clone, Debug)]
pub enum StaticValue {
    /// Fixed text.
    Text(Arc<str>),
    /// Computed.
    Expression(Expression),
}

/// How a cache evicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Least recently used.
    #[default]
    Lru,
    /// Least frequently used.
    Lfu,
    /// Adaptive replacement.
    Arc,
}

/// Writes to a named cache.
#[derive(Clone, Debug)]
pub struct Stash {
    /// Name of the cache.
    pub name: Arc<str>,
    /// The key.
    pub key: Expression,
    /// The value.
    pub value: Expression,
    /// Life of an entry in nanoseconds.
    pub ttl: i64,
    /// Entries that the cache holds.
    pub size: usize,
    /// How it evicts.
    pub strategy: Strategy,
}

/// What is harmless, and why.
#[derive(Clone, Debug, Default)]
pub struct Whitelist {
    /// Told in reports.
    pub reason: Arc<str>,
    /// Addresses.
    pub ips: Vec<IpAddr>,
    /// Networks.
    pub cidrs: Vec<Prefix>,
    /// Expressions, in order.
    pub expressions: Vec<Expression>,
    /// Expressions about each contributor of an overflow.
    pub contributors: Vec<Expression>,
}

impl Whitelist {
    /// Whether it lists nothing: all that it listed was wrong.
    pub fn is_empty(&self) -> bool {
        let Whitelist { ips, cidrs, expressions, contributors, .. } = self;
        ips.is_empty() && cidrs.is_empty() && expressions.is_empty() && contributors.is_empty()
    }
}

/// How a data file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataKind {
    /// Only fetched; read by something else (databases).
    Opaque,
    /// A list of lines.
    String,
    /// A list of patterns.
    Regexp,
    /// JSON rows of pattern, tag, type.
    Map,
    /// JSON rows that describe crawlers.
    Bots,
}

/// A file that a document needs.
#[derive(Clone, Debug)]
pub struct DataFile {
    /// Where it can be had; may be empty.
    pub source_url: String,
    /// Its name in the data folder, and in expressions.
    pub dest_file: Arc<str>,
    /// How it is read.
    pub kind: DataKind,
    /// Where the entry stands.
    pub place: Place,
}

/// A document of a scenario file.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: Arc<str>,
    /// Where it begins.
    pub place: Place,
    /// What it is about.
    pub description: String,
    /// The sort of bucket.
    pub kind: BucketKind,
    /// As declared: −1 unlimited, 0 for triggers.
    pub capacity: i64,
    /// Nanoseconds between two leaks; 0 where none is given.
    pub leak_speed: i64,
    /// Nanoseconds; 0 where none is given.
    pub duration: i64,
    /// Selects the events.
    pub filter: Expression,
    /// Splits them into buckets.
    pub group_by: Option<Expression>,
    /// Only events with a new value of this are poured.
    pub distinct: Option<Expression>,
    /// Destroys the bucket.
    pub cancel_on: Option<Expression>,
    /// Overflows the bucket when true after a pour.
    pub condition: Option<Expression>,
    /// Discards the overflow when false.
    pub overflow_filter: Option<Expression>,
    /// Nanoseconds for which a bucket's key stays silent after an overflow; 0: none.
    pub blackhole: i64,
    /// Bound on the events that an alert carries; 0: the capacity.
    pub cache_size: i64,
    /// Whom an overflow is about.
    pub scope: Scope,
    /// Whether overflows are poured again.
    pub reprocess: bool,
    /// Labels, as JSON-like values.
    pub labels: std::collections::BTreeMap<String, testudo_expr::Value>,
    /// `labels.remediation` is the boolean true.
    pub remediation: bool,
    /// Bayesian parameters.
    pub bayesian: Option<Bayesian>,
    /// Files it needs.
    pub data: Vec<DataFile>,
}

/// The sorts of buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the `type:` of that name")]
pub enum BucketKind {
    Leaky,
    Trigger,
    Counter,
    Conditional,
    Bayesian,
}

/// Whom an overflow is about.
#[derive(Clone, Debug)]
pub enum Scope {
    /// The address in `Meta.source_ip`.
    Ip,
    /// Its network, or the result of the expression.
    Range(Option<Expression>),
    /// Anything else.
    Custom(Arc<str>, Expression),
}

impl Scope {
    /// The name of the scope, as alerts carry it.
    pub fn name(&self) -> &str {
        match self {
            Scope::Ip => "Ip",
            Scope::Range(_) => "Range",
            Scope::Custom(name, _) => name,
        }
    }
}

/// Parameters of a bayesian bucket.
#[derive(Clone, Debug)]
pub struct Bayesian {
    /// Belief before any evidence.
    pub prior: f32,
    /// Belief above which the bucket overflows.
    pub threshold: f32,
    /// Evidence.
    pub conditions: Vec<BayesianCondition>,
}

/// One piece of evidence.
#[derive(Clone, Debug)]
pub struct BayesianCondition {
    /// When it is seen.
    pub condition: Expression,
    /// Its probability if the source is hostile.
    pub given_evil: f32,
    /// Its probability if the source is benign.
    pub given_benign: f32,
    /// Once true, true for the life of the bucket.
    pub guillotine: bool,
}

/// Alert context: name to expressions, in order.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Each name with its expressions, ordered by name.
    pub fields: std::collections::BTreeMap<String, Vec<Expression>>,
}

/// A collection: items of a hub that belong together.
#[derive(Clone, Debug)]
pub struct Collection {
    /// Its name; may be empty.
    pub name: Arc<str>,
    /// Where it begins.
    pub place: Place,
    /// What it lists.
    pub lists: Vec<ItemList>,
}

/// Items of one type.
#[derive(Clone, Debug)]
pub struct ItemList {
    /// The key that lists them: `parsers`, `scenarios` …
    pub key: &'static str,
    /// Their names, and where they stand.
    pub items: Vec<(Arc<str>, Place)>,
}

/// A document of the profiles file: which alerts get which decisions.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name; may be empty.
    pub name: Arc<str>,
    /// Where it begins.
    pub place: Place,
    /// Each one that is true makes the profile match.
    pub filters: Vec<Expression>,
    /// What a match decides.
    pub decisions: Vec<DecisionTemplate>,
    /// Gives the duration of the decisions instead of their own, where its result is a duration.
    pub duration_expr: Option<Expression>,
    /// What follows a match.
    pub on_success: OnMatch,
    /// As written for a filter that is false; it has no effect in the reference.
    pub on_failure: OnMatch,
    /// What follows a filter that fails.
    pub on_error: OnError,
    /// Names of the notifications that a match sends.
    pub notifications: Vec<Arc<str>>,
    /// Whom the decisions are about.
    pub attribution: Attribution,
}

/// Whom the decisions of a profile are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attribution {
    /// The source of the alert.
    #[default]
    Sources,
    /// Each address that poured into the bucket.
    Contributors {
        /// Pours that it takes.
        least: u32,
    },
    /// The smallest set of networks and addresses that holds all contributors.
    Prefixes {
        /// Good clients that a network may hold.
        budget: u32,
        /// Contributors that a network must hold; of a wide one, its parts.
        least: u32,
    },
}

/// What follows a match, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMatch {
    /// The next profile is tried.
    #[default]
    Continue,
    /// No other profile is tried.
    Break,
    /// The profile is taken to match; only for `on_failure`.
    Apply,
}

/// What follows a filter that fails at run time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The alert is refused.
    #[default]
    Fail,
    /// The profile does not match; the next one is tried. Written `continue`, `ignore` or `break`,
    /// which all come to the same.
    Continue,
    /// The profile matches.
    Apply,
}

/// A decision as a profile writes it.
#[derive(Clone, Debug)]
pub struct DecisionTemplate {
    /// `ban`, `captcha` …
    pub kind: Arc<str>,
    /// As written; `4h` where it is not.
    pub duration: Arc<str>,
    /// The same in nanoseconds.
    pub nanoseconds: i64,
    /// `None`: the scope of the alert's source.
    pub scope: Option<Arc<str>>,
    /// Added to the origin, `None` where nothing is.
    pub origin: Option<Arc<str>>,
    /// The decision is recorded but not enforced.
    pub simulated: bool,
    /// Where it stands.
    pub place: Place,
}

/// Which scenarios are only simulated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulation {
    /// All are, except for the exclusions; else none is, except for them.
    pub simulation: bool,
    /// Names of scenarios.
    pub exclusions: std::collections::BTreeSet<String>,
}

impl Simulation {
    /// Whether the decisions of a scenario are simulated.
    pub fn covers(&self, scenario: &str) -> bool {
        self.simulation != self.exclusions.contains(scenario)
    }
}
