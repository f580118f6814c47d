//! The body of the decision stream, and the pieces to write and read it in without holding it.

mod reader;

use serde::{Deserialize, Serialize};

use crate::decision::Decision;
use crate::spelling::nullable;

pub use reader::{Reader, Side};

/// What a poll of the stream brings. Either side may be `null` where other servers write it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamBody {
    /// What is to be put into force.
    #[serde(deserialize_with = "nullable")]
    pub new: Vec<Decision>,
    /// What is to be lifted, before `new` is applied.
    #[serde(deserialize_with = "nullable")]
    pub deleted: Vec<Decision>,
}

/// What stands before the first new decision.
pub const OPEN: &[u8] = b"{\"new\": [";
/// What stands between the last new decision and the first deleted one.
pub const MIDDLE: &[u8] = b"], \"deleted\": [";
/// What stands after the last deleted decision.
pub const CLOSE: &[u8] = b"]}";
/// What stands between two decisions.
pub const COMMA: u8 = b',';

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body;

    #[test]
    fn pieces_make_a_body() {
        let pieces = [OPEN, MIDDLE, CLOSE].concat();
        assert_eq!(pieces, br#"{"new": [], "deleted": []}"#);
        assert_eq!(body::read::<StreamBody>(&pieces).expect("JSON"), StreamBody::default());
    }

    #[test]
    fn both_sides_are_always_there() {
        let written = body::write(&StreamBody::default()).expect("JSON");
        assert_eq!(written, br#"{"new":[],"deleted":[]}"#);
    }

    #[test]
    fn the_forms_of_other_servers() {
        let check = |text: &str, new: usize, deleted: usize| {
            let stream: StreamBody = body::read(text.as_bytes()).expect(text);
            assert_eq!((stream.new.len(), stream.deleted.len()), (new, deleted), "{text}");
        };
        check(r#"{"deleted":null,"new":null}"#, 0, 0);
        check(r#"{"deleted":[{"duration":"-4s","id":1,"more":0}],"new":null}"#, 0, 1);
        check(r#"{"new": [{"duration":"3h59m57.641708614s"},{}], "deleted": []}"#, 2, 0);
    }
}
