//! A small world for expressions: every name that a schema allows has some value, some texts are absent, and
//! what is not said is drawn from the names themselves, so that one input always sees one world.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    fmt::Write,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use regex::Regex;
use testudo_event::Timestamp;
use testudo_expr::{
    EvalError, Handle, Host, Schema, Services, Slot, Type, Value,
    host::{Asn, City, MapRow},
    program::Resolver,
};

use crate::input::hash;

/// Handles of records; `b` is the record's index in the schema.
const RECORD: u16 = 1;
/// Handles of maps of text.
const TEXTS: u16 = 2;
/// Handles of maps of anything.
const OPEN: u16 = 3;

/// What expressions read and write.
#[derive(Clone)]
pub(crate) struct Sheet<'s> {
    schema: &'s Schema,
    /// Texts by their path, `evt.Parsed.program`.
    cells: BTreeMap<String, String>,
    /// Texts of string fields that no cell names.
    pool: Vec<String>,
    /// Entries of open maps by the map's path.
    open: BTreeMap<String, BTreeMap<Arc<str>, Value>>,
    /// Paths of slots.
    slots: Vec<String>,
    /// Paths of handles.
    paths: RefCell<(Vec<String>, HashMap<String, u32>)>,
    services: Arc<World>,
}

impl<'s> Sheet<'s> {
    /// A sheet that holds what the lines say: `path=text` is a cell, every other line goes into the pool.
    pub(crate) fn new(schema: &'s Schema, lines: &str) -> Self {
        let mut sheet = Sheet {
            schema,
            cells: BTreeMap::new(),
            pool: Vec::new(),
            open: BTreeMap::new(),
            slots: Vec::new(),
            paths: RefCell::default(),
            services: Arc::default(),
        };
        for line in lines.lines() {
            match line.split_once('=') {
                Some((path, text)) if path.contains('.') && !path.contains(' ') => {
                    sheet.cells.insert(path.to_owned(), text.to_owned());
                }
                _ => sheet.pool.push(line.to_owned()),
            }
        }
        sheet
    }

    /// Puts a text into a cell.
    pub(crate) fn set(&mut self, path: &str, text: &str) {
        self.cells.insert(path.to_owned(), text.to_owned());
    }

    /// The same state in a world of its own, so that the writes of one run do not reach another.
    pub(crate) fn copy(&self) -> Self {
        Sheet { services: Arc::default(), ..self.clone() }
    }

    /// Gives about half of the slots that the sheet does not speak of a text, so that keys are present that
    /// only the expression knows.
    pub(crate) fn fill_slots(&mut self) {
        for path in &self.slots {
            let hash = hash(path);
            if !self.pool.is_empty() && hash.is_multiple_of(2) && !self.cells.contains_key(path) {
                let text = self.pool[(hash >> 8) as usize % self.pool.len()].clone();
                self.cells.insert(path.clone(), text);
            }
        }
    }

    /// Everything that an evaluation may have changed.
    pub(crate) fn state(&self) -> String {
        let stash = self.services.lock();
        let mut state = format!("{:?} {stash:?}", self.cells);
        for (path, map) in &self.open {
            for (key, value) in map {
                let _ = write!(state, "\n{path}[{key:?}] = {}", self.show(value));
            }
        }
        state
    }

    /// A value in comparable form, handles by their paths.
    pub(crate) fn show(&self, value: &Value) -> String {
        match value {
            Value::Object(handle) => format!("<{}>", self.path(*handle)),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| self.show(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Map(map) => {
                let items: Vec<String> =
                    map.iter().map(|(k, v)| format!("{k:?}: {}", self.show(v))).collect();
                format!("{{{}}}", items.join(", "))
            }
            other => format!("{other:?}"),
        }
    }

    fn path(&self, handle: Handle) -> String {
        self.paths.borrow().0.get(handle.a as usize).cloned().unwrap_or_default()
    }

    fn handle(&self, kind: u16, path: &str, b: u32) -> Value {
        let (paths, numbers) = &mut *self.paths.borrow_mut();
        let a = *numbers.entry(path.to_owned()).or_insert_with(|| {
            paths.push(path.to_owned());
            paths.len() as u32 - 1
        });
        Value::Object(Handle { kind, a, b })
    }

    fn text_at(&self, path: &str) -> Option<&str> {
        self.cells.get(path).map(String::as_str)
    }

    /// What a name of this type holds.
    fn value(&self, ty: &Type, path: &str) -> Value {
        let hash = hash(path);
        match ty {
            Type::Any | Type::Nil => Value::Nil,
            Type::Bool => {
                Value::Bool(self.text_at(path).map_or(hash.is_multiple_of(2), |text| text == "true"))
            }
            Type::Int => Value::Int(self.number(path, hash)),
            Type::Float => Value::Float(self.number(path, hash) as f64 / 4.0),
            Type::String => self.text_at(path).unwrap_or_default().into(),
            Type::Bytes => Value::Bytes(self.text_at(path).unwrap_or_default().as_bytes().into()),
            Type::Time => {
                let said = self.text_at(path).and_then(Timestamp::parse_rfc3339);
                Value::Time(
                    said.unwrap_or_else(|| {
                        Timestamp::from_unix(1_770_000_000 + (hash % 1_000_000) as i64, 5)
                    }),
                )
            }
            Type::Duration => Value::Duration(self.number(path, hash).saturating_mul(1_000_000_000)),
            Type::List(of) => {
                let count = self.number(path, hash).rem_euclid(4);
                Value::list((0..count).map(|at| self.value(of, &format!("{path}.{at}"))).collect())
            }
            Type::Map(of) if **of == Type::String => self.handle(TEXTS, path, 0),
            Type::Map(of) if **of == Type::Any => self.handle(OPEN, path, 0),
            Type::Map(of) => {
                let keys = ["192.0.2.7", "2001:db8::1"];
                let map = keys.map(|key| (Arc::from(key), self.value(of, &format!("{path}.{key}"))));
                Value::Map(Arc::new(map.into_iter().collect()))
            }
            Type::Record { pointer: true, .. } if path.contains('.') && hash.is_multiple_of(4) => Value::Nil,
            Type::Record { index, .. } => self.handle(RECORD, path, u32::from(*index)),
        }
    }

    fn number(&self, path: &str, hash: u64) -> i64 {
        let said = self.text_at(path).and_then(|text| text.trim().parse().ok());
        said.unwrap_or((hash >> 4) as i64 % 9 - 1)
    }

    /// The type of a field, by the record it is in.
    fn field_type(&self, record: u32, name: &str) -> Option<&'s Type> {
        let record = self.schema.records.get(record as usize)?;
        record.fields.iter().find(|field| field.name == name).map(|field| &field.ty)
    }
}

impl Resolver for Sheet<'_> {
    fn slot(&mut self, variable: u16, names: &[&str]) -> Option<Slot> {
        let first = self.schema.variables.get(variable as usize)?;
        let mut path = first.name.clone();
        let mut ty = &first.ty;
        for (at, name) in names.iter().enumerate() {
            path = format!("{path}.{name}");
            ty = match ty {
                Type::Record { index, pointer: false } => self.field_type(u32::from(*index), name)?,
                Type::Map(of) if **of == Type::String && at + 1 == names.len() => of,
                _ => return None,
            };
        }
        // Some cells have no slot: they are read in the other way.
        if *ty != Type::String || hash(&path).is_multiple_of(8) {
            return None;
        }
        let slot = self.slots.iter().position(|known| *known == path).unwrap_or_else(|| {
            self.slots.push(path);
            self.slots.len() - 1
        });
        Some(Slot(slot as u32))
    }
}

impl Host for Sheet<'_> {
    fn text(&self, slot: Slot) -> &str {
        self.slots.get(slot.0 as usize).and_then(|path| self.text_at(path)).unwrap_or_default()
    }

    fn has(&self, slot: Slot) -> bool {
        self.slots.get(slot.0 as usize).is_some_and(|path| self.cells.contains_key(path))
    }

    fn variable(&self, index: u16) -> Result<Value, EvalError> {
        let variable = self.schema.variables.get(index as usize).ok_or(EvalError::NilAccess)?;
        Ok(self.value(&variable.ty, &variable.name))
    }

    fn field(&self, object: Handle, name: &str) -> Result<Value, EvalError> {
        let ty = self.field_type(object.b, name).filter(|_| object.kind == RECORD);
        let ty = ty.ok_or(EvalError::NilAccess)?;
        Ok(self.value(ty, &format!("{}.{name}", self.path(object))))
    }

    fn entry(&self, object: Handle, key: &str) -> Result<Option<Value>, EvalError> {
        let path = self.path(object);
        match object.kind {
            TEXTS => Ok(self.text_at(&format!("{path}.{key}")).map(Value::from)),
            OPEN => Ok(self.open.get(&path).and_then(|map| map.get(key)).cloned()),
            _ => Err(EvalError::NilAccess),
        }
    }

    fn entries(&self, object: Handle) -> Result<Vec<(Arc<str>, Value)>, EvalError> {
        let path = self.path(object);
        match object.kind {
            TEXTS => {
                let inside = format!("{path}.");
                let cells =
                    self.cells.range(inside.clone()..).take_while(|(path, _)| path.starts_with(&inside));
                Ok(cells.map(|(path, text)| (path[inside.len()..].into(), text.as_str().into())).collect())
            }
            OPEN => {
                Ok(self.open.get(&path).into_iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect())
            }
            _ => Err(EvalError::NilAccess),
        }
    }

    fn method(&mut self, object: Handle, name: &str, arguments: &[Value]) -> Result<Value, EvalError> {
        let path = self.path(object);
        let record = self.schema.records.get(object.b as usize).filter(|_| object.kind == RECORD);
        let method = record.and_then(|record| record.methods.iter().find(|method| method.name == name));
        let method = method.ok_or(EvalError::NilAccess)?;
        match (name, arguments) {
            ("SetMeta", [Value::Str(key), Value::Str(text)]) => self.set(&format!("{path}.Meta.{key}"), text),
            ("SetParsed", [Value::Str(key), Value::Str(text)]) => {
                self.set(&format!("{path}.Parsed.{key}"), text);
            }
            ("GetMeta", [Value::Str(key)]) => {
                return Ok(self.text_at(&format!("{path}.Meta.{key}")).unwrap_or_default().into());
            }
            _ => return Ok(self.value(&method.returns, &format!("{path}.{name}()"))),
        }
        Ok(Value::Bool(true))
    }

    fn store(&mut self, object: Handle, key: &str, value: Value) -> Result<(), EvalError> {
        let path = self.path(object);
        match (object.kind, value) {
            (TEXTS, Value::Str(text)) => self.set(&format!("{path}.{key}"), &text),
            (OPEN, value) => {
                self.open.entry(path).or_default().insert(key.into(), value);
            }
            _ => return Err(EvalError::NilAccess),
        }
        Ok(())
    }

    fn services(&self) -> &dyn Services {
        &*self.services
    }
}

/// A world with one file of each kind, and a stash that keeps what it is given.
#[derive(Default)]
struct World {
    stash: Mutex<BTreeMap<(String, String), Arc<str>>>,
}

const LINES: [&str; 6] = ["admin", "/etc/passwd", "curl/", "", "é日", "%2e%2e"];

impl World {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Arc<str>>> {
        self.stash.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Services for World {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix(1_770_905_424, 500_000_000)
    }

    fn hostname(&self) -> Arc<str> {
        "host".into()
    }

    fn file(&self, name: &str) -> Option<Arc<Vec<Arc<str>>>> {
        (name == "lines.txt").then(|| Arc::new(LINES.iter().map(|line| Arc::from(*line)).collect()))
    }

    fn patterns(&self, name: &str) -> Option<Arc<Vec<Regex>>> {
        (name == "patterns.txt")
            .then(|| Arc::new(["admin", "=1$"].into_iter().flat_map(Regex::new).collect()))
    }

    fn lookup_file(&self, text: &str, name: &str) -> Option<Arc<str>> {
        (name == "tags.json").then(|| if text == "a" { "one".into() } else { "".into() })
    }

    fn file_map(&self, name: &str) -> Option<Arc<Vec<MapRow>>> {
        let row = |kind: &str, pattern: &str| MapRow {
            pattern: pattern.to_owned(),
            tag: "one".to_owned(),
            kind: kind.to_owned(),
        };
        (name == "tags.json")
            .then(|| Arc::new(vec![row("equals", "a"), row("contains", "é"), row("regex", "^[0-9]+$")]))
    }

    fn match_known_bot(&self, ip: &str, user_agent: &str, _: &str, name: &str) -> bool {
        name == "bots.json" && ip.starts_with("192.0.2.") && user_agent.contains("bot")
    }

    fn lookup_host(&self, name: &str) -> Vec<Arc<str>> {
        if name.is_empty() { Vec::new() } else { vec!["192.0.2.1".into()] }
    }

    fn city(&self, address: IpAddr) -> Option<City> {
        address.is_ipv4().then(City::default)
    }

    fn asn(&self, address: IpAddr) -> Option<Asn> {
        address.is_ipv4().then(Asn::default)
    }

    fn stash_get(&self, cache: &str, key: &str) -> Option<Arc<str>> {
        self.lock().get(&(cache.to_owned(), key.to_owned())).cloned()
    }

    fn stash_set(&self, cache: &str, key: &str, value: &str) {
        self.lock().insert((cache.to_owned(), key.to_owned()), value.into());
    }
}
