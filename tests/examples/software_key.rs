//! A FIDO2 security key in software, as a provider of OpenSSH's ssh-sk-helper (its PROTOCOL.u2f and
//! sk-api.h, version 10): what it is told to touch, it touches. The key's secret is its handle, so
//! it is worth nothing outside of tests.
#![allow(unsafe_code, clippy::missing_safety_doc)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io::Write;

use nix::libc;
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair};

/// `SSH_SK_VERSION_MAJOR` of OpenSSH 8.9 and later.
const VERSION: u32 = 0x000a_0000;
/// `SSH_SK_ED25519`.
const ED25519: u32 = 1;
/// `SSH_SK_ERR_GENERAL` and `SSH_SK_ERR_UNSUPPORTED`.
const FAILED: c_int = -1;
const UNSUPPORTED: c_int = -2;

#[repr(C)]
struct Bytes {
    data: *mut u8,
    len: usize,
}

#[repr(C)]
struct Enrolled {
    flags: u8,
    public_key: Bytes,
    key_handle: Bytes,
    signature: Bytes,
    attestation_cert: Bytes,
    authdata: Bytes,
}

#[repr(C)]
struct Signed {
    flags: u8,
    counter: u32,
    sig_r: Bytes,
    sig_s: Bytes,
}

/// A copy that the caller frees with free(3).
fn given(bytes: &[u8]) -> Bytes {
    // SAFETY: malloc gives room for so many bytes, or nothing, which is looked at.
    let data = unsafe { libc::malloc(bytes.len().max(1)) }.cast::<u8>();
    if !data.is_null() {
        // SAFETY: both are valid for so many bytes and do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len()) };
    }
    Bytes { data, len: bytes.len() }
}

const NONE: Bytes = Bytes { data: std::ptr::null_mut(), len: 0 };

/// The same for one of the two answers.
fn answered<T>(value: T, to: *mut *mut T) -> c_int {
    // SAFETY: the caller gives a place for one pointer; malloc's room is aligned for any type.
    unsafe {
        let room = libc::malloc(size_of::<T>()).cast::<T>();
        if room.is_null() {
            return FAILED;
        }
        room.write(value);
        to.write(room);
    }
    0
}

#[unsafe(no_mangle)]
extern "C" fn sk_api_version() -> u32 {
    VERSION
}

#[unsafe(no_mangle)]
extern "C" fn sk_enroll(
    alg: u32,
    _challenge: *const u8,
    _challenge_len: usize,
    _application: *const c_char,
    flags: u8,
    _pin: *const c_char,
    _options: *mut *mut c_void,
    answer: *mut *mut Enrolled,
) -> c_int {
    let Ok(seed) = spa_proto::random::<32>() else { return FAILED };
    match Ed25519KeyPair::from_seed_unchecked(&seed) {
        Ok(pair) if alg == ED25519 => {
            let enrolled = Enrolled {
                flags,
                public_key: given(pair.public_key().as_ref()),
                key_handle: given(&seed),
                signature: given(&[0; 64]),
                attestation_cert: NONE,
                authdata: NONE,
            };
            answered(enrolled, answer)
        }
        _ => UNSUPPORTED,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sk_sign(
    alg: u32,
    data: *const u8,
    data_len: usize,
    application: *const c_char,
    key_handle: *const u8,
    key_handle_len: usize,
    flags: u8,
    _pin: *const c_char,
    _options: *mut *mut c_void,
    answer: *mut *mut Signed,
) -> c_int {
    // SAFETY: ssh-sk-helper gives valid memory of these lengths, and a string that ends.
    let (data, handle, application) = unsafe {
        (
            std::slice::from_raw_parts(data, data_len),
            std::slice::from_raw_parts(key_handle, key_handle_len),
            CStr::from_ptr(application).to_bytes(),
        )
    };
    let (flags, counter) = (flags & 1, 7_u32);
    count_touch();
    match Ed25519KeyPair::from_seed_unchecked(handle) {
        Ok(pair) if alg == ED25519 => {
            let (application, data) = (digest(&SHA256, application), digest(&SHA256, data));
            let text =
                [application.as_ref(), &[flags], &counter.to_be_bytes(), data.as_ref()].concat();
            let signed =
                Signed { flags, counter, sig_r: given(pair.sign(&text).as_ref()), sig_s: NONE };
            answered(signed, answer)
        }
        _ => UNSUPPORTED,
    }
}

/// One byte more in the file that ssh-agent's environment names, if it names one.
fn count_touch() {
    let Some(file) = std::env::var_os("SOFTWARE_KEY_TOUCHES") else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(file);
    let _counted = file.and_then(|mut file| file.write_all(b"."));
}

#[unsafe(no_mangle)]
extern "C" fn sk_load_resident_keys(
    _pin: *const c_char,
    _options: *mut *mut c_void,
    _keys: *mut *mut *mut c_void,
    _count: *mut usize,
) -> c_int {
    UNSUPPORTED
}
