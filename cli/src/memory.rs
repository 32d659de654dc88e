//! The program's allocator, and giving memory back.

/// The committer makes many small records and frames, and drops them on another thread: the system's allocator spent a fifth
/// of its time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives back to the system what this thread holds and does not use.
///
/// The allocator does that by itself only where it is asked for more: after a crowd has gone nobody asks. To have it done
/// at once each time (`MIMALLOC_PURGE_DELAY=0`) costs a stored message a fifth more processor time.
#[expect(unsafe_code, reason = "the allocator cannot be asked otherwise")]
pub fn give_back() {
    // SAFETY: it may be called at any time from any thread, and looks at what is free only.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
