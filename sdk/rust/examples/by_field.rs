//! by_field(field => 'level', equals => 'error') or by_field(field => 'amount', op => '>', value => '100'): keeps the JSON
//! documents whose field compares so. op is one of = != < <= > >= contains; the four orders are of numbers.
//! A document without the field, or with null there, is kept by != alone.
use millrace::*;

pub struct ByField {
    field: &'static str,
    op: &'static str,
    value: &'static str,
    number: f64,
}

impl Transform for ByField {
    fn init(parameters: &Parameters) -> Result<Self> {
        let field = parameters.require("field")?;
        if let Some(value) = parameters.get("equals") {
            return Ok(ByField { field, op: "=", value, number: 0.0 });
        }
        let value = parameters.require("value")?;
        let op = parameters.get_or("op", "=");
        let number = match op {
            "=" | "!=" | "contains" => 0.0,
            "<" | "<=" | ">" | ">=" => {
                json::number(value.as_bytes()).ok_or_else(|| format!("parameter 'value' is no number: '{value}'"))?
            }
            _ => return Err(format!("parameter 'op' is none of = != < <= > >= contains: '{op}'").into()),
        };
        Ok(ByField { field, op, value, number })
    }
}

impl Filter for ByField {
    fn filter(&mut self, record: &Record<'_>) -> Result<bool> {
        if !record.has_value() {
            return Ok(false);
        }
        let text = match json::find(record.value(), self.field)? {
            None | Some(b"null") => return Ok(self.op == "!="),
            Some(found) => json::text(found),
        };
        match self.op {
            "=" => return Ok(*text == *self.value.as_bytes()),
            "!=" => return Ok(*text != *self.value.as_bytes()),
            "contains" => return Ok(contains(&text, self.value.as_bytes())),
            _ => {}
        }
        Ok(match json::number(&text) {
            None => false,
            Some(have) => match self.op {
                "<" => have < self.number,
                "<=" => have <= self.number,
                ">" => have > self.number,
                _ => have >= self.number,
            },
        })
    }
}

filter!(by_field, ByField);

#[cfg(test)]
#[test]
fn cases() {
    testing::check_file(testing::CASES, "by_field", &[&by_field::TRANSFORM]);
}
