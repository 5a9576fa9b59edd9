//! Runs transforms on records natively, with `cargo test`:
//!
//! ```text
//! testing::check_file("cases.jsonl", "", &[&errors::TRANSFORM]);                              a line of JSON a case
//! let run = testing::run(&errors::TRANSFORM, &[], &[testing::record("key", "an error")]);     or by hand
//! ```
//!
//! docs/modules.md says what stands in a case.

use crate::abi;
use crate::json::{self, Kind};
use crate::kinds::Registered;
use crate::record::{lossy, Result};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The cases of Millrace's own examples, which hold in every language.
pub const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../cases.jsonl");

/// A value of JSON, for cases.
#[derive(Clone, Default)]
pub struct Json {
    pub kind: Option<Kind>,
    /// Of a member.
    pub name: String,
    /// Of a string its content; else as written.
    pub text: String,
    /// Of an array, or members.
    pub items: Vec<Json>,
}

impl Json {
    pub fn find(&self, member: &str) -> Option<&Json> {
        self.items.iter().find(|item| item.name == member)
    }
    pub fn string(&self, member: &str) -> String {
        self.find(member).map(|value| value.text.clone()).unwrap_or_default()
    }
    pub fn number(&self, member: &str, otherwise: i64) -> i64 {
        self.find(member).map_or(otherwise, |value| value.text.parse().expect("a whole number"))
    }
    pub fn array(&self, member: &str) -> &[Json] {
        self.find(member).map_or(&[], |value| &value.items)
    }
    fn bytes(&self) -> Bytes {
        (self.kind != Some(Kind::Null)).then(|| self.text.clone().into_bytes())
    }
}

/// Fails where `text` is no JSON object.
pub fn parse(text: &str) -> Result<Json> {
    let mut walker = json::Walker::new(text.as_bytes());
    let mut open = vec![Json { kind: Some(Kind::Object), ..Json::default() }];
    fn close(open: &mut Vec<Json>, depth: usize) {
        while open.len() > depth {
            let done = open.pop().unwrap();
            open.last_mut().unwrap().items.push(done);
        }
    }
    while walker.next()? {
        close(&mut open, walker.depth() as usize);
        let mut value = Json { kind: Some(walker.kind()), ..Json::default() };
        if open.last().unwrap().kind == Some(Kind::Object) {
            value.name = lossy(&json::decode(walker.name())).into_owned();
        }
        if !matches!(walker.kind(), Kind::Object | Kind::Array) {
            value.text = lossy(&json::text(walker.take()?)).into_owned();
        }
        open.push(value);
    }
    close(&mut open, 1);
    Ok(open.pop().unwrap())
}

pub type Bytes = Option<Vec<u8>>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub key: Bytes,
    pub value: Bytes,
    pub headers: Vec<(String, Bytes)>,
    pub timestamp: i64,
    pub input: u32,
}

pub fn record(key: &str, value: &str) -> Record {
    Record { key: Some(key.into()), value: Some(value.into()), ..Record::default() }
}

/// What one batch gave.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Run {
    pub records: Vec<Record>,
    pub errors: Vec<(u32, String)>,
    pub states: BTreeMap<Bytes, Bytes>,
}

fn at(bytes: &Bytes) -> *const u8 {
    bytes.as_ref().map_or(std::ptr::null(), |bytes| bytes.as_ptr())
}
fn size(bytes: &Bytes) -> i32 {
    bytes.as_ref().map_or(-1, |bytes| bytes.len() as i32)
}
unsafe fn owned(at: *const u8, size: i32) -> Bytes {
    (size >= 0).then(|| abi::bytes(at, size).to_vec())
}

/// Records as the host would write them; views of those that it is made of.
struct Input {
    _headers: Vec<Vec<abi::Header>>,
    records: Vec<abi::Record>,
    states: Vec<abi::State>,
}

impl Input {
    fn of(from: &[Record]) -> Input {
        let header = |(name, value): &(String, Bytes)| abi::Header {
            name: name.as_ptr(),
            name_size: name.len() as u32,
            value: at(value),
            value_size: size(value),
        };
        let headers: Vec<Vec<_>> = from.iter().map(|record| record.headers.iter().map(header).collect()).collect();
        let raw = |(record, headers): (&Record, &Vec<abi::Header>)| abi::Record {
            timestamp: record.timestamp,
            offset: -1,
            key: at(&record.key),
            key_size: size(&record.key),
            value: at(&record.value),
            value_size: size(&record.value),
            headers: headers.as_ptr(),
            header_count: headers.len() as u32,
            input: 0,
            state: 0,
        };
        let records = from.iter().zip(&headers).map(raw).collect();
        Input { _headers: headers, records, states: Vec::new() }
    }

    /// The states of the keys in it, in the order in which they come.
    fn add_states(&mut self, from: &[Record], known: &BTreeMap<Bytes, Bytes>) {
        let mut index: BTreeMap<&Bytes, u32> = BTreeMap::new();
        for (i, record) in from.iter().enumerate() {
            let next = self.states.len() as u32;
            self.records[i].state = *index.entry(&record.key).or_insert(next);
            if self.records[i].state == next {
                let value = known.get(&record.key).unwrap_or(&None);
                self.states.push(abi::State {
                    key: at(&record.key),
                    key_size: size(&record.key),
                    value: at(value),
                    value_size: size(value),
                });
            }
        }
    }

    fn batch(&mut self) -> abi::Batch {
        abi::Batch {
            version: 1,
            count: self.records.len() as u32,
            records: self.records.as_mut_ptr(),
            error_count: 0,
            errors: std::ptr::null_mut(),
            state_count: self.states.len() as u32,
            states: self.states.as_mut_ptr(),
            reserved: [0; 3],
        }
    }
}

fn failed() -> String {
    abi::FAILED.with(|failed| failed.borrow().clone())
}

/// Starts a transform anew with its parameters and the topic's last records. On the thread that runs it.
pub fn start(transform: &Registered, parameters: &[(&str, &str)], look_back: &[Record]) -> std::result::Result<(), String> {
    let mut given = Record::default();
    given.headers.extend(parameters.iter().map(|(name, value)| (name.to_string(), Some(value.as_bytes().to_vec()))));
    abi::reset();
    let given = [given];
    if !unsafe { (transform.init)(&mut Input::of(&given).batch()) } {
        return Err(failed());
    }
    if look_back.is_empty() {
        return Ok(());
    }
    let export = transform.look_back.ok_or("it does not look back")?;
    if !unsafe { export(&mut Input::of(look_back).batch()) } {
        return Err(failed());
    }
    Ok(())
}

/// Gives one batch to a transform that was started.
pub fn step(transform: &Registered, records: &[Record], states: &BTreeMap<Bytes, Bytes>) -> Run {
    let mut input = Input::of(records);
    if transform.kind == "aggregate" {
        input.add_states(records, states);
    }
    abi::reset();
    let mut run = Run::default();
    unsafe {
        let out = &*(transform.run)(&mut input.batch());
        for i in 0..out.count as usize {
            let raw = &*out.records.add(i);
            let header = |h: usize| {
                let header = &*raw.headers.add(h);
                let name = abi::bytes(header.name, header.name_size as i32);
                (lossy(name).into_owned(), owned(header.value, header.value_size))
            };
            run.records.push(Record {
                key: owned(raw.key, raw.key_size),
                value: owned(raw.value, raw.value_size),
                headers: (0..raw.header_count as usize).map(header).collect(),
                timestamp: raw.timestamp,
                input: raw.input,
            });
        }
        for i in 0..out.error_count as usize {
            let error = &*out.errors.add(i);
            run.errors.push((error.input, lossy(abi::bytes(error.message, error.message_size as i32)).into_owned()));
        }
        for i in 0..out.state_count as usize {
            let state = &*out.states.add(i);
            run.states.insert(owned(state.key, state.key_size), owned(state.value, state.value_size));
        }
    }
    run
}

/// Starts a transform and gives it one batch; panics where it refuses the parameters.
pub fn run(transform: &Registered, parameters: &[(&str, &str)], records: &[Record]) -> Run {
    start(transform, parameters, &[]).unwrap();
    step(transform, records, &BTreeMap::new())
}

fn show_bytes(bytes: &Bytes) -> String {
    bytes.as_ref().map_or("null".into(), |bytes| format!("'{}'", lossy(bytes)))
}

fn show(run: &std::result::Result<Run, String>) -> String {
    let run = match run {
        Ok(run) => run,
        Err(why) => return format!("  failed: {why}\n"),
    };
    let mut out = String::new();
    for record in &run.records {
        let (key, value) = (show_bytes(&record.key), show_bytes(&record.value));
        let _ = write!(out, "  record of {}: key {key}, value {value}, timestamp {}", record.input, record.timestamp);
        for (name, value) in &record.headers {
            let _ = write!(out, ", header {name}={}", show_bytes(value));
        }
        out.push('\n');
    }
    for (input, message) in &run.errors {
        let _ = writeln!(out, "  error of {input}: {message}");
    }
    for (key, value) in &run.states {
        let _ = writeln!(out, "  state of {}: {}", show_bytes(key), show_bytes(value));
    }
    out
}

fn records(from: &[Json]) -> Vec<Record> {
    let record = |(i, item): (usize, &Json)| Record {
        key: item.find("key").and_then(Json::bytes),
        value: item.find("value").and_then(Json::bytes),
        headers: item.array("headers").iter().map(|header| (header.name.clone(), header.bytes())).collect(),
        timestamp: item.number("timestamp", 0),
        input: item.number("input", i as i64) as u32,
    };
    from.iter().enumerate().map(record).collect()
}

fn states(from: &Json) -> BTreeMap<Bytes, Bytes> {
    from.array("states").iter().map(|state| (Some(state.name.clone().into_bytes()), state.bytes())).collect()
}

/// A SQL value as the host gives it, of {"VARCHAR": "x"}, {"BIGINT": 1}, {"DOUBLE": 0.5}, {"BOOLEAN": true} or null; in a
/// result after its "input".
fn sql(from: &Json) -> Bytes {
    let value = from.items.last()?;
    Some(match (value.kind?, value.name.as_str()) {
        (Kind::Null, _) => return None,
        (_, "BIGINT") => value.text.parse::<i64>().expect("a BIGINT").to_le_bytes().to_vec(),
        (_, "DOUBLE") => value.text.parse::<f64>().expect("a DOUBLE").to_le_bytes().to_vec(),
        (_, "BOOLEAN") => vec![(value.text == "true") as u8],
        _ => value.text.clone().into_bytes(),
    })
}

fn rows(from: &Json) -> Vec<Record> {
    let row = |row: &Json| Record {
        headers: row.items.iter().map(|argument| (String::new(), sql(argument))).collect(),
        ..Record::default()
    };
    from.array("rows").iter().map(row).collect()
}

fn expected(from: &Json) -> std::result::Result<Run, String> {
    if let Some(failure) = from.find("failure") {
        return Err(failure.text.clone());
    }
    let mut run = Run { records: records(from.array("records")), states: states(from), ..Run::default() };
    for (i, result) in from.array("results").iter().enumerate() {
        run.records.push(Record { value: sql(result), input: result.number("input", i as i64) as u32, ..Record::default() });
    }
    let errors = from.array("errors").iter();
    run.errors.extend(errors.map(|error| (error.number("input", 0) as u32, error.string("error"))));
    Ok(run)
}

/// Nothing when a case holds; else what was expected and what came.
pub fn check(case: &Json, transforms: &[&Registered]) -> std::result::Result<(), String> {
    let name = case.string("transform");
    let transform = transforms.iter().find(|transform| transform.name == name);
    let transform = transform.ok_or_else(|| format!("no transform is called {name}"))?;
    let parameters: Vec<_> = case.array("parameters").iter().map(|p| (p.name.as_str(), p.text.as_str())).collect();
    let got = start(transform, &parameters, &records(case.array("look_back"))).map(|_| {
        let records = if case.find("rows").is_some() { rows(case) } else { records(case.array("records")) };
        step(transform, &records, &states(case))
    });
    let (want, have) = (show(&expected(case.find("expect").unwrap_or(&Json::default()))), show(&got));
    if want == have {
        return Ok(());
    }
    Err(format!("{name}: {}\n expected\n{want} but got\n{have}", case.string("case")))
}

/// Checks the cases of `file` that are of `module` ("": all); panics where one does not hold, or none is there.
pub fn check_file(file: &str, module: &str, transforms: &[&Registered]) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|why| panic!("{file}: {why}"));
    let mut count = 0;
    let mut wrong = String::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let case = parse(line).unwrap_or_else(|why| panic!("{file}: {why}: {line}"));
        if !module.is_empty() && case.string("module") != module {
            continue;
        }
        count += 1;
        if let Err(why) = check(&case, transforms) {
            wrong += &why;
        }
    }
    assert!(count != 0, "{file} has no case of {module}");
    assert!(wrong.is_empty(), "{wrong}");
    println!("{module}: {count} passed");
}
