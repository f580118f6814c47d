//! The built-ins that take a predicate.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use crate::{
    core::{Loop, Node},
    error::EvalError,
    eval::{CELLS_MAX, Run, Scope, Stop, operators},
    functions::{arguments::wrong, convert},
    value::{Map, Value},
};

/// How deep the value that `reduce` builds may nest.
const DEPTH_MAX: usize = 512;

/// Steps of `reduce` between two looks at its value. One step adds at most the depth of the
/// predicate, so the depth stays bounded between the looks.
const LOOK_STEPS: usize = 16;

impl Run<'_> {
    pub(super) fn run_loop(
        &mut self,
        which: Loop,
        list: &Node,
        predicate: Option<&Node>,
        extra: Option<&Node>,
    ) -> Result<Value, Stop> {
        let list = self.operand(list)?;
        let items = self.items(&list, which)?;
        let extra = extra.map(|node| self.value(node)).transpose()?;
        let scope = Scope { element: Value::Nil, index: 0, accumulator: Value::Nil };
        self.scopes.push(scope);
        let result = self.iterate(which, &items, predicate, extra);
        // Also after a failure: the end of a `?.` chain goes on outside the loop.
        self.scopes.pop();
        result
    }

    /// The elements of a list, the values of a map, the bytes of text.
    fn items<'v>(&self, list: &'v Value, which: Loop) -> Result<Cow<'v, [Value]>, EvalError> {
        let bytes = |bytes: &[u8]| bytes.iter().map(|b| Value::Int(i64::from(*b))).collect();
        Ok(match list {
            Value::List(items) => Cow::Borrowed(&***items),
            Value::Map(map) => Cow::Owned(map.values().cloned().collect()),
            Value::Object(handle) => {
                Cow::Owned(self.host.entries(*handle)?.into_iter().map(|(_, v)| v).collect())
            }
            Value::Str(text) => Cow::Owned(bytes(text.as_bytes())),
            Value::Bytes(all) => Cow::Owned(bytes(all)),
            other => return Err(wrong(name(which), other)),
        })
    }

    fn iterate(
        &mut self,
        which: Loop,
        items: &[Value],
        predicate: Option<&Node>,
        extra: Option<Value>,
    ) -> Result<Value, Stop> {
        let what = name(which);
        Ok(match which {
            Loop::All => Value::Bool(self.first(items, 0..items.len(), predicate, what, false)?.is_none()),
            Loop::None => Value::Bool(self.first(items, 0..items.len(), predicate, what, true)?.is_none()),
            Loop::Any => Value::Bool(self.first(items, 0..items.len(), predicate, what, true)?.is_some()),
            Loop::One => Value::Bool(self.count(items, predicate, what)? == 1),
            Loop::Count => Value::Int(self.count(items, predicate, what)?),
            Loop::Find => element(items, self.first(items, 0..items.len(), predicate, what, true)?),
            Loop::FindIndex => position(self.first(items, 0..items.len(), predicate, what, true)?),
            Loop::FindLast => {
                element(items, self.first(items, (0..items.len()).rev(), predicate, what, true)?)
            }
            Loop::FindLastIndex => {
                position(self.first(items, (0..items.len()).rev(), predicate, what, true)?)
            }
            Loop::Filter => {
                let mut kept = Vec::new();
                for at in 0..items.len() {
                    if self.holds(items, at, predicate, what)? {
                        kept.push(items[at].clone());
                    }
                }
                self.charge(kept.len())?;
                Value::list(kept)
            }
            Loop::Map => {
                let mut mapped = Vec::with_capacity(items.len());
                for at in 0..items.len() {
                    let value = self.applied(items, at, predicate)?;
                    self.charge(1)?;
                    self.keep(&value)?;
                    mapped.push(value);
                }
                Value::list(mapped)
            }
            Loop::Sum => {
                let mut sum = Value::Int(0);
                for at in 0..items.len() {
                    let value = self.applied(items, at, predicate)?;
                    sum = match value {
                        Value::Duration(_) if at == 0 => value,
                        value => operators::add(&sum, &value)?,
                    };
                }
                sum
            }
            Loop::GroupBy => self.group_by(items, predicate)?,
            Loop::SortBy => self.sort_by(items, predicate, extra)?,
            Loop::Reduce => self.reduce(items, predicate, extra)?,
        })
    }

    /// The predicate's value for an element; the element itself where there is none.
    fn applied(&mut self, items: &[Value], at: usize, predicate: Option<&Node>) -> Result<Value, Stop> {
        let Some(predicate) = predicate else { return Ok(items[at].clone()) };
        self.enter(items, at);
        self.value(predicate)
    }

    fn holds(
        &mut self,
        items: &[Value],
        at: usize,
        predicate: Option<&Node>,
        what: &'static str,
    ) -> Result<bool, Stop> {
        match predicate {
            Some(predicate) => {
                self.enter(items, at);
                self.boolean(predicate, what)
            }
            None => match &items[at] {
                Value::Bool(b) => Ok(*b),
                other => Err(wrong(what, other).into()),
            },
        }
    }

    fn enter(&mut self, items: &[Value], at: usize) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.element = items[at].clone();
            scope.index = at;
        }
    }

    /// The first of `indexes` for whose element the predicate gives `wanted`.
    fn first(
        &mut self,
        items: &[Value],
        indexes: impl Iterator<Item = usize>,
        predicate: Option<&Node>,
        what: &'static str,
        wanted: bool,
    ) -> Result<Option<usize>, Stop> {
        for at in indexes {
            if self.holds(items, at, predicate, what)? == wanted {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn count(&mut self, items: &[Value], predicate: Option<&Node>, what: &'static str) -> Result<i64, Stop> {
        let mut count = 0;
        for at in 0..items.len() {
            count += i64::from(self.holds(items, at, predicate, what)?);
        }
        Ok(count)
    }

    fn group_by(&mut self, items: &[Value], predicate: Option<&Node>) -> Result<Value, Stop> {
        let mut groups: BTreeMap<Arc<str>, Vec<Value>> = BTreeMap::new();
        for (at, item) in items.iter().enumerate() {
            let key = match self.applied(items, at, predicate)? {
                Value::Str(key) => key,
                Value::List(_) | Value::Map(_) => {
                    return Err(EvalError::Input("a list or map cannot be the key of a group").into());
                }
                other => convert::text(self.host, &other).into(),
            };
            self.charge(1)?;
            groups.entry(key).or_default().push(item.clone());
        }
        let groups: Map = groups.into_iter().map(|(key, group)| (key, Value::list(group))).collect();
        Ok(Value::Map(Arc::new(groups)))
    }

    fn sort_by(
        &mut self,
        items: &[Value],
        predicate: Option<&Node>,
        extra: Option<Value>,
    ) -> Result<Value, Stop> {
        let descending = descending(extra.as_ref())?;
        let mut keys = Vec::with_capacity(items.len());
        for at in 0..items.len() {
            keys.push(self.applied(items, at, predicate)?);
        }
        self.charge(items.len())?;
        let indexes = operators::ascending(&keys, descending)?;
        Ok(Value::list(indexes.into_iter().map(|at| items[at].clone()).collect()))
    }

    fn reduce(
        &mut self,
        items: &[Value],
        predicate: Option<&Node>,
        extra: Option<Value>,
    ) -> Result<Value, Stop> {
        let (mut accumulator, start) = match (extra, items.first()) {
            (Some(initial), _) => (initial, 0),
            (None, Some(first)) => (first.clone(), 1),
            (None, None) => {
                return Err(EvalError::Input("reduce of an empty list without an initial value").into());
            }
        };
        for at in start..items.len() {
            if let Some(scope) = self.scopes.last_mut() {
                scope.accumulator = accumulator;
            }
            accumulator = self.applied(items, at, predicate)?;
            if at % LOOK_STEPS == 0 {
                look(&accumulator, DEPTH_MAX, &mut { CELLS_MAX })?;
            }
        }
        Ok(accumulator)
    }
}

/// Whether an order argument (`asc`, `desc`, none) says to descend.
pub(crate) fn descending(order: Option<&Value>) -> Result<bool, EvalError> {
    match order {
        None => Ok(false),
        Some(Value::Str(order)) if &**order == "asc" => Ok(false),
        Some(Value::Str(order)) if &**order == "desc" => Ok(true),
        Some(Value::Str(_)) => Err(EvalError::Input("unknown order, use asc or desc")),
        Some(other) => Err(wrong("order", other)),
    }
}

/// Refuses a value that nests too deep or unfolds to more than one evaluation may make.
fn look(value: &Value, levels: usize, cells: &mut usize) -> Result<(), EvalError> {
    let (Some(below), Some(left)) = (levels.checked_sub(1), cells.checked_sub(1)) else {
        return Err(EvalError::Budget);
    };
    *cells = left;
    match value {
        Value::List(items) => items.iter().try_for_each(|v| look(v, below, cells)),
        Value::Map(map) => map.values().try_for_each(|v| look(v, below, cells)),
        _ => Ok(()),
    }
}

fn element(items: &[Value], at: Option<usize>) -> Value {
    at.map_or(Value::Nil, |at| items[at].clone())
}

fn position(at: Option<usize>) -> Value {
    at.map_or(Value::Nil, |at| Value::Int(at as i64))
}

fn name(which: Loop) -> &'static str {
    match which {
        Loop::All => "all",
        Loop::Any => "any",
        Loop::None => "none",
        Loop::One => "one",
        Loop::Filter => "filter",
        Loop::Map => "map",
        Loop::Find => "find",
        Loop::FindIndex => "findIndex",
        Loop::FindLast => "findLast",
        Loop::FindLastIndex => "findLastIndex",
        Loop::Count => "count",
        Loop::Sum => "sum",
        Loop::GroupBy => "groupBy",
        Loop::SortBy => "sortBy",
        Loop::Reduce => "reduce",
    }
}
