//! The client's side of the dialogue: by scripts, by properties, and against the core.

mod allocation;
#[cfg(feature = "auth")]
mod authentication;
mod core_pair;
mod dialogues;
mod errors;
mod properties;
mod script;
mod time;
