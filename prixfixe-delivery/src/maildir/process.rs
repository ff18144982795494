//! Which process made a file, and whether it still runs.
//!
//! A process number alone says little: numbers come again, and each container has its own. So a
//! name also has what tells the processes apart that ever had this number: when it began, the boot,
//! and the name spaces that number and time belong to. Where any of these cannot be read nothing is
//! said, and nothing is judged.

use std::sync::LazyLock;

/// What this process puts into names; empty where the system does not tell.
pub(super) static MARK: LazyLock<String> = LazyLock::new(|| {
    system::own().map_or_else(String::new, |own| {
        format!("B{:016x}S{:x}", own.world, own.start)
    })
});

/// Where a process number means one process at a time, and when that process began there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Origin {
    world: u64,
    start: u64,
}

/// Of the unique part of a name: true where its process was one of ours and is gone.
pub(super) fn is_dead(unique: &str) -> bool {
    let Some((number, origin)) = parse(unique) else {
        return false;
    };
    system::own().is_some_and(|own| own.world == origin.world)
        && system::is_gone(number, origin.start)
}

/// `M1P2Q3R0000000000000004B0000000000000005S6`: process 2, its world and its start.
fn parse(unique: &str) -> Option<(u32, Origin)> {
    let (_, rest) = unique.split_once('P')?;
    let (number, rest) = rest.split_once('Q')?;
    let (_, rest) = rest.split_once('R')?;
    let (_, rest) = rest.split_once('B')?;
    let (world, start) = rest.split_once('S')?;
    let origin = Origin {
        world: u64::from_str_radix(world, 16).ok()?,
        start: u64::from_str_radix(start, 16).ok()?,
    };
    Some((number.parse().ok()?, origin))
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs;
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::io;

    use rustix::process::{Pid, test_kill_process};

    use super::Origin;

    pub(super) fn own() -> Option<Origin> {
        let boot = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
        let numbers = fs::read_link("/proc/self/ns/pid").ok()?;
        // Older kernels have one time for all.
        let time = fs::read_link("/proc/self/ns/time").ok();
        let mut hasher = DefaultHasher::new();
        (boot, numbers, time).hash(&mut hasher);
        Some(Origin {
            world: hasher.finish(),
            start: start(std::process::id())?.ok()?,
        })
    }

    /// `None`: what is there cannot be understood.
    fn start(number: u32) -> Option<io::Result<u64>> {
        let text = match fs::read_to_string(format!("/proc/{number}/stat")) {
            Ok(text) => text,
            Err(error) => return Some(Err(error)),
        };
        // The name of the program, in parentheses, may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        rest.split_whitespace().nth(19)?.parse().ok().map(Ok)
    }

    /// Processes of others may be hidden in `/proc`, but not from a signal.
    pub(super) fn is_gone(number: u32, began: u64) -> bool {
        let number_is_free = i32::try_from(number)
            .ok()
            .and_then(Pid::from_raw)
            .is_some_and(|pid| test_kill_process(pid) == Err(rustix::io::Errno::SRCH));
        number_is_free || matches!(start(number), Some(Ok(found)) if found != began)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::Origin;

    pub(super) fn own() -> Option<Origin> {
        None
    }

    pub(super) fn is_gone(_: u32, _: u64) -> bool {
        false
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_is_known_to_be_gone_is_dead() {
        let own = system::own().unwrap();
        let name = |number: u32, world: u64, start: u64| {
            format!("M1P{number}Q2R0000000000000003B{world:016x}S{start:x}")
        };
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let gone = child.id();
        child.wait().unwrap();
        let this = std::process::id();
        for (unique, dead) in [
            (name(this, own.world, own.start), false),
            // The number was another process's before.
            (name(this, own.world, own.start - 1), true),
            (name(gone, own.world, own.start), true),
            // Another boot or another container: who knows.
            (name(gone, own.world ^ 1, own.start), false),
            (format!("M1P{gone}Q2R0000000000000003"), false),
            ("12345_1".to_owned(), false),
            ("M1PxQ2R3B4S5".to_owned(), false),
        ] {
            assert_eq!(is_dead(&unique), dead, "{unique}");
        }
    }

    #[test]
    fn the_own_mark_is_read_back() {
        let unique = format!("M1P2Q3R0000000000000004{}", *MARK);
        assert_eq!(parse(&unique), Some((2, system::own().unwrap())));
    }
}
