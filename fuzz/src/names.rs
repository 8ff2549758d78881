//! Names blocks of both protocols: whatever bytes a device has there, names are found in them as the specification says,
//! and what is shown of them is printable and bounded.

use std::time::Duration;

use virtio_gpio::{LineId, Name, Options};

use crate::device::{Device, Kind};
use crate::driver::{Bench, Plan};

/// Bytes of names that there is room for.
const LIMIT: usize = 192;

/// Sets a chip up with the names block that follows the first byte, which chooses the protocol.
pub fn run(data: &[u8]) {
    let Some((choice, block)) = data.split_first() else { return };
    let draft = choice & 1 != 0;
    // The draft's configuration space ends behind so many bytes of it.
    let block = block.get(..LIMIT).unwrap_or(block);
    let kind = Kind::with_names(draft, block.to_vec());
    let device = Device::new(&kind, Vec::new());
    let mut bench = Bench::default();
    // Small queues are set up quickly.
    let options = Options { request_queue_size: 4, event_queue_size: 4, ..Options::default() };
    let plan = Plan { options, names: LIMIT, ..Plan::default() };
    let chip = bench.chip(&device, &plan).expect("a healthy device can be set up");
    let whole = if draft {
        // The device keeps only whole names. A byte of ones is what lies behind the configuration space.
        let end = block.iter().rposition(|byte| *byte == 0).map_or(0, |end| end + 1);
        block[..end].split(|byte| *byte == 0xff).next().unwrap_or_default()
    } else {
        block
    };
    let mut expected = whole.split(|byte| *byte == 0);
    for line in (0..kind.lines()).map(LineId) {
        let expected = expected.next().filter(|name| !name.is_empty());
        let name = chip.name(line);
        assert_eq!(name.map(Name::as_bytes), expected, "{line:?}");
        if let Some(name) = name {
            let shown = name.to_string();
            assert!(shown.len() <= 4 * 64 + 3 && shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{shown:?}");
        }
        if let Some(text) = expected.and_then(|name| std::str::from_utf8(name).ok()) {
            let found = chip.find(text).expect("a name that a line has is found");
            assert!(found <= line, "the first line with a name has it");
        }
    }
    assert_eq!(chip.names().count().max(1), whole.split(|byte| *byte == 0).count().min(kind.lines().into()).max(1));
    crate::device::bounded(&device, Duration::from_secs(2), || drop(chip));
    assert!(device.memory_released());
    device.check_guards();
}
