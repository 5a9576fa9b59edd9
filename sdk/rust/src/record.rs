//! What a transform sees and makes. Nothing here copies a record's bytes: a slice is of the batch that the host wrote, and
//! lives until the call returns (`'a`).

use crate::abi;
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

/// Why a record, or the parameters, cannot be used: `Err(format!("no rate for '{code}'").into())`.
#[derive(Debug, PartialEq, Eq)]
pub struct Error(pub String);
pub type Result<T> = std::result::Result<T, Error>;

impl From<String> for Error {
    fn from(message: String) -> Error {
        Error(message)
    }
}
impl From<&str> for Error {
    fn from(message: &str) -> Error {
        Error(message.into())
    }
}
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Text for messages, of bytes that may be none.
pub fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Whether `needle` stands somewhere in `text`.
pub fn contains(text: &[u8], needle: &[u8]) -> bool {
    let (first, rest) = match needle.split_first() {
        Some(parts) => parts,
        None => return true,
    };
    let mut left = text;
    while let Some(at) = left.iter().position(|c| c == first) {
        left = &left[at + 1..];
        if left.starts_with(rest) {
            return true;
        }
    }
    false
}

/// One record of the batch.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    pub(crate) raw: &'a abi::Record,
}

impl<'a> Record<'a> {
    /// Milliseconds.
    pub fn timestamp(&self) -> i64 {
        self.raw.timestamp
    }
    /// -1: none yet
    pub fn offset(&self) -> i64 {
        self.raw.offset
    }
    pub fn has_key(&self) -> bool {
        self.raw.key_size >= 0
    }
    pub fn has_value(&self) -> bool {
        self.raw.value_size >= 0
    }
    pub fn key(&self) -> &'a [u8] {
        unsafe { abi::bytes(self.raw.key, self.raw.key_size) }
    }
    pub fn value(&self) -> &'a [u8] {
        unsafe { abi::bytes(self.raw.value, self.raw.value_size) }
    }
    /// Names and values (none: null).
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + 'a {
        self.raw_headers().iter().map(|header| unsafe {
            let value = abi::bytes(header.value, header.value_size);
            (abi::bytes(header.name, header.name_size as i32), (header.value_size >= 0).then(|| value))
        })
    }
    /// The value of the first header of that name.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value.unwrap_or(&[]))
    }
    pub(crate) fn raw_headers(&self) -> &'a [abi::Header] {
        match self.raw.header_count {
            0 => &[],
            count => unsafe { std::slice::from_raw_parts(self.raw.headers, count as usize) },
        }
    }
}

/// Bytes for a result: what is of the batch or constant is taken as it is, what is owned is copied once.
pub trait Bytes<'a> {
    fn bytes(self) -> &'a [u8];
}
impl<'a> Bytes<'a> for &'a [u8] {
    fn bytes(self) -> &'a [u8] {
        self
    }
}
impl<'a, const N: usize> Bytes<'a> for &'a [u8; N] {
    fn bytes(self) -> &'a [u8] {
        self
    }
}
impl<'a> Bytes<'a> for &'a str {
    fn bytes(self) -> &'a [u8] {
        self.as_bytes()
    }
}
impl<'a> Bytes<'a> for Vec<u8> {
    fn bytes(self) -> &'a [u8] {
        let at: *mut u8 = abi::take(self.len());
        unsafe {
            std::ptr::copy_nonoverlapping(self.as_ptr(), at, self.len());
            std::slice::from_raw_parts(at, self.len())
        }
    }
}
impl<'a> Bytes<'a> for String {
    fn bytes(self) -> &'a [u8] {
        self.into_bytes().bytes()
    }
}
impl<'a> Bytes<'a> for Cow<'a, [u8]> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Cow::Borrowed(bytes) => bytes,
            Cow::Owned(bytes) => bytes.bytes(),
        }
    }
}

/// A record of the result: begins as the one it comes from.
pub struct Output<'a> {
    pub(crate) raw: &'a mut abi::Record,
}

impl<'a> Output<'a> {
    pub fn set_timestamp(&mut self, milliseconds: i64) {
        self.raw.timestamp = milliseconds;
    }
    pub fn set_key(&mut self, key: impl Bytes<'a>) {
        let key = key.bytes();
        self.raw.key = key.as_ptr();
        self.raw.key_size = key.len() as i32;
    }
    pub fn clear_key(&mut self) {
        self.raw.key_size = -1;
    }
    pub fn set_value(&mut self, value: impl Bytes<'a>) {
        let value = value.bytes();
        self.raw.value = value.as_ptr();
        self.raw.value_size = value.len() as i32;
    }
    pub fn clear_value(&mut self) {
        self.raw.value_size = -1;
    }
    pub fn clear_headers(&mut self) {
        self.raw.header_count = 0;
    }
    pub fn add_header(&mut self, name: impl Bytes<'a>, value: impl Bytes<'a>) {
        let (name, value) = (name.bytes(), value.bytes());
        let count = self.raw.header_count as usize;
        let headers: *mut abi::Header = abi::take(count + 1);
        unsafe {
            if count != 0 {
                std::ptr::copy_nonoverlapping(self.raw.headers, headers, count);
            }
            *headers.add(count) = abi::Header {
                name: name.as_ptr(),
                name_size: name.len() as u32,
                value: value.as_ptr(),
                value_size: value.len() as i32,
            };
        }
        self.raw.headers = headers;
        self.raw.header_count += 1;
    }
}

/// What the SQL that uses a transform gave it, by name.
pub struct Parameters {
    given: Vec<(&'static str, &'static str, Cell<bool>)>,
}

impl Parameters {
    /// Kept for the module's life: there is one set of them.
    pub(crate) fn of(record: Option<Record<'_>>) -> Parameters {
        let keep = |bytes: &[u8]| -> &'static str { Box::leak(lossy(bytes).into_owned().into_boxed_str()) };
        let given = record.iter().flat_map(|record| record.headers());
        Parameters {
            given: given.map(|(name, value)| (keep(name), keep(value.unwrap_or(&[])), Cell::new(false))).collect(),
        }
    }
    pub fn get(&self, name: &str) -> Option<&'static str> {
        let (_, value, asked) = self.given.iter().find(|(given, _, _)| *given == name)?;
        asked.set(true);
        Some(value)
    }
    pub fn get_or(&self, name: &str, otherwise: &'static str) -> &'static str {
        self.get(name).unwrap_or(otherwise)
    }
    pub fn require(&self, name: &str) -> Result<&'static str> {
        self.get(name).ok_or_else(|| format!("parameter '{name}' is missing").into())
    }
    /// For a transform without parameters.
    pub fn none(&self) -> Result<()> {
        match self.given.first() {
            Some((name, _, _)) => Err(format!("takes no parameters, and was given \"{name}\"").into()),
            None => Ok(()),
        }
    }
    /// A parameter that nobody asked for is a mistake.
    pub(crate) fn all_asked(&self) -> Result<()> {
        match self.given.iter().find(|(_, _, asked)| !asked.get()) {
            Some((name, _, _)) => Err(format!("there is no parameter '{name}'").into()),
            None => Ok(()),
        }
    }
}

/// What an aggregate knows of a key: bytes of its own making, kept by the host with the outputs, exactly once.
pub struct State<'a> {
    pub(crate) raw: &'a mut abi::State,
}

impl<'a> State<'a> {
    pub fn exists(&self) -> bool {
        self.raw.value_size >= 0
    }
    pub fn value(&self) -> &'a [u8] {
        unsafe { abi::bytes(self.raw.value, self.raw.value_size) }
    }
    pub fn set(&mut self, value: impl Bytes<'a>) {
        let value = value.bytes();
        self.raw.value = value.as_ptr();
        self.raw.value_size = value.len() as i32;
    }
    pub fn clear(&mut self) {
        self.raw.value_size = -1;
    }
}

pub fn log_debug(text: &str) {
    abi::log(0, text)
}
pub fn log_info(text: &str) {
    abi::log(1, text)
}
pub fn log_warning(text: &str) {
    abi::log(2, text)
}
pub fn log_error(text: &str) {
    abi::log(3, text)
}

/// The parts of a list, without the blanks around them; empty ones do not count.
pub fn split(list: &str, by: char) -> Vec<&str> {
    list.split(by).map(|part| part.trim_matches(' ')).filter(|part| !part.is_empty()).collect()
}
