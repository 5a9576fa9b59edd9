//! One small transform of each kind: what an SDK offers, at a glance.
use millrace::*;
use std::collections::HashSet;

filter!(has_error, |record| contains(record.value(), b"error"));

// A header says how long the value is, and the key loses its case.
map!(label, |record, out| {
    if record.has_key() {
        out.set_key(record.key().to_ascii_lowercase());
    }
    out.add_header("bytes", record.value().len().to_string());
});

filter_map!(trim, |record, out| {
    let mut value = record.value();
    while let [b' ', rest @ ..] | [rest @ .., b' '] = value {
        value = rest;
    }
    out.set_value(value);
    !value.is_empty()
});

// What stands before the first ':' is the topic that the record goes to, in a pipeline of several.
map!(route, |record, out| {
    let value = record.value();
    if let Some(colon) = value.iter().position(|c| *c == b':') {
        out.add_header("millrace.output", &value[..colon]);
        out.set_value(&value[colon + 1..]);
    }
});

expand!(lines, |record, emit| -> Result<()> {
    let mut left = record.value();
    while !left.is_empty() {
        let size = left.iter().position(|c| *c == b'\n').unwrap_or(left.len());
        let line = &left[..size];
        if line == b"stop" {
            return Err("line 'stop'".into());
        }
        emit.record().set_value(line);
        left = &left[left.len().min(size + 1)..];
    }
    Ok(())
});

aggregate!(count, |record, state, emit| -> Result<()> {
    if record.value() == b"forget" {
        state.clear();
        return Ok(());
    }
    let text = (json::number(state.value()).unwrap_or(0.0) as i64 + 1).to_string();
    state.set(text.clone());
    emit.record().set_value(text);
    if record.value() == b"fail" {
        return Err("as asked".into());
    }
    Ok(())
});

// The last characters of a text, stars for the rest.
scalar!(mask, |text: &[u8], shown: i64| -> Result<Vec<u8>> {
    if shown < 0 {
        return Err(format!("mask shows at least 0, not {shown}").into());
    }
    let hidden = text.len().saturating_sub(shown as usize);
    Ok([&vec![b'*'; hidden], &text[hidden..]].concat())
});

scalar!(area, |width: f64, height: Option<f64>| -> f64 { width * height.unwrap_or(1.0) });
scalar!(even, |number: i64| -> bool { number % 2 == 0 });

/// Drops records whose keys were among the topic's last when the module began.
pub struct Unseen {
    seen: HashSet<Vec<u8>>,
}
impl Transform for Unseen {
    fn init(parameters: &Parameters) -> Result<Self> {
        parameters.none()?;
        Ok(Unseen { seen: HashSet::new() })
    }
    fn look_back(&mut self, record: &Record<'_>) -> Result<()> {
        self.seen.insert(record.key().to_vec());
        Ok(())
    }
}
impl Filter for Unseen {
    fn filter(&mut self, record: &Record<'_>) -> Result<bool> {
        Ok(!self.seen.contains(record.key()))
    }
}
filter!(unseen, Unseen, look_back);

#[cfg(test)]
#[test]
fn cases() {
    testing::check_file(testing::CASES, "tour", &[&has_error::TRANSFORM, &label::TRANSFORM, &trim::TRANSFORM, &route::TRANSFORM, &lines::TRANSFORM, &count::TRANSFORM, &mask::TRANSFORM, &area::TRANSFORM, &even::TRANSFORM, &unseen::TRANSFORM]);
}
