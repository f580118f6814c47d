//! Expressions out of foreign text: whatever checks runs, and runs the same in both ways.

use std::sync::Arc;

use testudo_expr::{Host, Node, Program, Schema, Type, Value, compile_text, eval::eval};
use testudo_rules::schema::{CONDITION, CONTEXT, EVENT, OVERFLOW, PROFILE};

use crate::{input, sheet::Sheet};

/// Checks the first part as an expression in the environment where it fits, and runs it over what the second
/// part says of the event: `evt.Parsed.name=text` on a line, other lines are texts of no certain place.
pub fn expressions(bytes: &[u8]) {
    let text = input::text(bytes);
    let (text, event) = input::parts(&text);
    for schema in [&EVENT, &CONDITION, &OVERFLOW, &PROFILE, &CONTEXT] {
        if let Some(node) = check(text, schema) {
            for want in [Type::Bool, Type::String, Type::Int] {
                // A wish can only refuse.
                let _ = compile_text(text, schema, Some(&want));
            }
            return run(text, &Arc::new(node), &Sheet::new(schema, event));
        }
    }
}

/// The checked expression. An error has its place in the text.
fn check(text: &str, schema: &Schema) -> Option<Node> {
    match compile_text(text, schema, None) {
        Ok((_, node)) => Some(node),
        Err(error) => {
            assert!(text.get(error.span.range()).is_some(), "{text:?}: {error} at {:?}", error.span);
            assert!(!error.message.is_empty(), "{text:?}");
            None
        }
    }
}

/// Runs an expression by the evaluator and as a compiled program: value, failure and effects must agree.
pub(crate) fn run(text: &str, node: &Arc<Node>, sheet: &Sheet<'_>) {
    let mut sheet = sheet.copy();
    let world = sheet.copy();
    let program = Program::new(node, &mut sheet, world.services());
    sheet.fill_slots();

    let mut slow = sheet.copy();
    let expected = eval(node, &mut slow);
    let shown = |sheet: &Sheet<'_>, value: &Result<Value, _>| match value {
        Ok(value) => Some(sheet.show(value)),
        Err(_) => None::<String>,
    };

    if !node.effects.mutates {
        assert_eq!(slow.state(), sheet.state(), "{text:?} writes and does not say so");
    }

    let mut fast = sheet.copy();
    let value = program.value(&mut fast);
    assert_eq!(shown(&fast, &value), shown(&slow, &expected), "value of {text:?}\nin {}", sheet.state());
    assert_eq!(fast.state(), slow.state(), "effects of {text:?}\nin {}", sheet.state());

    let mut fast = sheet.copy();
    let test = program.test(&mut fast).ok();
    let expected_test = match expected {
        Ok(Value::Bool(holds)) => Some(holds),
        _ => None,
    };
    assert_eq!(test, expected_test, "test {text:?}\nin {}", sheet.state());
    if expected_test.is_some() {
        assert_eq!(fast.state(), slow.state(), "effects of test {text:?}\nin {}", sheet.state());
    }
    let told = |slot| sheet.text(slot);
    let guarded = program.guards().all(|guard| {
        // What is no constant decides as any other text that is none.
        let there = told(guard.slot);
        let known = guard.constants().iter().any(|constant| **constant == *there);
        assert!(known || guard.holds(there) == guard.holds(&format!("{there}\u{1}")), "guard of {text:?}");
        guard.holds(there)
    });
    let needed = program.needs().is_none_or(|needs| needs.iter().any(|need| need.may_hold(told(need.slot))));
    if !guarded || !needed {
        assert_eq!(expected_test, Some(false), "index of {text:?}\nin {}", sheet.state());
        assert_eq!(fast.state(), sheet.state(), "{text:?} writes though the index leaves it out");
    } else {
        let mut after = sheet.copy();
        assert_eq!(program.test_after_guards(&mut after).ok(), expected_test, "{text:?} after its guards");
    }
}
