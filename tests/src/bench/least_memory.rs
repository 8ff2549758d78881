//! How little memory a machine can have for a guest to boot and change a line.

use std::time::Duration;

use crate::peers::Peer;

/// What is tried, in MiB.
const SIZES: [u32; 16] = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 32, 64];
/// A guest that has no room may hang.
const PATIENCE: Duration = Duration::from_secs(15);

/// The least of the sizes with which the guest works; 0 if it works with none.
pub(crate) fn find(peer: Peer, board: &'static str) -> anyhow::Result<u32> {
    let mut sizes: &[u32] = &SIZES;
    let mut least = 0;
    while let Some(&size) = sizes.get(sizes.len() / 2) {
        let (smaller, larger) = sizes.split_at(sizes.len() / 2);
        if works(peer, board, size)? {
            least = size;
            sizes = smaller;
        } else {
            sizes = larger.get(1..).unwrap_or_default();
        }
    }
    Ok(least)
}

fn works(peer: Peer, board: &'static str, memory: u32) -> anyhow::Result<bool> {
    let words = if peer == Peer::Linux { "request:0:out set:0:1" } else { "set:1:1" };
    let scene = peer.scene(board, words)?.with_command(|mut command| {
        command.memory = memory;
        command
    });
    let mut running = scene.start()?;
    let ended = running.guest.wait(PATIENCE).is_ok_and(|status| status.success());
    let sign = if peer == Peer::Linux { "linux: done" } else { "bench set" };
    Ok(ended && running.console.lines().iter().any(|line| line.contains(sign)))
}
