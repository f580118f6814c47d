//! What is done to a visitor.

/// Other words of the ecosystem for a second factor.
pub const MFA_KINDS: [&str; 2] = ["enforce_mfa", "2fa"];

/// What is done to a request because of a decision. Of several, the one that stands higher here is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// It passes, and the application is told about the decision in a header.
    Header,
    /// It passes as long as there are not too many.
    Throttle,
    /// It passes where it does no more than the policy lets it.
    Restrict,
    /// It passes once the visitor's browser has done some work.
    Captcha,
    /// It passes once its user has shown a second factor.
    Mfa,
    /// It is refused.
    Ban,
    /// It passes, whatever else is known about the visitor.
    Allow,
}

impl Action {
    /// All of them, from the weakest on.
    pub const ALL: [Self; 7] =
        [Self::Header, Self::Throttle, Self::Restrict, Self::Captcha, Self::Mfa, Self::Ban, Self::Allow];

    /// The name in policies, headers and figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Throttle => "throttle",
            Self::Restrict => "restrict",
            Self::Captcha => "captcha",
            Self::Mfa => "mfa",
            Self::Ban => "ban",
            Self::Allow => "allow",
        }
    }

    /// An action by its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    /// What the type of a decision stands for by itself; none for a word that is no action.
    pub(crate) fn of_kind(kind: &str) -> Option<Self> {
        Self::from_name(kind).or_else(|| MFA_KINDS.contains(&kind).then_some(Self::Mfa))
    }
}
