//! sessionise(gap => '30m'): the sessions of each key. A session ends when its key was silent for longer than the gap; it
//! comes out with the record that begins the next one. A record that comes late counts in the session that is open.
use millrace::*;

pub struct Sessionise {
    gap: i64, // milliseconds
}

impl Transform for Sessionise {
    fn init(parameters: &Parameters) -> Result<Self> {
        let text = parameters.require("gap")?;
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let unit = match &text[digits..] {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => 0,
        };
        match text[..digits].parse::<i64>() {
            Ok(count) if digits <= 9 && unit != 0 => Ok(Sessionise { gap: count * unit }),
            _ => Err(format!("parameter 'gap' is not like 500ms, 30s, 30m or 1h: '{text}'").into()),
        }
    }
}

struct Session {
    start: i64,
    last: i64,
    events: i64,
}

/// The state of a key: start, last and events.
fn read(text: &str) -> Option<Session> {
    let numbers: Option<Vec<i64>> = split(text, ',').iter().map(|part| part.parse().ok()).collect();
    match numbers?[..] {
        [start, last, events] => Some(Session { start, last, events }),
        _ => None,
    }
}

impl Aggregate for Sessionise {
    fn aggregate<'a>(&mut self, record: &Record<'a>, state: &mut State<'a>, emit: &mut Emit<'a>) -> Result<()> {
        let now = record.timestamp();
        let mut open = Session { start: now, last: now, events: 0 };
        if state.exists() {
            let known = lossy(state.value());
            open = read(&known).ok_or_else(|| format!("the state is not a session's: '{known}'"))?;
            if now - open.last > self.gap {
                let mut closed = emit.record();
                closed.clear_headers();
                closed.set_timestamp(open.last);
                closed.set_value(format!("{{\"start\":{},\"end\":{},\"events\":{}}}", open.start, open.last, open.events));
                open = Session { start: now, last: now, events: 0 };
            }
        }
        state.set(format!("{},{},{}", open.start.min(now), open.last.max(now), open.events + 1));
        Ok(())
    }
}

aggregate!(sessionise, Sessionise);

#[cfg(test)]
#[test]
fn cases() {
    testing::check_file(testing::CASES, "sessionise", &[&sessionise::TRANSFORM]);
}
