//! Sends requests through one of two queues, for `scripts/instructions`, which counts what is executed in the functions
//! named `…_send` and `…_take`: `queue-instructions ours|theirs REQUESTS-AT-ONCE ROUNDS`.

mod device;
mod ours;
mod theirs;

/// The queue's sources, which the crate does not make public.
#[expect(dead_code, unused_imports, reason = "the driver uses more of it")]
#[path = "../../src/queue/mod.rs"]
mod queue;
#[expect(dead_code, reason = "the driver uses more of it")]
#[path = "../../src/shared.rs"]
mod shared;

// What those sources know by these names.
use virtio_gpio::{fence, memory, transport};

use ours::Ours;
use theirs::Theirs;

/// As large as the image makes its own.
const QUEUE_SIZE: usize = 64;
const REQUEST_SIZE: usize = 8;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |place: usize| arguments.get(place).and_then(|word| word.parse().ok());
    let (Some(which), Some(at_once), Some(rounds)) = (arguments.get(1), number(2), number(3)) else {
        eprintln!("usage: queue-instructions ours|theirs REQUESTS-AT-ONCE ROUNDS");
        std::process::exit(2);
    };
    if which == "ours" {
        let (mut queue, mut device) = Ours::new();
        device.work();
        for _ in 0..rounds {
            assert!(queue.ours_send(at_once), "the device wants to be notified");
            device.work();
            queue.ours_take(at_once);
        }
    } else {
        let (mut queue, mut device) = Theirs::new();
        device.work();
        for _ in 0..rounds {
            assert!(queue.theirs_send(at_once), "the device wants to be notified");
            device.work();
            queue.theirs_take(at_once);
        }
    }
}
