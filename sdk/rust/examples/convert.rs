//! convert(rates => 'EUR=1.08,GBP=1.27' [, into => 'USD'] [, amount => 'amount'] [, currency => 'currency']): the amount of
//! a JSON document, in another currency: one unit of EUR is 1.08 of those that it is to be in. Rounded to two decimals.
//! exchange(rates => … [, into => 'USD']) is the same as a function of SQL: exchange(currency, amount).
use millrace::*;

pub struct Rates {
    rates: Vec<(&'static str, f64)>,
    into: &'static str,
}

impl Rates {
    fn of(&self, currency: &[u8]) -> Result<f64> {
        if *currency == *self.into.as_bytes() {
            return Ok(1.0);
        }
        let rate = self.rates.iter().find(|(name, _)| *name.as_bytes() == *currency);
        rate.map(|(_, rate)| *rate).ok_or_else(|| format!("no rate for '{}'", lossy(currency)).into())
    }
}

pub struct Convert {
    rates: Rates,
    amount: &'static str,
    currency: &'static str,
}

impl Transform for Rates {
    fn init(parameters: &Parameters) -> Result<Self> {
        let mut rates = Vec::new();
        for part in split(parameters.require("rates")?, ',') {
            let rate = part.split_once('=').and_then(|(code, rate)| Some((code.trim(), json::number(rate.trim().as_bytes())?)));
            rates.push(rate.ok_or_else(|| format!("parameter 'rates' is not like EUR=1.08,GBP=1.27: '{part}'"))?);
        }
        Ok(Rates { rates, into: parameters.get_or("into", "USD") })
    }
}

impl Transform for Convert {
    fn init(parameters: &Parameters) -> Result<Self> {
        Ok(Convert {
            rates: Rates::init(parameters)?,
            amount: parameters.get_or("amount", "amount"),
            currency: parameters.get_or("currency", "currency"),
        })
    }
}

impl Map for Convert {
    fn map<'a>(&mut self, record: &Record<'a>, out: &mut Output<'a>) -> Result<()> {
        if !record.has_value() {
            return Ok(());
        }
        let document = record.value();
        let mut walker = json::Walker::new(document);
        let (mut number, mut code): ((usize, &[u8]), (usize, &[u8])) = ((0, b""), (0, b""));
        while walker.next()? {
            if walker.depth() != 1 {
                continue;
            }
            if walker.named(self.amount) {
                number = (walker.start(), walker.take()?);
            } else if walker.named(self.currency) {
                code = (walker.start(), walker.take()?);
            }
        }
        let from = json::text(code.1);
        if *from == *self.rates.into.as_bytes() {
            return Ok(());
        }
        let value = json::number(number.1).ok_or_else(|| format!("field '{}' is no number", self.amount))?;
        let rate = self.rates.of(&from)?;
        let converted = json::cents(value * rate).ok_or_else(|| format!("field '{}' is too large", self.amount))?;
        let mut into = Vec::new();
        json::quote(&mut into, self.rates.into.as_bytes());
        let mut parts = [(number, converted.into_bytes()), (code, into)];
        parts.sort_by_key(|((start, _), _)| *start);
        let mut text = Vec::with_capacity(document.len() + 16);
        let mut done = 0;
        for ((start, old), new) in parts {
            text.extend_from_slice(&document[done..start]);
            text.extend_from_slice(&new);
            done = start + old.len();
        }
        text.extend_from_slice(&document[done..]);
        out.set_value(text);
        Ok(())
    }
}

map!(convert, Convert);

scalar!(exchange, Rates, |rates, currency: &[u8], amount: f64| -> Result<f64> { Ok(amount * rates.of(currency)?) });

#[cfg(test)]
#[test]
fn cases() {
    testing::check_file(testing::CASES, "convert", &[&convert::TRANSFORM, &exchange::TRANSFORM]);
}
