//! Drivers that send anything: nothing panics, answers keep their form, and every buffer comes back at most once.
#![expect(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "helpers of tests fail like tests")]

use std::collections::HashSet;

use gpio_model::bank::Bank;
use gpio_model::{Token, draft, ratified};
use virtio_gpio::messages::{Level, LineId};

const LINES: u16 = 5;
const STEPS: u32 = 200_000;

/// xorshift32: the same bytes in every run.
struct Random(u32);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.next() % limit
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    /// Mostly a message that makes sense; sometimes one that has any bytes.
    fn message(&mut self) -> [u8; 8] {
        let mut bytes = [self.below(8), 0, self.below(6), 0, self.below(10), 0, 0, 0].map(|word| word.to_le_bytes()[0]);
        if self.below(4) == 0 {
            bytes[self.below(8) as usize] = self.byte();
        }
        bytes
    }
}

#[test]
fn ratified_device_bears_any_driver() {
    let mut random = Random(0x1234_5678);
    let mut device = ratified::Device::new(Bank::new(LINES), ratified::Options::default());
    device.set_features(1);
    let mut lent: HashSet<u16> = HashSet::new();
    for step in 0..STEPS {
        match random.below(16) {
            0..8 => {
                let request = random.message();
                let readable = if random.below(20) == 0 { random.below(9) as usize } else { 8 };
                let mut response = [0xaa; 4];
                let room = if random.below(10) == 0 { random.below(5) as usize } else { 2 };
                let written = device.request(&request[..readable], &mut response[..room]);
                assert_eq!(written, room.min(2), "step {step}");
                assert!(written == 0 || response[0] <= 1, "step {step}: {response:?}");
            }
            8..12 => {
                let pair = step.to_le_bytes();
                let pair = u16::from_le_bytes([pair[0], pair[1]]);
                if lent.insert(pair) {
                    let line = [random.below(u32::from(LINES) + 1).to_le_bytes()[0], 0];
                    let readable = if random.below(20) == 0 { random.below(3) as usize } else { 2 };
                    device.queue_event(Token(pair), &line[..readable], random.below(3) as usize);
                }
            }
            12..15 => {
                let line = LineId(random.next().to_le_bytes()[0].into());
                let drive = [None, Some(Level::Low), Some(Level::High)][random.below(3) as usize];
                assert_eq!(device.drive(line, drive).is_ok(), line.0 < LINES, "step {step}");
            }
            _ if random.below(100) == 0 => {
                device.reset();
                device.set_features(random.next().into());
                lent.clear();
            }
            _ => {}
        }
        while let Some((Token(pair), _)) = device.pop_event() {
            assert!(lent.remove(&pair), "step {step}: {pair} came back, but it was not lent");
        }
        assert!(lent.len() <= LINES.into(), "step {step}: {lent:?} are held");
    }
}

#[test]
fn draft_device_bears_any_driver() {
    let mut random = Random(0x8765_4321);
    let mut device = draft::Device::new(Bank::new(LINES), draft::Options::default());
    device.set_driver_ready(true);
    for step in 0..STEPS {
        let mut bytes = [random.message(), random.message(), random.message()].concat();
        bytes.truncate(random.below(25) as usize);
        device.transmit(&bytes);
        for message in bytes.as_chunks::<8>().0 {
            // A level may be told of in between; it is no reply.
            while device.next_message().is_some_and(|message| message.kind == 0x11) {
                device.message_sent();
            }
            let reply = device.next_message().expect("a reply to each message").encode();
            device.message_sent();
            assert_eq!(reply[..4], [message[0], message[1] | 0x80, message[2], message[3]], "step {step}");
        }
        let line = LineId(random.byte().into());
        assert_eq!(device.drive(line, Some(Level::from(step % 2 == 0))).is_ok(), line.0 < LINES, "step {step}");
        while device.next_message().is_some() {
            device.message_sent();
        }
    }
}
