//! SQL's types, as a scalar's arguments and result: VARCHAR and BLOB, BIGINT, DOUBLE, BOOLEAN.

use crate::abi;
use crate::record::*;

pub trait Argument<'a>: Sized {
    /// Whether it is a null that makes the result one.
    fn is_null(argument: &abi::Header) -> bool {
        argument.value_size < 0
    }
    fn read(argument: &abi::Header) -> Result<Self>;
}

fn bytes<'a>(argument: &abi::Header) -> &'a [u8] {
    unsafe { abi::bytes(argument.value, argument.value_size) }
}
fn fixed<const N: usize>(argument: &abi::Header) -> Result<[u8; N]> {
    bytes(argument).try_into().map_err(|_| "an argument is of another type".into())
}

impl<'a> Argument<'a> for &'a [u8] {
    fn read(argument: &abi::Header) -> Result<Self> {
        Ok(bytes(argument))
    }
}
impl<'a> Argument<'a> for &'a str {
    fn read(argument: &abi::Header) -> Result<Self> {
        std::str::from_utf8(bytes(argument)).map_err(|_| "an argument is not UTF-8".into())
    }
}
impl Argument<'_> for i64 {
    fn read(argument: &abi::Header) -> Result<Self> {
        fixed(argument).map(i64::from_le_bytes)
    }
}
impl Argument<'_> for f64 {
    fn read(argument: &abi::Header) -> Result<Self> {
        fixed(argument).map(f64::from_le_bytes)
    }
}
impl Argument<'_> for bool {
    fn read(argument: &abi::Header) -> Result<Self> {
        fixed(argument).map(|[byte]| byte != 0)
    }
}
impl<'a, T: Argument<'a>> Argument<'a> for Option<T> {
    fn is_null(_: &abi::Header) -> bool {
        false
    }
    fn read(argument: &abi::Header) -> Result<Self> {
        if argument.value_size < 0 {
            return Ok(None);
        }
        T::read(argument).map(Some)
    }
}

pub trait ScalarResult<'a> {
    fn write(self, out: &mut Output<'a>) -> Result<()>;
}

macro_rules! bytes_results {
    ($($type:ty),*) => { $(
        impl<'a> ScalarResult<'a> for $type {
            fn write(self, out: &mut Output<'a>) -> Result<()> {
                out.set_value(self);
                Ok(())
            }
        }
    )* };
}
bytes_results!(&'a [u8], &'a str, String, Vec<u8>);

macro_rules! number_results {
    ($($type:ty),*) => { $(
        impl<'a> ScalarResult<'a> for $type {
            fn write(self, out: &mut Output<'a>) -> Result<()> {
                out.set_value(self.to_le_bytes().to_vec());
                Ok(())
            }
        }
    )* };
}
number_results!(i64, f64);

impl<'a> ScalarResult<'a> for bool {
    fn write(self, out: &mut Output<'a>) -> Result<()> {
        out.set_value(if self { b"\x01" } else { b"\x00" });
        Ok(())
    }
}
impl<'a, T: ScalarResult<'a>> ScalarResult<'a> for Option<T> {
    fn write(self, out: &mut Output<'a>) -> Result<()> {
        match self {
            Some(value) => value.write(out),
            None => {
                out.clear_value();
                Ok(())
            }
        }
    }
}
impl<'a, T: ScalarResult<'a>> ScalarResult<'a> for Result<T> {
    fn write(self, out: &mut Output<'a>) -> Result<()> {
        self?.write(out)
    }
}
