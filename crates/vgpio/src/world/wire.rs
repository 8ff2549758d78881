//! Wires from outputs to other lines.

use std::time::Duration;

use gpio_model::bank::Line;
use virtio_gpio::messages::{Direction, Level};

use super::place::Place;

/// A wire: while `from` is an output, it drives `to` to the same level, or to the opposite one.
///
/// A wire follows only what the guest drives, and what it drives itself is no output: so it never feeds another wire,
/// and wires in a circle come to rest at once. When `from` stops to be an output, the wire lets go of `to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wire {
    /// The line that is followed.
    pub from: Place,
    /// The line that is driven.
    pub to: Place,
    /// Whether it is driven to the opposite level.
    pub inverted: bool,
    /// How much later. Every change arrives, also one that is shorter than the delay. With zero it is the same instant,
    /// right after the change of `from`.
    pub delay: Duration,
}

impl Wire {
    /// A wire that is neither inverted nor delayed.
    pub fn new(from: Place, to: Place) -> Self {
        Self { from, to, inverted: false, delay: Duration::ZERO }
    }
}

/// A wire that has been laid.
#[derive(Debug)]
pub(super) struct Laid {
    pub(super) wire: Wire,
    /// What went in at its beginning last.
    pub(super) entered: Option<Level>,
    /// What came out at its end last.
    pub(super) arrived: Option<Level>,
}

impl Laid {
    pub(super) fn new(wire: Wire) -> Self {
        Self { wire, entered: None, arrived: None }
    }

    /// Looks at the line that is followed. Returns whether something new entered.
    pub(super) fn follow(&mut self, line: Line) -> bool {
        let level = (line.direction == Direction::Output).then(|| line.level());
        let level = level.map(|level| if self.wire.inverted { level.toggled() } else { level });
        std::mem::replace(&mut self.entered, level) != level
    }
}

#[cfg(test)]
mod tests {
    use gpio_model::observe::Activity;
    use gpio_model::ratified;
    use virtio_gpio::messages::LineId;
    use virtio_gpio::messages::ratified::Request;

    use super::*;
    use crate::chip::{Chip, Model};
    use crate::record::trace::Trace;
    use crate::world::World;

    fn us(microseconds: u64) -> Duration {
        Duration::from_micros(microseconds)
    }

    fn at(chip: usize, line: u16) -> Place {
        Place { chip, line: LineId(line) }
    }

    /// A world of two devices, whose guest does what the test says.
    struct Bench {
        world: World,
        trace: Trace,
    }

    impl Bench {
        fn new(wires: &[Wire]) -> Self {
            let chip = || Chip::ratified(vec![String::new(); 4], ratified::Options::default()).unwrap();
            let mut world = World::new(vec![chip(), chip()]);
            let trace = Trace::default();
            world.watch(trace.clone());
            for wire in wires {
                world.wire(*wire).unwrap();
            }
            world.advance(Duration::ZERO);
            Self { world, trace }
        }

        fn request(&mut self, now: Duration, chip: usize, request: Request) {
            let Model::Ratified(device) = &mut self.world.chip_mut(chip).unwrap().model else { unreachable!() };
            assert_eq!(device.request(&request.encode(), &mut [0; 2]), 2);
            self.world.settle(now);
        }

        /// The guest uses a line as an output of that level.
        fn output(&mut self, now: Duration, place: Place, level: Level) {
            self.request(now, place.chip, Request::SetValue(place.line, level));
            self.request(now, place.chip, Request::SetDirection(place.line, Direction::Output));
        }

        fn input(&mut self, now: Duration, place: Place) {
            self.request(now, place.chip, Request::SetDirection(place.line, Direction::Input));
        }

        fn drive(&self, place: Place) -> Option<Level> {
            self.world.line(place).unwrap().drive
        }

        /// When the level of the line changed, in microseconds.
        fn edges(&self, place: Place) -> Vec<(u128, bool)> {
            let edge = |record: crate::record::Record| match record.activity {
                Activity::Changed(change) if at(record.chip, change.line.0) == place => {
                    Some((record.at.as_micros(), change.new_level()?.into()))
                }
                _ => None,
            };
            self.trace.records().into_iter().filter_map(edge).collect()
        }
    }

    #[test]
    fn wire_drives_its_end_while_its_beginning_is_an_output() {
        let (from, to) = (at(0, 1), at(1, 2));
        let mut bench = Bench::new(&[Wire::new(from, to)]);
        assert_eq!(bench.drive(to), None);
        bench.output(us(1), from, Level::High);
        assert_eq!(bench.drive(to), Some(Level::High));
        bench.request(us(2), 0, Request::SetValue(LineId(1), Level::Low));
        assert_eq!(bench.drive(to), Some(Level::Low));
        bench.request(us(3), 0, Request::SetValue(LineId(1), Level::High));
        bench.input(us(4), from);
        assert_eq!(bench.drive(to), None);
        bench.world.drive(us(5), from, Some(Level::High)).unwrap();
        assert_eq!(bench.drive(to), None, "what the outside drives does not enter a wire");
        assert_eq!(bench.edges(to), [(1, true), (2, false), (3, true), (4, false)]);
    }

    #[test]
    fn wire_can_be_inverted() {
        let (from, to) = (at(0, 0), at(0, 1));
        let mut bench = Bench::new(&[Wire { inverted: true, ..Wire::new(from, to) }]);
        bench.output(us(1), from, Level::Low);
        assert_eq!(bench.drive(to), Some(Level::High));
        bench.request(us(2), 0, Request::SetValue(LineId(0), Level::High));
        assert_eq!(bench.drive(to), Some(Level::Low));
        bench.input(us(3), from);
        assert_eq!(bench.drive(to), None);
    }

    #[test]
    fn delayed_wire_passes_every_change_later() {
        let (from, to) = (at(0, 0), at(0, 1));
        let mut bench = Bench::new(&[Wire { delay: us(10), ..Wire::new(from, to) }]);
        bench.output(us(1), from, Level::High);
        bench.request(us(2), 0, Request::SetValue(LineId(0), Level::Low));
        bench.request(us(5), 0, Request::SetValue(LineId(0), Level::High));
        bench.input(us(7), from);
        assert_eq!(bench.world.next_due(), Some(us(11)));
        bench.world.run_until(us(100));
        assert_eq!(bench.edges(to), [(11, true), (12, false), (15, true), (17, false)]);
        assert_eq!((bench.drive(to), bench.world.next_due()), (None, None));
    }

    #[test]
    fn wire_that_is_laid_later_finds_the_output_that_is_there() {
        let (from, to) = (at(0, 0), at(0, 1));
        let mut bench = Bench::new(&[]);
        bench.output(us(1), from, Level::High);
        bench.world.wire(Wire::new(from, to)).unwrap();
        bench.world.advance(us(2));
        assert_eq!(bench.edges(to), [(2, true)]);
    }

    #[test]
    fn of_several_wires_the_last_change_counts_and_a_lost_one_leaves_the_others() {
        let (first, second, to) = (at(0, 0), at(0, 1), at(1, 0));
        let mut bench = Bench::new(&[Wire::new(first, to), Wire::new(second, to)]);
        bench.output(us(1), first, Level::High);
        bench.output(us(2), second, Level::Low);
        assert_eq!(bench.drive(to), Some(Level::Low));
        bench.input(us(3), second);
        assert_eq!(bench.drive(to), Some(Level::High));
        bench.input(us(4), first);
        assert_eq!(bench.drive(to), None);
    }

    #[test]
    fn wires_in_a_circle_come_to_rest() {
        let (a, b) = (at(0, 0), at(1, 0));
        for delay in [Duration::ZERO, us(3)] {
            let wire = |from, to| Wire { inverted: true, delay, ..Wire::new(from, to) };
            let mut bench = Bench::new(&[wire(a, b), wire(b, a), wire(a, a)]);
            bench.output(us(1), a, Level::High);
            bench.output(us(2), b, Level::High);
            bench.input(us(3), a);
            bench.output(us(4), a, Level::Low);
            bench.world.run_until(us(100));
            assert_eq!(bench.world.next_due(), None);
            assert_eq!((bench.drive(a), bench.drive(b)), (Some(Level::High), Some(Level::High)), "{delay:?}");
        }
    }

    #[test]
    fn wires_from_one_line_are_followed_in_the_order_in_which_they_were_laid() {
        let from = at(0, 0);
        for delay in [Duration::ZERO, us(3)] {
            let order = [at(1, 1), at(0, 2), at(1, 0)];
            let wires = order.map(|to| Wire { delay, ..Wire::new(from, to) });
            let mut bench = Bench::new(&wires);
            bench.output(us(1), from, Level::High);
            bench.world.run_until(us(10));
            let ends = bench.trace.records().into_iter().filter_map(|record| match record.activity {
                Activity::Changed(change) => Some(at(record.chip, change.line.0)).filter(|place| *place != from),
                _ => None,
            });
            assert_eq!(ends.collect::<Vec<_>>(), order, "{delay:?}");
        }
    }
}
