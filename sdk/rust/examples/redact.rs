//! redact(fields => 'email,ssn' [, with => '***']): in JSON, replaces the values of those fields, wherever they stand.
use millrace::*;

pub struct Redact {
    fields: Vec<&'static str>,
    with: &'static str,
}

impl Transform for Redact {
    fn init(parameters: &Parameters) -> Result<Self> {
        Ok(Redact { fields: split(parameters.require("fields")?, ','), with: parameters.get_or("with", "***") })
    }
}

impl Map for Redact {
    fn map<'a>(&mut self, record: &Record<'a>, out: &mut Output<'a>) -> Result<()> {
        if !record.has_value() {
            return Ok(());
        }
        let document = record.value();
        let mut walker = json::Walker::new(document);
        let mut text = Vec::new();
        let mut done = 0;
        while walker.next()? {
            if !self.fields.iter().any(|field| walker.named(field)) {
                continue;
            }
            let size = walker.take()?.len();
            text.extend_from_slice(&document[done..walker.start()]);
            json::quote(&mut text, self.with.as_bytes());
            done = walker.start() + size;
        }
        if done != 0 {
            text.extend_from_slice(&document[done..]);
            out.set_value(text);
        }
        Ok(())
    }
}

map!(redact, Redact);

#[cfg(test)]
#[test]
fn cases() {
    testing::check_file(testing::CASES, "redact", &[&redact::TRANSFORM]);
}
