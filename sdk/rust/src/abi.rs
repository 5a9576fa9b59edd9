//! What the host and a module hand each other: docs/guest-abi.md, version 1. Pointers are the 32-bit addresses of that
//! page in a module, and the machine's own when a transform is tested natively; the code is the same.

use std::alloc::{alloc, dealloc, Layout};
use std::cell::Cell;
use std::ptr::null_mut;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Header {
    pub name: *const u8,
    pub name_size: u32,
    pub value: *const u8,
    /// -1: null
    pub value_size: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Record {
    /// Milliseconds.
    pub timestamp: i64,
    /// -1: none yet
    pub offset: i64,
    pub key: *const u8,
    pub key_size: i32,
    pub value: *const u8,
    pub value_size: i32,
    pub headers: *const Header,
    pub header_count: u32,
    /// Of a result: the index in the call's batch of the record that it comes from.
    pub input: u32,
    /// Which of the batch's states is its key's.
    pub state: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Error {
    pub input: u32,
    pub message: *const u8,
    pub message_size: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct State {
    pub key: *const u8,
    pub key_size: i32,
    pub value: *const u8,
    /// -1: none yet, or remove it
    pub value_size: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Batch {
    pub version: u32,
    pub count: u32,
    pub records: *mut Record,
    pub error_count: u32,
    pub errors: *mut Error,
    pub state_count: u32,
    pub states: *mut State,
    pub reserved: [u32; 3],
}

#[cfg(target_arch = "wasm32")]
const _: () = assert!(
    std::mem::size_of::<Header>() == 16
        && std::mem::size_of::<Record>() == 48
        && std::mem::size_of::<Error>() == 12
        && std::mem::size_of::<State>() == 16
        && std::mem::size_of::<Batch>() == 40
);

#[cfg(target_arch = "wasm32")]
mod host {
    #[link(wasm_import_module = "millrace")]
    extern "C" {
        #[link_name = "log"]
        fn millrace_log(level: i32, at: *const u8, size: u32);
        #[link_name = "fail"]
        fn millrace_fail(at: *const u8, size: u32);
    }
    pub fn log(level: i32, text: &str) {
        unsafe { millrace_log(level, text.as_ptr(), text.len() as u32) }
    }
    pub fn fail(why: &str) {
        unsafe { millrace_fail(why.as_ptr(), why.len() as u32) }
    }

    #[no_mangle]
    pub extern "C" fn millrace_abi_1() {}

    #[no_mangle]
    pub extern "C" fn millrace_alloc(size: u32) -> *mut u8 {
        super::reset();
        super::try_take(size as usize)
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod host {
    use std::cell::RefCell;
    thread_local! {
        /// What a native run said, for the test that runs it.
        pub static LOGGED: RefCell<Vec<(i32, String)>> = RefCell::new(Vec::new());
        pub static FAILED: RefCell<String> = RefCell::new(String::new());
    }
    pub fn log(level: i32, text: &str) {
        LOGGED.with(|logged| logged.borrow_mut().push((level, text.into())));
    }
    pub fn fail(why: &str) {
        FAILED.with(|failed| *failed.borrow_mut() = why.into());
    }
}
pub use host::*;

/// A block of the arena: memory for one batch and its result, taken piece by piece, given back at once when the next batch
/// comes. What it once needed it keeps, in one block, so that a module at work asks for no memory.
#[repr(C, align(8))]
struct Block {
    before: *mut Block,
    size: usize,
}

const FIRST: usize = 64 * 1024;
const HEAD: usize = (std::mem::size_of::<Block>() + 7) & !7;

thread_local! {
    static BLOCK: Cell<*mut Block> = const { Cell::new(null_mut()) };
    static USED: Cell<usize> = const { Cell::new(0) };
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(HEAD + size, 8).expect("a size that fits the memory")
}

fn grow(size: usize) -> bool {
    let before = BLOCK.with(Cell::get);
    let last = if before.is_null() { FIRST / 2 } else { unsafe { (*before).size } };
    for most in [size.max(last * 2), size] {
        unsafe {
            let block = alloc(layout(most)) as *mut Block;
            if block.is_null() {
                continue;
            }
            *block = Block { before, size: most };
            BLOCK.with(|b| b.set(block));
            USED.with(|u| u.set(0));
        }
        return true;
    }
    false
}

/// 8-aligned room; null when memory is out.
pub fn try_take(size: usize) -> *mut u8 {
    let size = (size + 7) & !7;
    let mut block = BLOCK.with(Cell::get);
    let mut used = USED.with(Cell::get);
    if block.is_null() || size > unsafe { (*block).size } - used {
        if !grow(size) {
            return null_mut();
        }
        block = BLOCK.with(Cell::get);
        used = 0;
    }
    USED.with(|u| u.set(used + size));
    unsafe { (block as *mut u8).add(HEAD + used) }
}

/// The same. Out of memory ends the call: the host reports the trap and goes on with a fresh instance.
pub fn take<T>(count: usize) -> *mut T {
    let at = try_take(count * std::mem::size_of::<T>());
    if at.is_null() {
        fail("out of memory");
        std::process::abort();
    }
    at as *mut T
}

/// Ends the life of all that was taken.
pub fn reset() {
    USED.with(|u| u.set(0));
    let mut block = BLOCK.with(Cell::get);
    if block.is_null() || unsafe { (*block).before.is_null() } {
        return;
    }
    let mut all = 0;
    while !block.is_null() {
        unsafe {
            let Block { before, size } = *block;
            dealloc(block as *mut u8, layout(size));
            all += size;
            block = before;
        }
    }
    BLOCK.with(|b| b.set(null_mut()));
    grow(all);
}

/// The bytes of a field; none for null.
///
/// # Safety
/// `at` and `size` are of a batch, which lives for `'a`.
pub unsafe fn bytes<'a>(at: *const u8, size: i32) -> &'a [u8] {
    if size <= 0 {
        &[]
    } else {
        std::slice::from_raw_parts(at, size as usize)
    }
}
