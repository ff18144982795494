//! Panics: those of handlers that are told to panic are contained by the server; any other is a
//! finding.

use std::cell::RefCell;
use std::panic;
use std::sync::{Once, OnceLock};
use std::time::Instant;

use crate::handler::Meant;

thread_local! {
    static SEEN: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes panics on this thread in place of printing them, if they come from a simulation.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if info.payload().is::<Meant>() {
                return;
            }
            SEEN.with_borrow_mut(|seen| *seen = Some(info.to_string()));
            before(info);
        }));
    });
    take();
}

/// The panic since the last call.
pub fn take() -> Option<String> {
    SEEN.take()
}

/// The instant that simulated time counts from. Only differences matter.
pub fn start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}
