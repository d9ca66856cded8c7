//! Counts the bytes that live on the heap while asked to, so that memory is measured and not estimated from a process that
//! keeps what it once had.
#![allow(unsafe_code, reason = "an allocator is unsafe by its interface; this one only counts and passes on")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static LIVE: AtomicI64 = AtomicI64::new(0);

struct Counting;

/// What a piece takes with its bookkeeping: as glibc's allocator rounds, a word of its own and multiples of two words.
fn footprint(size: usize) -> i64 {
    let whole = (size + 8).next_multiple_of(16).max(32);
    i64::try_from(whole).unwrap_or(i64::MAX)
}

fn count(bytes: i64) {
    if COUNTS.load(Ordering::Relaxed) {
        LIVE.fetch_add(bytes, Ordering::Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator with the arguments it came with; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(footprint(layout.size()));
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(footprint(layout.size()));
        // SAFETY: the caller keeps `alloc_zeroed`'s contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(footprint(size) - footprint(layout.size()));
        // SAFETY: the caller keeps `realloc`'s contract.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-footprint(layout.size()));
        // SAFETY: the caller keeps `dealloc`'s contract.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Begins to count from zero. What is freed meanwhile that was there before is counted as less.
pub(crate) fn begin() {
    LIVE.store(0, Ordering::SeqCst);
    COUNTS.store(true, Ordering::SeqCst);
}

/// Ends counting: bytes that were allocated since and still live.
pub(crate) fn end() -> i64 {
    COUNTS.store(false, Ordering::SeqCst);
    LIVE.load(Ordering::SeqCst)
}
