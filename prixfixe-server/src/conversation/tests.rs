//! What a conversation costs.

use super::*;
use crate::Reply;

async fn accept(_: Message) -> Result<Accepted, Reply> {
    Ok(Accepted::default())
}

/// Each idle connection holds one.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_conversation_has_room_for_each_hook_once() {
    let future = run::run(Arc::new(accept), Checks::default());
    let size = size_of_val(&future);
    assert!(size <= 416, "{size}");
}
