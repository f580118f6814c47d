//! Reads the body of a decision stream as its bytes come: a million decisions need no more memory than one.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Deserializer;

use crate::body::BodyError;
use crate::decision::DecisionRef;

/// The largest piece, such as a decision: what is larger is none.
const PIECE_MOST: usize = 1 << 20;

/// Where a decision stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It is to be put into force.
    New,
    /// It is to be lifted.
    Deleted,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The body itself: an object, or `null`.
    Body,
    /// The first key, or the end of the object.
    FirstKey,
    /// A key.
    Key,
    /// A colon, and what belongs to the key: nobody's, where it is of no side.
    Colon(Option<Side>),
    /// The list of a side, or `null`.
    List(Side),
    /// What belongs to a key that is not known.
    Ignored,
    /// The first decision, or the end of the list.
    First(Side),
    /// A decision.
    Decision(Side),
    /// A comma, or the end of the list.
    Comma(Side),
    /// A comma, or the end of the object.
    AfterValue,
    /// Nothing; what comes all the same is ignored.
    Nothing,
}

/// Takes a body of the stream apart, however its bytes come. It reads the same as [`read`](crate::body::read) does
/// into a [`StreamBody`](super::StreamBody), but for lists in the place of objects, which it refuses.
#[derive(Debug)]
pub struct Reader {
    next: Next,
    /// What has come and is no whole piece yet.
    rest: Vec<u8>,
    /// With fewer bytes than this, the piece is not looked at again.
    enough: usize,
    /// Bytes before `rest`.
    before: u64,
    /// The sides that there were.
    seen: [bool; 2],
}

impl Default for Reader {
    fn default() -> Self {
        Reader { next: Next::Body, rest: Vec::new(), enough: 0, before: 0, seen: [false; 2] }
    }
}

/// What became of a piece.
enum Step {
    /// It has so many bytes.
    Taken(usize, Next),
    /// It is not whole yet.
    Cut,
}

impl Reader {
    /// Takes bytes, and tells the decisions that are whole.
    ///
    /// # Errors
    /// It is no such body. What was told is worth nothing then.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(Side, &DecisionRef<'_>),
    ) -> Result<(), BodyError> {
        self.rest.extend_from_slice(bytes);
        // A piece that comes byte by byte is looked at a few times, not once for each byte.
        if self.rest.len() >= self.enough { self.run(false, &mut take) } else { Ok(()) }
    }

    /// The end of the body, after which there is nothing more to be told.
    ///
    /// # Errors
    /// The body is not whole.
    pub fn finish(mut self, mut take: impl FnMut(Side, &DecisionRef<'_>)) -> Result<(), BodyError> {
        self.run(true, &mut take)?;
        match self.next {
            Next::Nothing => Ok(()),
            Next::Body if self.rest.trim_ascii().is_empty() => Err(BodyError::Empty),
            _ => Err(self.problem("it ends in the middle", self.rest.len())),
        }
    }

    fn problem(&self, problem: &'static str, from: usize) -> BodyError {
        BodyError::Stream { problem, at: self.before + from as u64 }
    }

    fn run(&mut self, is_end: bool, take: &mut impl FnMut(Side, &DecisionRef<'_>)) -> Result<(), BodyError> {
        let mut at = 0;
        self.enough = 0;
        while self.next != Next::Nothing {
            at += self.rest[at..]
                .iter()
                .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))
                .count();
            if at == self.rest.len() {
                break;
            }
            match self.step(at, is_end, take)? {
                Step::Taken(length, next) => {
                    at += length;
                    self.next = next;
                }
                Step::Cut => {
                    let length = self.rest.len() - at;
                    if length > PIECE_MOST {
                        return Err(self.problem("there is no end to it", at));
                    }
                    self.enough = length * 2;
                    break;
                }
            }
        }
        if self.next == Next::Nothing {
            at = self.rest.len();
        }
        self.before += at as u64;
        self.rest.drain(..at);
        Ok(())
    }

    /// The piece at `at`, which is no space.
    fn step(
        &mut self,
        at: usize,
        is_end: bool,
        take: &mut impl FnMut(Side, &DecisionRef<'_>),
    ) -> Result<Step, BodyError> {
        let rest = &self.rest[at..];
        let one = |next| Ok(Step::Taken(1, next));
        match (self.next, rest[0]) {
            (Next::Body, b'{') => one(Next::FirstKey),
            (Next::Body, _) => self.null(at, is_end, Next::Nothing),
            (Next::FirstKey | Next::AfterValue, b'}') => one(Next::Nothing),
            (Next::AfterValue, b',') => one(Next::Key),
            (Next::AfterValue, _) => Err(self.problem("expected `,` or `}`", at)),
            (Next::FirstKey | Next::Key, _) => self.key(at),
            (Next::Colon(Some(side)), b':') => one(Next::List(side)),
            (Next::Colon(None), b':') => one(Next::Ignored),
            (Next::Colon(_), _) => Err(self.problem("expected `:`", at)),
            (Next::List(side), b'[') => one(Next::First(side)),
            (Next::List(_), _) => self.null(at, is_end, Next::AfterValue),
            (Next::Ignored, _) => {
                let mut values = Deserializer::from_slice(rest).into_iter::<IgnoredAny>();
                let value = values.next();
                // A number goes on in what comes next, perhaps.
                let is_open = values.byte_offset() == rest.len() && !is_end;
                match value {
                    Some(Ok(_)) if !is_open => Ok(Step::Taken(values.byte_offset(), Next::AfterValue)),
                    Some(Err(error)) if !error.is_eof() => Err(error.into()),
                    _ => Ok(Step::Cut),
                }
            }
            (Next::First(_) | Next::Comma(_), b']') => one(Next::AfterValue),
            (Next::Comma(side), b',') => one(Next::Decision(side)),
            (Next::Comma(_), _) => Err(self.problem("expected `,` or `]`", at)),
            (Next::First(side) | Next::Decision(side), b'{') => {
                let mut decisions = Deserializer::from_slice(rest).into_iter::<DecisionRef<'_>>();
                match decisions.next() {
                    Some(Ok(decision)) => {
                        take(side, &decision);
                        Ok(Step::Taken(decisions.byte_offset(), Next::Comma(side)))
                    }
                    Some(Err(error)) if !error.is_eof() => Err(error.into()),
                    _ => Ok(Step::Cut),
                }
            }
            (Next::First(_) | Next::Decision(_), _) => Err(self.problem("expected a decision", at)),
            // Nothing is looked at after the end.
            (Next::Nothing, _) => Ok(Step::Cut),
        }
    }

    /// `null`, and nothing else.
    fn null(&self, at: usize, is_end: bool, next: Next) -> Result<Step, BodyError> {
        const NULL: &[u8] = b"null";
        let rest = &self.rest[at..];
        if rest.starts_with(NULL) {
            Ok(Step::Taken(NULL.len(), next))
        } else if NULL.starts_with(rest) && !is_end {
            Ok(Step::Cut)
        } else {
            Err(self.problem("expected decisions", at))
        }
    }

    fn key(&mut self, at: usize) -> Result<Step, BodyError> {
        #[derive(Deserialize)]
        struct Key<'b>(#[serde(borrow)] Cow<'b, str>);
        let rest = &self.rest[at..];
        let mut keys = Deserializer::from_slice(rest).into_iter::<Key<'_>>();
        let side = match keys.next() {
            Some(Ok(Key(key))) => match &*key {
                "new" => Some(Side::New),
                "deleted" => Some(Side::Deleted),
                _ => None,
            },
            Some(Err(error)) if !error.is_eof() => return Err(error.into()),
            _ => return Ok(Step::Cut),
        };
        let length = keys.byte_offset();
        if let Some(side) = side
            && std::mem::replace(&mut self.seen[side as usize], true)
        {
            return Err(self.problem("it is there twice", at));
        }
        Ok(Step::Taken(length, Next::Colon(side)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::body;
    use crate::stream::StreamBody;

    /// What a reader makes of a text that comes in pieces of these lengths, in turn.
    fn read(text: &[u8], lengths: &[usize]) -> Result<StreamBody, BodyError> {
        let mut whole = StreamBody::default();
        let mut take = |side: Side, decision: &DecisionRef<'_>| match side {
            Side::New => whole.new.push(decision.to_owned()),
            Side::Deleted => whole.deleted.push(decision.to_owned()),
        };
        let mut reader = Reader::default();
        let mut rest = text;
        for length in lengths.iter().cycle() {
            let (piece, later) = rest.split_at((*length).min(rest.len()));
            reader.feed(piece, &mut take)?;
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        reader.finish(&mut take)?;
        Ok(whole)
    }

    /// The reader agrees with what reads whole bodies, however the bytes come.
    fn agrees(text: &[u8], lengths: &[usize]) {
        let expected = body::read::<StreamBody>(text);
        let found = read(text, lengths);
        let shown = String::from_utf8_lossy(text);
        match expected {
            Ok(expected) => assert_eq!(found.expect(&shown), expected, "{shown}"),
            Err(error) => assert!(found.is_err(), "{shown}: {error}"),
        }
    }

    const ONE: &str = r#"{"duration":"3h59m57s","id":7,"origin":"cs\u0063li","scenario":"a [b] \"{\\","scope":"Ip","type":"ban","uuid":null,"value":"192.0.2.1","more":{"a":[1,{}]}}"#;

    #[test]
    fn bodies_of_all_servers() {
        let good = [
            "null",
            " \n{} ",
            r#"{"deleted":null,"new":null}"#,
            r#"{"new":[],"deleted":[]}"#,
            r#"{ "new" : [ {} , {"id":2}] , "deleted":[{"duration":"-4s","id":1}] } trailing"#,
            r#"{"later":[1,{"new":[{}]}],"number":12,"new":null}"#,
            r#"{"more":12}"#,
            r#"{"\u006eew":[{}]}"#,
        ];
        let bad = [
            "",
            "  ",
            "nul",
            "nulx",
            "{",
            r#"{"new""#,
            r#"{"new":[{}"#,
            r#"{"new":[{}]"#,
            r#"{"new":[{},]}"#,
            r#"{"new":[{} {}]}"#,
            r#"{"new":[null]}"#,
            r#"{"new":[],}"#,
            r#"{"new":[],"new":[]}"#,
            r#"{"new":{}}"#,
            r#"{"new":[{"id":"x"}]}"#,
            r#"{"new":[{"origin":null}]}"#,
            "{,}",
            "{new:[]}",
            r#"{"more":12"#,
        ];
        for text in good.iter().chain(&bad) {
            for lengths in [&[1][..], &[2], &[3], &[7], &[1000]] {
                agrees(text.as_bytes(), lengths);
            }
        }
        assert!(good.iter().all(|text| read(text.as_bytes(), &[5]).is_ok()));
        assert!(bad.iter().all(|text| read(text.as_bytes(), &[5]).is_err()));
        let text = format!(r#"{{"new":[{ONE},{ONE}],"deleted":[{ONE}]}}"#);
        for cut in 0..=text.len() {
            agrees(&text.as_bytes()[..cut], &[1]);
            agrees(text.as_bytes(), &[cut.max(1)]);
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let told = |text: &str| read(text.as_bytes(), &[4]).expect_err(text).to_string();
        assert_eq!(told(r#"{"new":[{}"#), "it ends in the middle at byte 10");
        assert_eq!(told(r#"{"new":[{}x"#), "expected `,` or `]` at byte 10");
        assert_eq!(told("[]"), "expected decisions at byte 0");
        assert_eq!(told(" "), "EOF");
    }

    #[test]
    fn a_piece_without_an_end_is_given_up() {
        let mut reader = Reader::default();
        reader.feed(br#"{"new":[{"value":""#, |_, _| ()).expect("it begins well");
        let more = vec![b'a'; 64 << 10];
        let fed = (0..100).position(|_| reader.feed(&more, |_, _| ()).is_err());
        assert!(fed.is_some_and(|fed| fed <= 40), "{fed:?}");
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(
            count in 0..5_usize,
            lengths in prop::collection::vec(1..300_usize, 1..6),
            change in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        ) {
            let list = vec![ONE; count].join(", ");
            let mut text = format!(r#"{{"new": [{list}], "deleted": [{ONE}], "x": [true]}}"#).into_bytes();
            if let Some((at, byte)) = change {
                let at = at.index(text.len());
                text[at] = byte;
            }
            agrees(&text, &lengths);
        }
    }
}
