//! Where memory comes from, and when it goes back.

/// Runs and answers are many small pieces: a tenth of a run's CPU went into the system's allocator (`make bench`).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives back to the system what is free. It would be given back little by little by whoever allocates next, which on an idle server is nobody: loading
/// guards leaves 100 MB and more.
pub(crate) fn give_back() {
    #[expect(unsafe_code, reason = "the allocator's crate has no safe call for this; it takes no pointer and may be called at any time")]
    unsafe {
        libmimalloc_sys::mi_collect(true);
    }
}
