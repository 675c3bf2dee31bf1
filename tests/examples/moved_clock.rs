//! A library for `LD_PRELOAD`: `clock_gettime(CLOCK_REALTIME)` is ahead of the true clock by the
//! number of seconds in the file `$SPA_TEST_CLOCK` (an i64, native byte order), which may change at
//! any time. Every other clock stays true.
//!
//! The file is mapped once, before the program has begun: a program that gives up the right to open
//! files goes on seeing it.
#![allow(unsafe_code, clippy::missing_safety_doc)]

use std::ffi::{c_int, c_long};
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};

use nix::libc;

static OFFSET: AtomicPtr<AtomicI64> = AtomicPtr::new(std::ptr::null_mut());

#[used]
#[unsafe(link_section = ".init_array")]
static BEGIN: extern "C" fn() = begin;

/// Maps the file.
extern "C" fn begin() {
    // SAFETY: plain system calls on a name that the environment keeps; the mapping is 8 bytes,
    // aligned and never undone.
    unsafe {
        let name = libc::getenv(c"SPA_TEST_CLOCK".as_ptr());
        if name.is_null() {
            return;
        }
        let fd = libc::open(name, libc::O_RDONLY | libc::O_CLOEXEC);
        let map = libc::mmap(std::ptr::null_mut(), 8, libc::PROT_READ, libc::MAP_SHARED, fd, 0);
        libc::close(fd);
        if map != libc::MAP_FAILED {
            OFFSET.store(map.cast(), Ordering::Release);
        }
    }
}

/// In the place of the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> c_int {
    // SAFETY: the caller's own promise about `time`; the mapping lives as long as the process.
    unsafe {
        let answer = libc::syscall(libc::SYS_clock_gettime, clock as c_long, time);
        let offset = OFFSET.load(Ordering::Acquire);
        if answer == 0 && clock == libc::CLOCK_REALTIME && !offset.is_null() {
            (*time).tv_sec += (*offset).load(Ordering::Relaxed);
        }
        answer as c_int
    }
}
