//! The forms of messages: what is constant, what differs, found without knowing the service.
//!
//! Values that their form tells (addresses, numbers, dates …) and names behind words such as `user` are places at once.
//! Messages that are the same but for those have one form. Then a word in whose place many forms have each another one
//! becomes a place as well, and a form that has more words than another one in the place of a name joins that one. All of
//! this is in the order of the lines, and a look at each form costs no more than its length times a constant.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::token::{Kind, Token, tokens};

/// Most different forms that are told apart before words become places: a service has hundreds. Beyond that, lines count
/// as not covered.
const MAX_FORMS: usize = 4096;

/// Different words in one place, in forms that are otherwise the same, that make it one for any word. Fewer may be
/// different things that happen, such as opened, closed, reset, refused.
const MANY_WORDS: usize = 5;

/// Constant words that must stand around a name for it to take in forms with other text there.
const WORDS_AROUND: usize = 2;

/// Rounds in which words become places.
const ROUNDS: usize = 4;

/// Words behind which the name of a user stands.
const USER_WORDS: &[&str] = &["user", "username", "ruser", "uname", "mailbox"];

/// Words behind which it stands where there is more between them than a blank.
const KEY_WORDS: &[&str] = &["account", "login", "name", "nick"];

/// Words that are no names, where one stands behind a word of [`USER_WORDS`].
const NO_NAMES: &[&str] = &[
    "account",
    "and",
    "attempt",
    "attempts",
    "auth",
    "authentication",
    "by",
    "closed",
    "did",
    "does",
    "error",
    "failed",
    "failure",
    "for",
    "from",
    "disabled",
    "expired",
    "has",
    "id",
    "in",
    "incorrect",
    "invalid",
    "locked",
    "is",
    "list",
    "lookup",
    "login",
    "logged",
    "name",
    "nonexistent",
    "not",
    "of",
    "on",
    "opened",
    "or",
    "password",
    "successful",
    "succeeded",
    "success",
    "that",
    "the",
    "to",
    "unknown",
    "user",
    "was",
    "with",
    "without",
];

/// A piece of a form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Piece<'t> {
    Constant { text: &'t str, is_word: bool },
    Place(Kind),
}

/// A form and the messages that have it, by their numbers in order.
#[derive(Clone, Debug)]
pub(super) struct Found<'t> {
    pub(super) pieces: Vec<Piece<'t>>,
    pub(super) messages: Vec<usize>,
    /// The place that may hold any number of pieces, also none.
    pub(super) stretch: Option<usize>,
}

/// The forms of messages, those of most messages first; and how many messages had one too many.
pub(super) fn forms<'t>(messages: &[&'t str]) -> (Vec<Found<'t>>, usize) {
    let mut numbers: HashMap<Vec<Piece<'t>>, usize> = HashMap::new();
    let mut found: Vec<Found<'t>> = Vec::new();
    let (mut beyond, mut worth) = (0, true);
    let names = names(messages);
    for (at, message) in messages.iter().enumerate() {
        let pieces = pieces(message, &names);
        if let Some(&number) = numbers.get(&pieces) {
            found[number].messages.push(at);
            continue;
        }
        if found.len() == MAX_FORMS && worth {
            join(&mut found);
            // Where hardly any form joins another one, it is not tried again and again.
            worth = found.len() <= MAX_FORMS * 3 / 4;
            numbers = found.iter().enumerate().map(|(number, form)| (form.pieces.clone(), number)).collect();
        }
        if found.len() < MAX_FORMS {
            numbers.insert(pieces.clone(), found.len());
            found.push(Found { pieces, messages: vec![at], stretch: None });
        } else {
            beyond += 1;
        }
    }
    join(&mut found);
    for form in &mut found {
        form.messages.sort_unstable();
    }
    found.sort_by_key(|form| (std::cmp::Reverse(form.messages.len()), form.messages.first().copied()));
    (found, beyond)
}

/// Joins forms that differ in words only.
fn join(found: &mut Vec<Found<'_>>) {
    for _ in 0..ROUNDS {
        if !generalize(found) {
            break;
        }
    }
    absorb(found);
}

/// A message as pieces; `names` are those that stand elsewhere as names of users.
fn pieces<'m>(message: &'m str, names: &HashSet<&str>) -> Vec<Piece<'m>> {
    let mut tokens = tokens(message);
    name_users(message, &mut tokens);
    let text = |token: &Token| &message[token.start..token.end];
    for at in 1..tokens.len().saturating_sub(1) {
        let is_in_brackets =
            matches!((text(&tokens[at - 1]), text(&tokens[at + 1])), ("(", ")") | ("<", ">") | ("[", "]"));
        if is_in_brackets && names.contains(text(&tokens[at])) {
            tokens[at].kind = Some(Kind::User);
        }
    }
    let piece = |token: &Token| match token.kind {
        Some(kind) => Piece::Place(kind),
        None => Piece::Constant { text: &message[token.start..token.end], is_word: token.is_word },
    };
    tokens.iter().map(piece).collect()
}

/// What a message looks like, with the kinds of values in the place of values.
pub(crate) fn sketch(message: &str) -> String {
    let mut out = String::new();
    for piece in pieces(message, &HashSet::new()) {
        match piece {
            // A number of something, such as `P0815123`: it is another one in the next line.
            Piece::Constant { text, .. } if has_number(text) => out.push_str("<word>"),
            Piece::Constant { text, .. } => out.push_str(text),
            Piece::Place(kind) => {
                out.push('<');
                out.push_str(kind.name());
                out.push('>');
            }
        }
    }
    out
}

/// Whether three digits follow each other somewhere.
fn has_number(text: &str) -> bool {
    let mut run = 0;
    text.bytes().any(|b| {
        run = if b.is_ascii_digit() { run + 1 } else { 0 };
        run > 2
    })
}

/// The names of users that stand behind words such as `user`.
fn names<'m>(messages: &[&'m str]) -> HashSet<&'m str> {
    let mut names = HashSet::new();
    for message in messages {
        let mut tokens = tokens(message);
        name_users(message, &mut tokens);
        let users = tokens.iter().filter(|token| token.kind == Some(Kind::User) && token.end > token.start);
        names.extend(
            users.map(|token| &message[token.start..token.end]).take(MAX_FORMS.saturating_sub(names.len())),
        );
    }
    names
}

/// Gives the kind to names of users: the word, or what else has a form, behind a word such as `user`.
fn name_users(message: &str, tokens: &mut [Token]) {
    let text = |token: &Token| &message[token.start..token.end];
    let lower = |token: &Token| text(token).to_ascii_lowercase();
    for at in 0..tokens.len() {
        if !tokens[at].is_word || tokens[at].kind.is_some() {
            continue;
        }
        let word = lower(&tokens[at]);
        let is_user =
            USER_WORDS.contains(&word.as_str()) || word.ends_with("user") || word.ends_with("username");
        let is_key = KEY_WORDS.contains(&word.as_str());
        if !is_user && !is_key && word != "for" && word != "by" {
            continue;
        }
        // One sign or blank, or two such as `: ` and `='`.
        let is_between = |token: &Token| {
            token.kind.is_none()
                && !token.is_word
                && matches!(text(token), " " | ":" | "=" | "'" | "\"" | "`" | "<" | "(" | "[")
        };
        let gap = tokens[at + 1..].iter().take(3).take_while(|token| is_between(token)).count();
        let name = at + 1 + gap;
        let Some(token) = tokens.get(name).filter(|_| gap > 0) else { continue };
        if is_key && tokens[at + 1..name].iter().all(|token| text(token) == " ") {
            continue;
        }
        let is_user = is_user || is_key;
        let takes = match token.kind {
            Some(Kind::Quoted | Kind::Mail | Kind::Word) => true,
            Some(Kind::Number | Kind::Host | Kind::Hex) => is_user,
            None if token.is_word => {
                let closed = |token: Option<&Token>| {
                    token.is_none_or(|token| {
                        token.kind.is_none()
                            && !token.is_word
                            && !matches!(text(token), "/" | "=" | ":" | "-")
                    })
                };
                let next_word = tokens[name + 1..].iter().find(|token| text(token) != " ").map(lower);
                // `for` and `by` are words of any sentence; a name behind them is followed by where it came from.
                let told =
                    is_user || matches!(next_word.as_deref(), Some("from" | "at" | "port" | "(" | "[" | "<"));
                told && !NO_NAMES.contains(&lower(token).as_str()) && closed(tokens.get(name + 1))
            }
            _ => false,
        };
        if takes && (is_user || word == "for" || token.kind.is_none()) {
            tokens[name].kind = Some(Kind::User);
        }
    }
}

impl Found<'_> {
    /// The texts in the places of a message that has this form, in order.
    pub(super) fn values<'m>(&self, message: &'m str) -> Vec<&'m str> {
        let tokens = tokens(message);
        let text = |from: usize, to: usize| {
            let start = tokens.get(from).map_or(message.len(), |token| token.start);
            let end = to.checked_sub(1).and_then(|last| tokens.get(last)).map_or(start, |token| token.end);
            message.get(start..end.max(start)).unwrap_or_default()
        };
        let (pieces, more) = (self.pieces.len(), tokens.len());
        let places = self.pieces.iter().enumerate().filter(|(_, piece)| matches!(piece, Piece::Place(_)));
        places
            .map(|(at, _)| match self.stretch {
                // Behind the place that stretches, pieces are counted from the end.
                Some(stretch) if at > stretch => text(more + at - pieces, more + at + 1 - pieces),
                Some(stretch) if at == stretch => text(at, more + at + 1 - pieces),
                _ => text(at, at + 1),
            })
            .collect()
    }
}

/// Turns words into places where many forms differ in just them. False when there was nothing to do.
fn generalize(found: &mut Vec<Found<'_>>) -> bool {
    // For each form with one word left out, the forms that are like it.
    let mut groups: BTreeMap<(usize, usize, u128), Vec<usize>> = BTreeMap::new();
    for (number, form) in found.iter().enumerate() {
        let hashes: Vec<u128> = form.pieces.iter().enumerate().map(|(at, piece)| hash(at, piece)).collect();
        let whole = hashes.iter().fold(0, |sum: u128, hash| sum.wrapping_add(*hash));
        for (at, piece) in form.pieces.iter().enumerate() {
            if matches!(piece, Piece::Constant { is_word: true, .. } | Piece::Place(Kind::Word)) {
                let without = whole.wrapping_sub(hashes[at]);
                groups.entry((form.pieces.len(), at, without)).or_default().push(number);
            }
        }
    }
    let mut large: Vec<(usize, Vec<usize>)> = groups
        .into_iter()
        .filter(|((_, at, _), members)| {
            members.len() >= MANY_WORDS && is_word_among_others(&found[members[0]].pieces, *at)
        })
        .map(|((_, at, _), members)| (at, members))
        .collect();
    large.sort_by_key(|(at, members)| (std::cmp::Reverse(members.len()), members[0], *at));
    let mut taken = vec![false; found.len()];
    let mut changed = false;
    for (at, members) in large {
        let members: Vec<usize> = members.into_iter().filter(|member| !taken[*member]).collect();
        if members.len() < MANY_WORDS {
            continue;
        }
        changed = true;
        let (first, others) = (members[0], &members[1..]);
        for other in others {
            let stretch = found[first].stretch.or(found[*other].stretch);
            if found[*other].stretch.is_some_and(|own| stretch != Some(own)) {
                continue;
            }
            found[first].stretch = stretch;
            taken[*other] = true;
            let messages = std::mem::take(&mut found[*other].messages);
            found[first].messages.extend(messages);
        }
        taken[first] = true;
        found[first].pieces[at] = Piece::Place(Kind::Word);
    }
    found.retain(|form| !form.messages.is_empty());
    changed
}

/// Whether enough of a form is left when the word is taken out.
fn is_word_among_others(pieces: &[Piece<'_>], at: usize) -> bool {
    let words = pieces
        .iter()
        .enumerate()
        .filter(|(other, piece)| *other != at && matches!(piece, Piece::Constant { is_word: true, .. }));
    words.count() >= WORDS_AROUND
}

/// A number for a piece at its place; sums of them tell forms apart.
fn hash(at: usize, piece: &Piece<'_>) -> u128 {
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    const START: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    let mut hash = START ^ at as u128;
    let mut add = |byte: u8| hash = (hash ^ u128::from(byte)).wrapping_mul(PRIME);
    add(at as u8);
    add((at >> 8) as u8);
    match piece {
        Piece::Constant { text, .. } => text.bytes().for_each(&mut add),
        Piece::Place(kind) => {
            add(0xff);
            kind.name().bytes().for_each(&mut add);
            if let Kind::Time(form) = kind {
                add(*form);
            }
        }
    }
    hash
}

/// Lets forms with a name take in others that have any other text there.
fn absorb(found: &mut Vec<Found<'_>>) {
    let mut hosts: Vec<(usize, usize)> = Vec::new();
    for (number, form) in found.iter().enumerate() {
        let is_name = |at: usize, piece: &Piece<'_>| match piece {
            Piece::Place(Kind::Text) => form.stretch == Some(at),
            Piece::Place(kind) => matches!(kind, Kind::User | Kind::Word | Kind::Quoted),
            Piece::Constant { .. } => false,
        };
        let mut names =
            form.pieces.iter().enumerate().filter(|(at, piece)| is_name(*at, piece)).map(|(at, _)| at);
        if let (Some(at), None) = (names.next(), names.next())
            && is_word_among_others(&form.pieces, at)
            && form.pieces[..at].iter().any(|piece| matches!(piece, Piece::Constant { is_word: true, .. }))
        {
            hosts.push((number, at));
        }
    }
    // The most specific first: with most pieces; of those, the first.
    hosts.sort_by_key(|(number, _)| (std::cmp::Reverse(found[*number].pieces.len()), *number));
    let mut joins: Vec<(usize, usize)> = Vec::new();
    for (number, form) in found.iter().enumerate() {
        let own = hosts.iter().find(|(other, _)| *other == number).map(|(_, at)| *at);
        let takes = |host: usize, at: usize| {
            let (before, after) = (&found[host].pieces[..at], &found[host].pieces[at + 1..]);
            host != number
                && !after.is_empty()
                // A form with a name of its own joins only where its name goes on with more words.
                && (own.is_some() || form.stretch.is_none())
                && own.is_none_or(|own| own == at && form.pieces.len() > found[host].pieces.len())
                && form.pieces.len() >= before.len() + after.len()
                && form.pieces.starts_with(before)
                && form.pieces.ends_with(after)
        };
        // One that joins another takes in nobody: of several, the last is the one with fewest pieces.
        let host = if own.is_some() {
            hosts.iter().rev().find(|(host, at)| takes(*host, *at))
        } else {
            hosts.iter().find(|(host, at)| takes(*host, *at))
        };
        joins.extend(host.map(|(host, _)| (number, *host)));
    }
    let joining: HashMap<usize, usize> = joins.iter().copied().collect();
    for (number, host) in joins {
        let host = joining.get(&host).copied().unwrap_or(host);
        let messages = std::mem::take(&mut found[number].messages);
        found[host].messages.extend(messages);
        let at = hosts.iter().find(|(other, _)| *other == host).map_or(0, |(_, at)| *at);
        found[host].stretch = Some(at);
        if found[host].pieces[at] != Piece::Place(Kind::User) {
            found[host].pieces[at] = Piece::Place(Kind::Text);
        }
    }
    found.retain(|form| !form.messages.is_empty());
}
