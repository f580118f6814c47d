//! Policies in YAML.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hashbrown::HashMap;
use serde::Deserialize;
use testudo_config::{
    ConfigError, Document, codes,
    decode::{At, suggestion},
    environment,
};
use testudo_event::{duration, net::Prefix};

use super::{
    ChallengePolicy, Failure, Host, Mark, Pattern, Policy, Restriction, Rule, Second, Section,
    captcha::CaptchaKeys, identity::IdentityKeys, mfa::MfaKeys,
};
use crate::{action::Action, address::AddressSource, path, policy::host_name, throttle::Rate};

/// The most leading zero bits: more would keep a telephone busy for minutes.
const MAX_DIFFICULTY: u8 = 26;

/// The largest body that can be kept, in bytes: it goes to the browser and back.
const MAX_KEPT: usize = 1 << 20;

const DEFAULT_KEYS: &str = "/var/lib/testudo/gate.keys";

const DEFAULT_MFA: &str = "/var/lib/testudo/gate.mfa";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "loopback")]
    trusted_proxies: Vec<At<String>>,
    client_address: Option<At<String>>,
    #[serde(rename = "key_file")]
    keys: Option<String>,
    #[serde(rename = "mfa_file")]
    users: Option<String>,
    contact: Option<String>,
    #[serde(default)]
    challenge: ChallengeKeys,
    captcha: Option<CaptchaKeys>,
    identity: Option<At<IdentityKeys>>,
    mfa: Option<At<MfaKeys>>,
    #[serde(default)]
    actions: Vec<RuleKeys>,
    throttle: Option<At<ThrottleKeys>>,
    restrict: Option<RestrictKeys>,
    hosts: At<Vec<HostKeys>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ChallengeKeys {
    difficulty: Option<At<u8>>,
    valid_for: Option<At<String>>,
    pass_for: Option<At<String>>,
    wait: Option<At<String>>,
    questions: Option<At<ThrottleKeys>>,
    keep_body: Option<At<u32>>,
    ipv4_bits: Option<At<u8>>,
    ipv6_bits: Option<At<u8>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleKeys {
    #[serde(default)]
    types: Vec<String>,
    #[serde(default)]
    origins: Vec<String>,
    #[serde(default)]
    scenarios: Vec<String>,
    action: At<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ThrottleKeys {
    rate: String,
    burst: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RestrictKeys {
    methods: Option<Vec<String>>,
    paths: Option<Vec<At<String>>>,
    except: Option<Vec<At<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostKeys {
    names: At<Vec<At<String>>>,
    fail: At<String>,
    contact: Option<String>,
    captcha: Option<CaptchaKeys>,
    identity: Option<At<IdentityKeys>>,
    mfa: Option<At<MfaKeys>>,
    #[serde(default)]
    actions: Vec<RuleKeys>,
    throttle: Option<At<ThrottleKeys>>,
    restrict: Option<RestrictKeys>,
    #[serde(default)]
    paths: Vec<PathKeys>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PathKeys {
    prefix: At<String>,
    #[serde(default)]
    actions: Vec<RuleKeys>,
    throttle: Option<At<ThrottleKeys>>,
    restrict: Option<RestrictKeys>,
}

fn loopback() -> Vec<At<String>> {
    ["127.0.0.0/8", "::1"].map(|text| At { value: text.to_owned(), span: 0..0 }).into()
}

impl Policy {
    /// Reads a policy file. Variables of the environment stand for their values, as in all configuration.
    ///
    /// # Errors
    /// What is wrong with it, with the place and what to do.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        compile(&Document::alone(path, &environment)?)
    }

    /// Reads a policy from a text; `name` stands for the file in messages.
    pub fn from_text(name: &str, text: &str) -> Result<Self, ConfigError> {
        compile(&Document::from_text(name, text)?)
    }
}

/// Says what is wrong, and where.
#[derive(Clone, Copy)]
pub(super) struct Complain<'d>(&'d Document);

impl Complain<'_> {
    pub(super) fn about<T>(self, at: &At<T>, message: impl Into<String>, hint: &str) -> ConfigError {
        let spot = self.0.root.spot.with_span(at.span.clone());
        spot.complain(codes::VALUE, message, Some(hint.to_owned())).into()
    }

    pub(super) fn duration(
        self,
        at: Option<&At<String>>,
        default: Duration,
    ) -> Result<Duration, ConfigError> {
        let Some(at) = at else { return Ok(default) };
        let nanos = duration::parse_with_days(&at.value).ok().filter(|nanos| *nanos > 0);
        let hint = "write a number with a unit: `30s`, `5m`, `4h`, `7d`";
        let nanos = nanos.ok_or_else(|| self.about(at, format!("`{}` is no time span", at.value), hint))?;
        Ok(Duration::from_nanos(nanos.unsigned_abs()))
    }

    pub(super) fn number<T: Copy + PartialOrd + std::fmt::Display>(
        self,
        at: Option<&At<T>>,
        default: T,
        range: std::ops::RangeInclusive<T>,
    ) -> Result<T, ConfigError> {
        let Some(at) = at else { return Ok(default) };
        if range.contains(&at.value) {
            return Ok(at.value);
        }
        let hint = format!("write a number from {} to {}", range.start(), range.end());
        Err(self.about(at, format!("{} is not possible here", at.value), &hint))
    }

    /// A rate such as `30/m`.
    fn rate(self, at: Option<&At<ThrottleKeys>>, default: Rate) -> Result<Rate, ConfigError> {
        let Some(at) = at else { return Ok(default) };
        let text = &at.value.rate;
        let interval = text.split_once('/').and_then(|(count, unit)| {
            let count: u32 = count.trim().parse().ok().filter(|count| *count > 0)?;
            let seconds = match unit.trim() {
                "s" => 1,
                "m" => 60,
                "h" => 3_600,
                "d" => 86_400,
                _ => return None,
            };
            Some(Duration::from_secs(seconds) / count).filter(|interval| !interval.is_zero())
        });
        let hint = "write how many may come in a second, minute, hour or day: `30/m`";
        let interval = interval.ok_or_else(|| self.about(at, format!("`{text}` is no rate"), hint))?;
        let burst = at.value.burst.unwrap_or(default.burst);
        if !(1..=100_000).contains(&burst) {
            return Err(self.about(at, format!("a burst of {burst}"), "write a number from 1 to 100000"));
        }
        Ok(Rate { interval, burst })
    }

    fn prefixes(self, list: &[At<String>]) -> Result<Vec<String>, ConfigError> {
        list.iter().map(|at| self.prefix(at)).collect()
    }

    /// The beginning of paths. It has to be written as a path is once it is resolved, or it would never fit.
    fn prefix(self, at: &At<String>) -> Result<String, ConfigError> {
        let text = &at.value;
        if text.starts_with('/') && path::readings(text) == [text.as_str()] {
            return Ok(text.clone());
        }
        let hint = "write a path from `/` on, decoded, without `//`, `.`, `..`, `;` and `?`";
        Err(self.about(at, format!("`{text}` is no beginning of paths"), hint))
    }

    fn restriction(
        self,
        keys: Option<&RestrictKeys>,
        over: &Restriction,
    ) -> Result<Restriction, ConfigError> {
        let Some(keys) = keys else { return Ok(over.clone()) };
        let prefixes = |list: &Option<Vec<At<String>>>, other: &Vec<String>| {
            list.as_deref().map_or(Ok(other.clone()), |list| self.prefixes(list))
        };
        Ok(Restriction {
            methods: keys.methods.clone().unwrap_or_else(|| over.methods.clone()),
            paths: prefixes(&keys.paths, &over.paths)?,
            except: prefixes(&keys.except, &over.except)?,
        })
    }

    fn rules(self, keys: &[RuleKeys], over: &[Rule]) -> Result<Vec<Rule>, ConfigError> {
        let patterns = |texts: &[String]| texts.iter().map(|text| Pattern::new(text)).collect();
        let own = keys.iter().map(|keys| {
            let name = &keys.action.value;
            let action = Action::from_name(name).ok_or_else(|| {
                let known = Action::ALL.map(Action::name);
                let hint = suggestion(name, &known).unwrap_or_default();
                self.about(&keys.action, format!("`{name}` is no action"), &hint)
            })?;
            Ok(Rule {
                kinds: patterns(&keys.types),
                origins: patterns(&keys.origins),
                scenarios: patterns(&keys.scenarios),
                action,
            })
        });
        own.chain(over.iter().cloned().map(Ok)).collect()
    }

    fn challenge(self, keys: &ChallengeKeys) -> Result<ChallengePolicy, ConfigError> {
        let valid_for = self.duration(keys.valid_for.as_ref(), Duration::from_mins(5))?;
        let wait = self.duration(keys.wait.as_ref(), Duration::from_secs(20))?;
        if wait >= valid_for
            && let Some(at) = keys.wait.as_ref().or(keys.valid_for.as_ref())
        {
            let hint = "make `wait` shorter than `valid_for`";
            return Err(self.about(at, "a challenge expires before those who wait can answer it", hint));
        }
        let questions = Rate { interval: Duration::from_mins(5), burst: 3 };
        Ok(ChallengePolicy {
            difficulty: self.number(keys.difficulty.as_ref(), 17, 1..=MAX_DIFFICULTY)?,
            valid_for,
            pass_for: self.duration(keys.pass_for.as_ref(), Duration::from_hours(4))?,
            wait,
            questions: self.rate(keys.questions.as_ref(), questions)?,
            keep_body: self.number(keys.keep_body.as_ref(), 64 << 10, 0..=MAX_KEPT as u32)? as usize,
            v4_bits: self.number(keys.ipv4_bits.as_ref(), 32, 8..=32)?,
            v6_bits: self.number(keys.ipv6_bits.as_ref(), 64, 16..=128)?,
        })
    }

    /// What is asked of visitors beside what the gate knows itself: that of a host over what holds for all.
    fn second(
        self,
        captcha: Option<&CaptchaKeys>,
        identity: Option<&At<IdentityKeys>>,
        mfa: Option<&At<MfaKeys>>,
        over: &Second,
        files: &mut Vec<(PathBuf, Mark)>,
    ) -> Result<Second, ConfigError> {
        let mut second = over.clone();
        if let Some(keys) = captcha {
            second.provider = self.captcha(keys, files)?.map(Arc::new);
        }
        if let Some(keys) = identity {
            second.identity = Some(Arc::new(self.identity(keys, files)?));
        }
        if let Some(keys) = mfa {
            second.mfa = Arc::new(self.mfa(keys, files)?);
        }
        if let Some(keys) = identity.filter(|_| second.lacks_oidc()) {
            let hint = "add `mfa:` with `method: oidc`, or name a header or a cookie";
            return Err(self.about(keys, "users are known by OpenID Connect, and nothing says where", hint));
        }
        if let Some(keys) = mfa.filter(|_| second.lacks_oidc()) {
            let hint = "write `method: oidc`, or let `identity` name a header or a cookie";
            return Err(self.about(
                keys,
                "users are known by OpenID Connect only, and this is another method",
                hint,
            ));
        }
        Ok(second)
    }

    fn host(
        self,
        keys: &HostKeys,
        over: &Section,
        contact: Option<&String>,
        second: Second,
    ) -> Result<Host, ConfigError> {
        let fail = match keys.fail.value.as_str() {
            "open" => Failure::Open,
            "closed" => Failure::Closed,
            other => {
                let hint =
                    "write `open` to let everybody pass when decisions cannot be looked up, or `closed`";
                return Err(self.about(&keys.fail, format!("`{other}` is neither"), hint));
            }
        };
        let whole = Section {
            rules: self.rules(&keys.actions, &over.rules)?,
            rate: self.rate(keys.throttle.as_ref(), over.rate)?,
            restriction: self.restriction(keys.restrict.as_ref(), &over.restriction)?,
        };
        let mut paths: Vec<(String, Section)> = Vec::new();
        for keys in &keys.paths {
            let prefix = self.prefix(&keys.prefix)?;
            if paths.iter().any(|(other, _)| *other == prefix) {
                let message = format!("`{prefix}` is there twice");
                return Err(self.about(&keys.prefix, message, "join the two"));
            }
            let section = Section {
                rules: self.rules(&keys.actions, &whole.rules)?,
                rate: self.rate(keys.throttle.as_ref(), whole.rate)?,
                restriction: self.restriction(keys.restrict.as_ref(), &whole.restriction)?,
            };
            paths.push((prefix, section));
        }
        paths.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(Host { fail, contact: keys.contact.as_ref().or(contact).cloned(), second, paths, whole })
    }
}

fn compile(document: &Document) -> Result<Policy, ConfigError> {
    let file: File = document.decode()?;
    let complain = Complain(document);
    let proxies = file.trusted_proxies.iter().map(|at| {
        let text = &at.value;
        let range = text.parse::<Prefix>().ok();
        let range = range.or_else(|| text.parse().ok().map(Prefix::single));
        let hint = "write an address or a range such as `10.0.0.0/8`";
        range
            .map(|range| range.canonical().network())
            .ok_or_else(|| complain.about(at, format!("`{text}` is no network"), hint))
    });
    let proxies = proxies.collect::<Result<_, _>>()?;
    let address = match &file.client_address {
        None => AddressSource::default(),
        Some(at) => {
            let found = AddressSource::ALL.iter().find(|(name, _)| *name == at.value);
            let known = AddressSource::ALL.map(|(name, _)| name);
            let hint = suggestion(&at.value, &known).unwrap_or_default();
            let wrong = || complain.about(at, format!("`{}` is no place for an address", at.value), &hint);
            found.ok_or_else(wrong)?.1
        }
    };
    let challenge = complain.challenge(&file.challenge)?;
    let read_only = Restriction {
        methods: ["GET", "HEAD", "OPTIONS"].map(str::to_owned).into(),
        paths: vec!["/".to_owned()],
        except: Vec::new(),
    };
    let top = Section {
        rules: complain.rules(&file.actions, &[])?,
        rate: complain.rate(file.throttle.as_ref(), Rate { interval: Duration::from_secs(2), burst: 10 })?,
        restriction: complain.restriction(file.restrict.as_ref(), &read_only)?,
    };
    let mut files = Vec::new();
    let (captcha, identity, mfa) = (file.captcha.as_ref(), file.identity.as_ref(), file.mfa.as_ref());
    let second = complain.second(captcha, identity, mfa, &Second::default(), &mut files)?;
    let mut policy = Policy {
        proxies,
        address,
        key_file: file.keys.unwrap_or_else(|| DEFAULT_KEYS.to_owned()).into(),
        mfa_file: file.users.unwrap_or_else(|| DEFAULT_MFA.to_owned()).into(),
        challenge,
        files: Vec::new(),
        hosts: Vec::new(),
        exact: HashMap::new(),
        endings: Vec::new(),
        other: usize::MAX,
    };
    for (at, keys) in file.hosts.value.iter().enumerate() {
        let (captcha, identity, mfa) = (keys.captcha.as_ref(), keys.identity.as_ref(), keys.mfa.as_ref());
        let second = complain.second(captcha, identity, mfa, &second, &mut files)?;
        policy.hosts.push(complain.host(keys, &top, file.contact.as_ref(), second)?);
        if keys.names.value.is_empty() {
            let hint = "write the names of the host, or `*` for all others";
            return Err(complain.about(&keys.names, "a host without a name", hint));
        }
        for name in &keys.names.value {
            name_host(&mut policy, name, at)
                .map_err(|(message, hint)| complain.about(name, message, hint))?;
        }
    }
    if policy.other == usize::MAX {
        let hint = "add `- names: [\"*\"]` with its `fail`";
        return Err(complain.about(&file.hosts, "nothing says what holds for other hosts", hint));
    }
    policy.endings.sort_by_key(|(ending, _)| std::cmp::Reverse(ending.len()));
    policy.files = files;
    Ok(policy)
}

/// Enters a name of a host.
fn name_host(policy: &mut Policy, name: &At<String>, at: usize) -> Result<(), (String, &'static str)> {
    let text = name.value.as_str();
    let is_new = if text == "*" {
        std::mem::replace(&mut policy.other, at) == usize::MAX
    } else if let Some(ending) = text.strip_prefix('*').filter(|ending| ending.starts_with('.')) {
        let ending = host_name(ending);
        let is_new = !policy.endings.iter().any(|(other, _)| *other == ending);
        policy.endings.push((ending, at));
        is_new
    } else if text.is_empty() || text.contains(['*', '/', ' ']) {
        return Err((
            format!("`{text}` is no name of a host"),
            "write `example.org`, `*.example.org` or `*`",
        ));
    } else {
        policy.exact.insert(host_name(text), at).is_none()
    };
    if is_new { Ok(()) } else { Err((format!("`{text}` is there twice"), "leave one of them")) }
}
