//! The kinds of transforms, and the macros that export them.

use crate::abi;
use crate::record::*;

/// What every transform with parameters has.
pub trait Transform: Sized {
    /// Once, before the first record. A parameter that it does not ask for is an error.
    fn init(parameters: &Parameters) -> Result<Self>;
    /// Each last record of the topic, once at the start; for one that is declared with `look_back`.
    fn look_back(&mut self, _record: &Record<'_>) -> Result<()> {
        Ok(())
    }
}
pub trait Filter: Transform {
    /// Whether the record stays.
    fn filter(&mut self, record: &Record<'_>) -> Result<bool>;
}
pub trait Map: Transform {
    /// Changes `out`, which is a copy of the record.
    fn map<'a>(&mut self, record: &Record<'a>, out: &mut Output<'a>) -> Result<()>;
}
pub trait FilterMap: Transform {
    /// Changes `out`; whether it stays.
    fn filter_map<'a>(&mut self, record: &Record<'a>, out: &mut Output<'a>) -> Result<bool>;
}
pub trait Expand: Transform {
    /// `emit.record()` begins each record of the result.
    fn expand<'a>(&mut self, record: &Record<'a>, emit: &mut Emit<'a>) -> Result<()>;
}
pub trait Aggregate: Transform {
    fn aggregate<'a>(&mut self, record: &Record<'a>, state: &mut State<'a>, emit: &mut Emit<'a>) -> Result<()>;
}

/// What closures give.
pub trait Kept {
    fn kept(self) -> Result<bool>;
}
impl Kept for bool {
    fn kept(self) -> Result<bool> {
        Ok(self)
    }
}
impl Kept for () {
    fn kept(self) -> Result<bool> {
        Ok(true)
    }
}
impl Kept for Result<bool> {
    fn kept(self) -> Result<bool> {
        self
    }
}
impl Kept for Result<()> {
    fn kept(self) -> Result<bool> {
        self.map(|_| true)
    }
}

/// The batch that a call gives back, built record by record; where expand and aggregate put theirs.
pub struct Emit<'a> {
    batch: &'a mut abi::Batch,
    from: &'a abi::Batch,
    room: usize,
    input: u32,
}

impl<'a> Emit<'a> {
    unsafe fn new(from: &'a abi::Batch) -> Emit<'a> {
        let batch: *mut abi::Batch = abi::take(1);
        *batch = abi::Batch {
            version: 1,
            count: 0,
            records: abi::take(from.count as usize),
            error_count: 0,
            errors: std::ptr::null_mut(),
            state_count: from.state_count,
            states: from.states,
            reserved: [0; 3],
        };
        Emit { batch: &mut *batch, from, room: from.count as usize, input: 0 }
    }

    /// Begins a record of the result, as the one it comes from.
    pub fn record(&mut self) -> Output<'a> {
        let count = self.batch.count as usize;
        unsafe {
            if count == self.room {
                self.room = self.room * 2 + 16;
                let more: *mut abi::Record = abi::take(self.room);
                std::ptr::copy_nonoverlapping(self.batch.records, more, count);
                self.batch.records = more;
            }
            let raw = &mut *self.batch.records.add(count);
            *raw = *self.from.records.add(self.input as usize);
            raw.input = self.input;
            self.batch.count += 1;
            Output { raw }
        }
    }

    fn error(&mut self, why: Error) {
        let message = why.0.bytes();
        unsafe {
            if self.batch.errors.is_null() {
                self.batch.errors = abi::take(self.from.count as usize);
            }
            *self.batch.errors.add(self.batch.error_count as usize) =
                abi::Error { input: self.input, message: message.as_ptr(), message_size: message.len() as u32 };
        }
        self.batch.error_count += 1;
    }
}

/// Gives each record of the batch to `call`. One that fails, or is not kept, leaves nothing behind.
unsafe fn each<'a>(batch: *mut abi::Batch, mut call: impl FnMut(Record<'a>, &mut Emit<'a>) -> Result<bool>) -> *mut abi::Batch {
    let from: &'a abi::Batch = &*batch;
    let mut emit = Emit::new(from);
    for i in 0..from.count {
        emit.input = i;
        let before = emit.batch.count;
        let kept = call(Record { raw: &*from.records.add(i as usize) }, &mut emit);
        if !matches!(kept, Ok(true)) {
            emit.batch.count = before;
        }
        if let Err(why) = kept {
            emit.error(why);
        }
    }
    emit.batch
}

/// # Safety
/// Of these functions: `batch` is one that docs/guest-abi.md describes.
pub unsafe fn filter<T: Filter>(transform: &mut T, batch: *mut abi::Batch) -> *mut abi::Batch {
    each(batch, |record, emit| {
        let keep = transform.filter(&record)?;
        if keep {
            emit.record();
        }
        Ok(keep)
    })
}
/// # Safety
/// See filter.
pub unsafe fn map<T: Map>(transform: &mut T, batch: *mut abi::Batch) -> *mut abi::Batch {
    each(batch, |record, emit| transform.map(&record, &mut emit.record()).kept())
}
/// # Safety
/// See filter.
pub unsafe fn filter_map<T: FilterMap>(transform: &mut T, batch: *mut abi::Batch) -> *mut abi::Batch {
    each(batch, |record, emit| transform.filter_map(&record, &mut emit.record()))
}
/// # Safety
/// See filter.
pub unsafe fn expand<T: Expand>(transform: &mut T, batch: *mut abi::Batch) -> *mut abi::Batch {
    each(batch, |record, emit| transform.expand(&record, emit).kept())
}
/// # Safety
/// See filter.
pub unsafe fn aggregate<T: Aggregate>(transform: &mut T, batch: *mut abi::Batch) -> *mut abi::Batch {
    let states = (*batch).states;
    each(batch, |record, emit| {
        let known = states.add(record.raw.state as usize);
        let as_it_was = *known;
        let done = transform.aggregate(&record, &mut State { raw: &mut *known }, emit);
        if done.is_err() {
            *known = as_it_was;
        }
        done.kept()
    })
}
/// # Safety
/// See filter.
pub unsafe fn scalar<T: Map>(transform: &mut T, batch: *mut abi::Batch) -> *mut abi::Batch {
    each(batch, |record, emit| {
        let mut out = emit.record();
        out.clear_headers();
        transform.map(&record, &mut out).kept()
    })
}

/// # Safety
/// See filter.
pub unsafe fn init<T: Transform>(batch: *mut abi::Batch) -> Result<T> {
    let record = ((*batch).count != 0).then(|| Record { raw: &*(*batch).records });
    let parameters = Parameters::of(record);
    let transform = T::init(&parameters)?;
    parameters.all_asked()?;
    Ok(transform)
}

/// # Safety
/// See filter.
pub unsafe fn look_back<T: Transform>(transform: &mut T, batch: *mut abi::Batch) -> Result<()> {
    for i in 0..(*batch).count as usize {
        transform.look_back(&Record { raw: &*(*batch).records.add(i) })?;
    }
    Ok(())
}

/// # Safety
/// `at` is null, or what init made.
pub unsafe fn started<'a, T>(at: *mut T) -> &'a mut T {
    at.as_mut().expect("init comes before all else")
}

/// Says through the host why a call failed.
pub fn told(result: Result<()>) -> bool {
    if let Err(why) = &result {
        abi::fail(&why.0);
    }
    result.is_ok()
}

/// A row's arguments, when there are as many as the function takes.
pub fn arguments<'a>(row: &Record<'a>, count: usize) -> Result<&'a [abi::Header]> {
    let given = row.raw_headers();
    if given.len() != count {
        return Err(format!("it takes {count} arguments, not {}", given.len()).into());
    }
    Ok(given)
}

/// A transform that a module exports; for tests.
pub struct Registered {
    pub kind: &'static str,
    pub name: &'static str,
    pub run: unsafe extern "C" fn(*mut abi::Batch) -> *mut abi::Batch,
    pub init: unsafe extern "C" fn(*mut abi::Batch) -> bool,
    pub look_back: Option<unsafe extern "C" fn(*mut abi::Batch) -> bool>,
}

const fn is_name(name: &str) -> bool {
    let name = name.as_bytes();
    let mut i = 0;
    while i < name.len() {
        let good = matches!(name[i], b'a'..=b'z' | b'0'..=b'9' | b'_');
        if !good || (name[i] == b'_' && i + 1 < name.len() && name[i + 1] == b'_') {
            return false;
        }
        i += 1;
    }
    true
}
pub const fn check_name(name: &str) {
    assert!(is_name(name), "a transform's name is of a-z, 0-9 and single _");
}

/// Exports transform `$name` of type `$type`, and makes it known to tests as `$name::TRANSFORM`.
#[doc(hidden)]
#[macro_export]
macro_rules! export_transform {
    ($kind:ident, $name:ident, $type:ty) => {
        $crate::export_transform!(@ $kind, $name, $type, None, {});
    };
    ($kind:ident, $name:ident, $type:ty, look_back) => {
        $crate::export_transform!(@ $kind, $name, $type, Some(look_back), {
            #[cfg_attr(target_arch = "wasm32", export_name = concat!("millrace__look_back__", stringify!($name)))]
            unsafe extern "C" fn look_back(batch: *mut $crate::abi::Batch) -> bool {
                $crate::kinds::told($crate::kinds::look_back::<$type>($crate::kinds::started(INSTANCE.with(|at| at.get())), batch))
            }
        });
    };
    (@ $kind:ident, $name:ident, $type:ty, $look:expr, { $($extra:item)* }) => {
        // A type, since a static of that name would forbid variables of that name.
        #[allow(non_camel_case_types)]
        pub struct $name {}
        impl $name {
            pub const TRANSFORM: $crate::kinds::Registered = {
                const _: () = $crate::kinds::check_name(stringify!($name));
                std::thread_local! {
                    static INSTANCE: std::cell::Cell<*mut $type> = const { std::cell::Cell::new(std::ptr::null_mut()) };
                }
                #[cfg_attr(target_arch = "wasm32", export_name = concat!("millrace__", stringify!($kind), "__", stringify!($name)))]
                unsafe extern "C" fn run(batch: *mut $crate::abi::Batch) -> *mut $crate::abi::Batch {
                    $crate::kinds::$kind::<$type>($crate::kinds::started(INSTANCE.with(|at| at.get())), batch)
                }
                #[cfg_attr(target_arch = "wasm32", export_name = concat!("millrace__init__", stringify!($name)))]
                unsafe extern "C" fn init(batch: *mut $crate::abi::Batch) -> bool {
                    let made = $crate::kinds::init::<$type>(batch);
                    $crate::kinds::told(made.map(|made| INSTANCE.with(|at| at.set(Box::into_raw(Box::new(made))))))
                }
                $($extra)*
                $crate::kinds::Registered { kind: stringify!($kind), name: stringify!($name), run, init, look_back: $look }
            };
        }
    };
}

/// A closure's type is the transform itself, and takes no parameters.
#[doc(hidden)]
#[macro_export]
macro_rules! closure_transform {
    ($name:ident) => {
        impl $crate::Transform for $name {
            fn init(parameters: &$crate::Parameters) -> $crate::Result<Self> {
                parameters.none()?;
                Ok($name {})
            }
        }
    };
}

#[macro_export]
macro_rules! filter {
    ($name:ident, |$record:ident| -> $result:ty $body:block) => {
        $crate::closure_transform!($name);
        impl $crate::Filter for $name {
            fn filter(&mut self, $record: &$crate::Record<'_>) -> $crate::Result<bool> {
                $crate::kinds::Kept::kept((|| -> $result { $body })())
            }
        }
        $crate::export_transform!(filter, $name, $name);
    };
    ($name:ident, |$record:ident| $body:expr) => {
        $crate::filter!($name, |$record| -> bool { $body });
    };
    ($name:ident, $type:ty $(, $look_back:ident)?) => {
        $crate::export_transform!(filter, $name, $type $(, $look_back)?);
    };
}

#[macro_export]
macro_rules! map {
    ($name:ident, |$record:ident, $out:ident| -> $result:ty $body:block) => {
        $crate::closure_transform!($name);
        impl $crate::Map for $name {
            fn map<'a>(&mut self, $record: &$crate::Record<'a>, $out: &mut $crate::Output<'a>) -> $crate::Result<()> {
                $crate::kinds::Kept::kept((|| -> $result { $body })()).map(|_| ())
            }
        }
        $crate::export_transform!(map, $name, $name);
    };
    ($name:ident, |$record:ident, $out:ident| $body:expr) => {
        $crate::map!($name, |$record, $out| -> () { $body });
    };
    ($name:ident, $type:ty $(, $look_back:ident)?) => {
        $crate::export_transform!(map, $name, $type $(, $look_back)?);
    };
}

#[macro_export]
macro_rules! filter_map {
    ($name:ident, |$record:ident, $out:ident| -> $result:ty $body:block) => {
        $crate::closure_transform!($name);
        impl $crate::FilterMap for $name {
            fn filter_map<'a>(&mut self, $record: &$crate::Record<'a>, $out: &mut $crate::Output<'a>) -> $crate::Result<bool> {
                $crate::kinds::Kept::kept((|| -> $result { $body })())
            }
        }
        $crate::export_transform!(filter_map, $name, $name);
    };
    ($name:ident, |$record:ident, $out:ident| $body:expr) => {
        $crate::filter_map!($name, |$record, $out| -> bool { $body });
    };
    ($name:ident, $type:ty $(, $look_back:ident)?) => {
        $crate::export_transform!(filter_map, $name, $type $(, $look_back)?);
    };
}

#[macro_export]
macro_rules! expand {
    ($name:ident, |$record:ident, $emit:ident| -> $result:ty $body:block) => {
        $crate::closure_transform!($name);
        impl $crate::Expand for $name {
            fn expand<'a>(&mut self, $record: &$crate::Record<'a>, $emit: &mut $crate::Emit<'a>) -> $crate::Result<()> {
                $crate::kinds::Kept::kept((|| -> $result { $body })()).map(|_| ())
            }
        }
        $crate::export_transform!(expand, $name, $name);
    };
    ($name:ident, |$record:ident, $emit:ident| $body:expr) => {
        $crate::expand!($name, |$record, $emit| -> () { $body });
    };
    ($name:ident, $type:ty $(, $look_back:ident)?) => {
        $crate::export_transform!(expand, $name, $type $(, $look_back)?);
    };
}

#[macro_export]
macro_rules! aggregate {
    ($name:ident, |$record:ident, $state:ident, $emit:ident| -> $result:ty $body:block) => {
        $crate::closure_transform!($name);
        impl $crate::Aggregate for $name {
            fn aggregate<'a>(&mut self, $record: &$crate::Record<'a>, $state: &mut $crate::State<'a>, $emit: &mut $crate::Emit<'a>) -> $crate::Result<()> {
                $crate::kinds::Kept::kept((|| -> $result { $body })()).map(|_| ())
            }
        }
        $crate::export_transform!(aggregate, $name, $name);
    };
    ($name:ident, |$record:ident, $state:ident, $emit:ident| $body:expr) => {
        $crate::aggregate!($name, |$record, $state, $emit| -> () { $body });
    };
    ($name:ident, $type:ty $(, $look_back:ident)?) => {
        $crate::export_transform!(aggregate, $name, $type $(, $look_back)?);
    };
}

/// A SQL function: `scalar!(area, |width: f64, height: f64| -> f64 { width * height });`, or, with parameters that a type's
/// init has read, `scalar!(exchange, Rates, |rates, currency: &[u8], amount: f64| -> Result<f64> { ... });`
#[macro_export]
macro_rules! scalar {
    ($name:ident, |$($argument:ident : $type:ty),*| -> $result:ty $body:block) => {
        $crate::closure_transform!($name);
        $crate::scalar!($name, $name, |_this $(, $argument: $type)*| -> $result $body);
    };
    ($name:ident, $transform:ty, |$this:ident $(, $argument:ident : $type:ty)*| -> $result:ty $body:block) => {
        impl $crate::Map for $transform {
            fn map<'a>(&mut self, row: &$crate::Record<'a>, out: &mut $crate::Output<'a>) -> $crate::Result<()> {
                let count = 0 $(+ { let _ = stringify!($argument); 1 })*;
                let arguments = $crate::kinds::arguments(row, count)?;
                // SQL's rule: null of null, save where the function says that it looks at nulls.
                let mut each = arguments.iter();
                if false $(|| <$type as $crate::Argument>::is_null(each.next().unwrap()))* {
                    out.clear_value();
                    return Ok(());
                }
                let mut each = arguments.iter();
                $(let $argument = <$type as $crate::Argument>::read(each.next().unwrap())?;)*
                let $this = self;
                $crate::ScalarResult::write((move || -> $result { $body })(), out)
            }
        }
        $crate::export_transform!(scalar, $name, $transform);
    };
}
