//! {{name}}(text => 'error'): keeps the records whose value contains that text.
use millrace::*;

pub struct Contains {
    text: &'static str,
}

impl Transform for Contains {
    fn init(parameters: &Parameters) -> Result<Self> {
        Ok(Contains { text: parameters.require("text")? })
    }
}

impl Filter for Contains {
    fn filter(&mut self, record: &Record<'_>) -> Result<bool> {
        Ok(contains(record.value(), self.text.as_bytes()))
    }
}

filter!({{name}}, Contains);

#[cfg(test)]
#[test]
fn cases() {
    testing::check_file("cases.jsonl", "", &[&{{name}}::TRANSFORM]);
}
