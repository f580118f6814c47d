//! Round trips, and a second opinion on what is JSON.

use std::sync::Arc;

use proptest::prelude::*;

use crate::{
    eval::operators,
    functions::convert::{float_to_int, json, json_indented, parse_float, parse_json, scalar_text},
    host::NoHost,
    value::{Map, Value},
};

#[test]
fn text_as_numbers() {
    for (text, expected) in [
        ("5", Some(5.0)),
        ("-5.25", Some(-5.25)),
        ("+1e3", Some(1000.0)),
        ("1.", Some(1.0)),
        (".5", Some(0.5)),
        ("1_000.5", Some(1000.5)),
        ("Inf", Some(f64::INFINITY)),
        ("-infinity", Some(f64::NEG_INFINITY)),
        ("1e400", Some(f64::INFINITY)),
        ("0x1p4", Some(16.0)),
        ("0x_1.8P1", Some(3.0)),
        ("0x1.fffffffffffff8p0", Some(2.0)),
        ("0x1p-1074", Some(5e-324)),
        ("0x1p99999999", Some(f64::INFINITY)),
        ("", None),
        ("+", None),
        (".", None),
        ("e5", None),
        ("1e", None),
        (" 1", None),
        ("1 ", None),
        ("--1", None),
        ("_1", None),
        ("1__0", None),
        ("1_", None),
        ("0x1", None),
        ("0xp1", None),
        ("infinit", None),
        ("nanx", None),
    ] {
        assert_eq!(parse_float(text), expected, "{text:?}");
    }
    assert!(parse_float("NaN").is_some_and(f64::is_nan));
}

#[test]
fn floats_as_integers() {
    for (number, expected) in [
        (1.9, 1),
        (-1.9, -1),
        (1e30, i64::MIN),
        (-1e30, i64::MIN),
        (f64::NAN, i64::MIN),
        (-9_223_372_036_854_775_808.0, i64::MIN),
    ] {
        assert_eq!(float_to_int(number), expected, "{number}");
    }
}

#[test]
fn nesting_of_json_is_bounded() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(parse_json(&nested(500)).is_ok());
    assert!(parse_json(&nested(100_000)).is_err());
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        prop::num::f64::NORMAL.prop_map(Value::Float),
        "[\\PC\\x00-\\x1f\u{2028}<>&\"\\\\]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::list),
            prop::collection::btree_map("\\PC{0,4}".prop_map(Arc::from), inner, 0..5)
                .prop_map(|map: Map| Value::Map(Arc::new(map))),
        ]
    })
}

proptest! {
    #[test]
    fn json_reads_back(value in values()) {
        for text in [json(&NoHost, &value).expect("no odd numbers"), json_indented(&NoHost, &value).expect("no odd numbers")] {
            let back = parse_json(&text).expect("own JSON reads");
            prop_assert!(operators::equal(&back, &value), "{text}");
        }
    }

    /// Leaving out escapes of code points, where lone surrogates are a matter of taste.
    #[test]
    fn json_is_what_others_call_json(text in r#"[\[\]{}":,0-9eE+.\- \\ntrufalse]{0,14}"#) {
        prop_assume!(!text.contains("\\u"));
        let other: Result<serde_json::Value, _> = serde_json::from_str(&text);
        prop_assert_eq!(parse_json(&text).is_ok(), other.is_ok(), "{}", text);
    }

    #[test]
    fn floats_read_back(number: f64) {
        let back = parse_float(&scalar_text(&Value::Float(number)));
        prop_assert!(back == Some(number) || number.is_nan());
    }

    #[test]
    fn numbers_never_panic(text in "[0-9a-fxXpPeE+._\\-]{0,12}") {
        let _ = parse_float(&text);
    }
}
