//! to_columns(fields => 'id,amount' [, delimiter => ','] [, into => 'line' | 'headers']): fields of a JSON document become
//! a delimited line (with CSV's quotes where they are needed), or headers beside the document.
use millrace::*;

pub struct ToColumns {
    fields: Vec<&'static str>,
    delimiter: &'static str,
    headers: bool,
}

impl Transform for ToColumns {
    fn init(parameters: &Parameters) -> Result<Self> {
        let fields = split(parameters.require("fields")?, ',');
        let delimiter = parameters.get_or("delimiter", ",");
        let headers = match parameters.get_or("into", "line") {
            "headers" => true,
            "line" => false,
            other => return Err(format!("parameter 'into' is line or headers, not '{other}'").into()),
        };
        Ok(ToColumns { fields, delimiter, headers })
    }
}

impl Map for ToColumns {
    fn map<'a>(&mut self, record: &Record<'a>, out: &mut Output<'a>) -> Result<()> {
        if !record.has_value() {
            return Ok(());
        }
        let mut found = vec![None; self.fields.len()];
        let mut walker = json::Walker::new(record.value());
        while walker.next()? {
            if walker.depth() != 1 {
                continue;
            }
            if let Some(i) = self.fields.iter().position(|field| walker.named(field)) {
                found[i] = if walker.kind() == json::Kind::Null { None } else { Some(json::text(walker.take()?)) };
            }
        }
        if self.headers {
            for (field, value) in self.fields.iter().zip(found) {
                if let Some(value) = value {
                    out.add_header(*field, value);
                }
            }
            return Ok(());
        }
        let mut line = Vec::new();
        for (i, value) in found.iter().enumerate() {
            if i != 0 {
                line.extend_from_slice(self.delimiter.as_bytes());
            }
            if let Some(text) = value {
                self.column(&mut line, text);
            }
        }
        out.set_value(line);
        Ok(())
    }
}

impl ToColumns {
    fn column(&self, line: &mut Vec<u8>, text: &[u8]) {
        if !contains(text, self.delimiter.as_bytes()) && !text.iter().any(|c| b"\"\r\n".contains(c)) {
            line.extend_from_slice(text);
            return;
        }
        line.push(b'"');
        for &c in text {
            if c == b'"' {
                line.push(b'"');
            }
            line.push(c);
        }
        line.push(b'"');
    }
}

map!(to_columns, ToColumns);

#[cfg(test)]
#[test]
fn cases() {
    testing::check_file(testing::CASES, "to_columns", &[&to_columns::TRANSFORM]);
}
