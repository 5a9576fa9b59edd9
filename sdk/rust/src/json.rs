//! JSON as records hold it, read where it stands: nothing is built, and what is found are slices of the text.

use crate::record::*;
use std::borrow::Cow;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    String,
    Number,
    Boolean,
    Null,
}

/// The text that a string's raw content (between its quotes) stands for. Only one with escapes is copied.
pub fn decode(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&b'\\') {
        return Cow::Borrowed(raw);
    }
    let hex4 = |at: usize| raw[at..at + 4].iter().fold(0, |code, c| code * 16 + (*c as char).to_digit(16).unwrap_or(0));
    let mut out = Vec::with_capacity(raw.len());
    let mut i = 0;
    while i < raw.len() {
        if raw[i] != b'\\' {
            out.push(raw[i]);
            i += 1;
            continue;
        }
        i += 2;
        match raw[i - 1] {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let mut code = hex4(i);
                i += 4;
                if (0xD800..0xDC00).contains(&code) && raw[i..].starts_with(b"\\u") {
                    let low = hex4(i + 2);
                    if (0xDC00..0xE000).contains(&low) {
                        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                        i += 6;
                    }
                }
                // Half of a pair stands for nothing.
                let c = char::from_u32(code).unwrap_or('\u{FFFD}');
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[derive(PartialEq)]
enum Step {
    Value,
    Other,
    End,
}

const DEPTH: u32 = 64;

/// Walks an object's values in the order of the text, those within values too, and checks the whole of it as it goes:
///
/// ```
/// # fn level(document: &[u8]) -> millrace::Result<&[u8]> {
/// let mut level: &[u8] = b"";
/// let mut walker = millrace::json::Walker::new(document);
/// while walker.next()? {
///     if walker.depth() == 1 && walker.named("level") { level = walker.take()?; }
/// }
/// # Ok(level) }
/// ```
#[derive(Clone, Copy)]
pub struct Walker<'a> {
    text: &'a [u8],
    name: &'a [u8],
    at: usize,
    start: usize,
    end: usize,
    stack: u64, // of the open objects (1) and arrays (0)
    depth: u32,
    value_depth: u32,
    kind: Kind,
    begun: bool,
    fresh: bool,
    member: bool,
    taken: bool,
    failed: bool,
}

impl<'a> Walker<'a> {
    pub fn new(text: &'a [u8]) -> Walker<'a> {
        Walker {
            text,
            name: &[],
            at: 0,
            start: 0,
            end: 0,
            stack: 0,
            depth: 0,
            value_depth: 0,
            kind: Kind::Null,
            begun: false,
            fresh: false,
            member: false,
            taken: false,
            failed: false,
        }
    }

    /// To the next value; false at the end. Fails where the text is no JSON object.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<bool> {
        loop {
            match self.advance() {
                Step::Value => return Ok(true),
                Step::Other => continue,
                Step::End => return if self.failed { Err(self.why()) } else { Ok(false) },
            }
        }
    }
    fn why(&self) -> Error {
        format!("not a JSON object: byte {}", self.at).into()
    }

    /// 1: a member of the document itself.
    pub fn depth(&self) -> u32 {
        self.value_depth
    }
    pub fn kind(&self) -> Kind {
        self.kind
    }
    /// Where the value begins in the text.
    pub fn start(&self) -> usize {
        self.start
    }
    /// Of a member its name, as it stands between its quotes.
    pub fn name(&self) -> &'a [u8] {
        self.name
    }
    /// Whether it is a member of that name.
    pub fn named(&self, name: &str) -> bool {
        self.member && (self.name == name.as_bytes() || (self.name.contains(&b'\\') && *decode(self.name) == *name.as_bytes()))
    }
    /// The value's text. Of an object or array the walk goes on behind it, not into it.
    pub fn take(&mut self) -> Result<&'a [u8]> {
        if matches!(self.kind, Kind::Object | Kind::Array) && !self.taken {
            let before = *self;
            while self.depth > before.value_depth && self.advance() != Step::End {}
            if self.failed {
                return Err(self.why());
            }
            self.start = before.start;
            self.value_depth = before.value_depth;
            self.kind = before.kind;
            self.name = before.name;
            self.member = before.member;
            self.taken = true;
            self.end = self.at;
        }
        Ok(&self.text[self.start..self.end])
    }

    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }
    fn space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }
    fn fail(&mut self) -> Step {
        self.failed = true;
        Step::End
    }
    fn open(&mut self, object: bool) {
        self.stack = self.stack << 1 | object as u64;
        self.depth += 1;
        self.at += 1;
        self.fresh = true;
    }

    fn advance(&mut self) -> Step {
        if self.failed {
            return Step::End;
        }
        self.space();
        if self.depth == 0 {
            if self.begun {
                return if self.at == self.text.len() { Step::End } else { self.fail() };
            }
            self.begun = true;
            if self.peek() != b'{' {
                return self.fail();
            }
            self.open(true);
            return Step::Other;
        }
        let object = self.stack & 1 != 0;
        if self.peek() == if object { b'}' } else { b']' } {
            self.stack >>= 1;
            self.depth -= 1;
            self.at += 1;
            self.fresh = false;
            return Step::Other;
        }
        if !self.fresh {
            if self.peek() != b',' {
                return self.fail();
            }
            self.at += 1;
            self.space();
        }
        self.fresh = false;
        self.member = object;
        if object && !self.member_name() {
            return self.fail();
        }
        self.start = self.at;
        self.taken = false;
        self.value_depth = self.depth;
        if self.value() {
            Step::Value
        } else {
            self.fail()
        }
    }

    fn member_name(&mut self) -> bool {
        let from = self.at + 1;
        if self.peek() != b'"' || !self.string() {
            return false;
        }
        self.name = &self.text[from..self.at - 1];
        self.space();
        if self.peek() != b':' {
            return false;
        }
        self.at += 1;
        self.space();
        true
    }

    fn value(&mut self) -> bool {
        let c = self.peek();
        if c == b'{' || c == b'[' {
            self.kind = if c == b'{' { Kind::Object } else { Kind::Array };
            if self.depth == DEPTH {
                return false;
            }
            self.open(c == b'{');
            return true;
        }
        let (kind, good) = match c {
            b'"' => (Kind::String, self.string()),
            b't' => (Kind::Boolean, self.word(b"true")),
            b'f' => (Kind::Boolean, self.word(b"false")),
            b'n' => (Kind::Null, self.word(b"null")),
            _ => (Kind::Number, self.number()),
        };
        self.kind = kind;
        self.end = self.at;
        good
    }

    fn word(&mut self, word: &[u8]) -> bool {
        let there = self.text[self.at..].starts_with(word);
        if there {
            self.at += word.len();
        }
        there
    }

    fn string(&mut self) -> bool {
        self.at += 1;
        while let Some(&c) = self.text.get(self.at) {
            if c == b'"' {
                self.at += 1;
                return true;
            }
            if c < 0x20 {
                return false;
            }
            if c == b'\\' {
                self.at += 1;
                match self.peek() {
                    b'u' => {
                        for _ in 0..4 {
                            self.at += 1;
                            if !self.peek().is_ascii_hexdigit() {
                                return false;
                            }
                        }
                    }
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    _ => return false,
                }
            }
            self.at += 1;
        }
        false
    }

    fn digits(&mut self) -> bool {
        let from = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        self.at > from
    }
    fn number(&mut self) -> bool {
        if self.peek() == b'-' {
            self.at += 1;
        }
        if self.peek() == b'0' {
            self.at += 1;
        } else if !self.digits() {
            return false;
        }
        if self.peek() == b'.' {
            self.at += 1;
            if !self.digits() {
                return false;
            }
        }
        if self.peek() | 32 == b'e' {
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            if !self.digits() {
                return false;
            }
        }
        true
    }
}

/// What a value's text stands for: a string's content; else the text itself.
pub fn text(value: &[u8]) -> Cow<'_, [u8]> {
    match value {
        [b'"', content @ .., b'"'] => decode(content),
        other => Cow::Borrowed(other),
    }
}

/// A member of the document; of two with the same name the last.
pub fn find<'a>(document: &'a [u8], name: &str) -> Result<Option<&'a [u8]>> {
    let mut walker = Walker::new(document);
    let mut found = None;
    while walker.next()? {
        if walker.depth() == 1 && walker.named(name) {
            found = Some(walker.take()?);
        }
    }
    Ok(found)
}

/// Appends `text` as a JSON string.
pub fn quote(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &c in text {
        match c {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', c]),
            b'\n' => out.extend_from_slice(b"\\n"),
            0..=0x1f => {
                out.extend_from_slice(b"\\u00");
                out.push(b"0123456789abcdef"[c as usize >> 4]);
                out.push(b"0123456789abcdef"[c as usize & 15]);
            }
            _ => out.push(c),
        }
    }
    out.push(b'"');
}

/// The number that a text is, as JSON writes numbers; nothing when it is none. Exact up to 15 digits.
pub fn number(text: &[u8]) -> Option<f64> {
    let mut at = 0;
    let digit = |at: usize| text.get(at).copied().filter(u8::is_ascii_digit).map(|c| (c - b'0') as u64);
    let negative = text.first() == Some(&b'-');
    if negative {
        at += 1;
    }
    digit(at)?;
    let mut mantissa: u64 = 0;
    let mut exponent: i64 = 0;
    let mut fraction = false;
    loop {
        while let Some(d) = digit(at) {
            if mantissa < 100_000_000_000_000_000 {
                mantissa = mantissa * 10 + d;
                exponent -= fraction as i64;
            } else {
                exponent += !fraction as i64;
            }
            at += 1;
        }
        if fraction || text.get(at) != Some(&b'.') {
            break;
        }
        at += 1;
        digit(at)?;
        fraction = true;
    }
    if text.get(at).map(|c| c | 32) == Some(b'e') {
        at += 1;
        let down = text.get(at) == Some(&b'-');
        if matches!(text.get(at), Some(b'-' | b'+')) {
            at += 1;
        }
        digit(at)?;
        let mut power: i64 = 0;
        while let Some(d) = digit(at) {
            if power < 10_000 {
                power = power * 10 + d as i64;
            }
            at += 1;
        }
        exponent += if down { -power } else { power };
    }
    if at != text.len() {
        return None;
    }
    let power_of_ten = |count: i64| (0..count).fold(1f64, |by, _| by * 10.0);
    let mut value = mantissa as f64;
    while exponent > 0 && value < 1e308 && mantissa != 0 {
        value *= power_of_ten(exponent.min(22));
        exponent -= exponent.min(22);
    }
    while exponent < 0 && value > 0.0 {
        value /= power_of_ten((-exponent).min(22));
        exponent += (-exponent).min(22);
    }
    Some(if negative { -value } else { value })
}

/// A number with two decimals, half a cent away from zero; nothing past 2^53 cents.
pub fn cents(value: f64) -> Option<String> {
    let scaled = value.abs() * 100.0 + 0.5;
    if !(scaled < 9007199254740992.0) {
        return None;
    }
    let whole = scaled as u64;
    let sign = if value < 0.0 && whole != 0 { "-" } else { "" };
    Some(format!("{sign}{}.{:02}", whole / 100, whole % 100))
}
