//! What the tests of the helpers share: calling a helper by name, on a host of one writable map.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    error::EvalError,
    functions::lookup,
    host::{Handle, Host, NoServices, Services, Slot},
    value::Value,
};

/// A host that holds one writable map and nothing else.
pub(crate) struct TestHost {
    /// The map behind [`TestHost::MAP`].
    pub(crate) map: BTreeMap<Arc<str>, Value>,
    /// The world.
    pub(crate) services: Box<dyn Services>,
}

impl Default for TestHost {
    fn default() -> Self {
        TestHost::with(NoServices)
    }
}

impl TestHost {
    /// The writable map, as an argument.
    pub(crate) const MAP: Value = Value::Object(Handle::of(1));

    /// A host in that world.
    pub(crate) fn with(services: impl Services + 'static) -> Self {
        TestHost { map: BTreeMap::new(), services: Box::new(services) }
    }

    /// An entry of the map as text.
    pub(crate) fn shown(&self, key: &str) -> String {
        self.map.get(key).map_or("absent".to_owned(), show)
    }
}

impl Host for TestHost {
    fn text(&self, _: Slot) -> &'static str {
        ""
    }

    fn has(&self, _: Slot) -> bool {
        false
    }

    fn variable(&self, _: u16) -> Result<Value, EvalError> {
        Ok(Value::Nil)
    }

    fn field(&self, _: Handle, name: &str) -> Result<Value, EvalError> {
        Ok(self.map.get(name).cloned().unwrap_or_default())
    }

    fn entry(&self, _: Handle, key: &str) -> Result<Option<Value>, EvalError> {
        Ok(self.map.get(key).cloned())
    }

    fn entries(&self, _: Handle) -> Result<Vec<(Arc<str>, Value)>, EvalError> {
        Ok(self.map.iter().map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn method(&mut self, _: Handle, name: &str, _: &[Value]) -> Result<Value, EvalError> {
        Err(EvalError::other(format!("no method {name}")))
    }

    fn store(&mut self, _: Handle, key: &str, value: Value) -> Result<(), EvalError> {
        self.map.insert(key.into(), value);
        Ok(())
    }

    fn services(&self) -> &dyn Services {
        &*self.services
    }
}

/// The result of a helper.
pub(crate) fn run(host: &mut TestHost, function: &str, args: &[Value]) -> Result<Value, EvalError> {
    let function = lookup(function).unwrap_or_else(|| panic!("no function {function}"));
    assert!(args.len() >= function.required, "{function:?} wants {} arguments", function.required);
    (function.call)(host, args)
}

/// The result of a helper that must not fail.
pub(crate) fn call_on(host: &mut TestHost, function: &str, args: &[Value]) -> Value {
    run(host, function, args).unwrap_or_else(|e| panic!("{function}{args:?}: {e}"))
}

/// The failure of a helper that must fail.
pub(crate) fn fails_on(host: &mut TestHost, function: &str, args: &[Value]) -> EvalError {
    match run(host, function, args) {
        Err(error) => error,
        Ok(value) => panic!("{function}{args:?} gives {value:?}"),
    }
}

/// [`call_on`] in an empty world.
pub(crate) fn call(function: &str, args: &[Value]) -> Value {
    call_on(&mut TestHost::default(), function, args)
}

/// [`fails_on`] in an empty world.
pub(crate) fn fails(function: &str, args: &[Value]) -> EvalError {
    fails_on(&mut TestHost::default(), function, args)
}

/// A value as text that tests compare: like JSON, with the kinds told apart.
pub(crate) fn show(value: &Value) -> String {
    match value {
        Value::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Map(map) => {
            let entries: Vec<_> = map.iter().map(|(k, v)| format!("{k:?}: {}", show(v))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Float(x) => format!("{x:?}"),
        Value::Duration(nanos) => format!("{nanos}ns"),
        other => other.to_string(),
    }
}
