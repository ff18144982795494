//! One line for each message, as its reader sees it.

use super::*;

/// Takes so many octets and then has no room.
#[derive(Clone, Default)]
struct Room(Arc<Mutex<(Vec<u8>, usize)>>);

impl Write for Room {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (text, left) = &mut *self.0.lock().unwrap();
        let taken = bytes.len().min(*left);
        if taken == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        text.extend_from_slice(&bytes[..taken]);
        *left -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn without_traffic_the_end_of_a_fault_is_found_by_ending_the_line_that_was_cut_off() {
    let room = Room::default();
    let prepared = PreparedStdout::new(room.clone(), Duration::from_millis(1));
    let stdout = prepared.start().unwrap();
    let (sink, mut health) = (Arc::clone(&stdout.shared.sink), stdout.health());

    room.0.lock().unwrap().1 = 3;
    let error = sink.write(b"{\"id\"}\n").unwrap_err();
    sink.monitor
        .failed(Arc::new(Fault::new("write to", STANDARD_OUTPUT, error)));
    health.changed().await;
    // A probe that fails shows its own fault.
    health.changed().await;
    assert!(health.fault().unwrap().is_no_space());

    room.0.lock().unwrap().1 = 100;
    while health.fault().is_some() {
        health.changed().await;
    }
    sink.write(b"{}\n").unwrap();
    assert_eq!(room.0.lock().unwrap().0, b"{\"i\n{}\n");
}
