//! The interrupt of one line: VIRTIO 1.2, 5.18.6.7 and 5.18.7.
//!
//! Two switches decide. The line is *enabled* while its type is not NONE, and *unmasked* while the driver has an event
//! buffer pair queued for it. An interrupt takes the pair along, so it masks the line by itself.

use virtio_gpio::messages::ratified::EventStatus;
use virtio_gpio::messages::{InterruptType, Level};

use crate::Token;

/// The interrupt state of one line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interrupt {
    kind: InterruptType,
    /// An edge happened while the line was masked. Several of them are one interrupt.
    latched: bool,
    pair: Option<Token>,
}

impl Interrupt {
    pub(super) const DISABLED: Self = Self { kind: InterruptType::None, latched: false, pair: None };

    pub(super) fn kind(self) -> InterruptType {
        self.kind
    }

    /// Starts to watch the line. There is no pair: one that is queued for a disabled line goes straight back.
    pub(super) fn enable(&mut self, kind: InterruptType) {
        self.kind = kind;
    }

    /// Forgets the type and a latched edge. The pair that was queued, if any, goes back without an interrupt.
    pub(super) fn disable(&mut self) -> Option<Token> {
        let pair = self.pair;
        *self = Self::DISABLED;
        pair
    }

    /// Takes a pair at a given level of the line. A status says that the pair goes straight back.
    pub(super) fn unmask(&mut self, pair: Token, level: Level) -> Option<EventStatus> {
        if self.kind == InterruptType::None || self.pair.is_some() {
            return Some(EventStatus::Invalid);
        }
        if self.latched || self.is_active(level) {
            self.latched = false;
            return Some(EventStatus::Valid);
        }
        self.pair = Some(pair);
        None
    }

    /// The line went to another level. A pair says that it is an interrupt.
    pub(super) fn level_changed(&mut self, level: Level) -> Option<Token> {
        let edge = matches!(
            (self.kind, level),
            (InterruptType::BothEdges, _)
                | (InterruptType::RisingEdge, Level::High)
                | (InterruptType::FallingEdge, Level::Low)
        );
        if !edge && !self.is_active(level) {
            return None;
        }
        let pair = self.pair.take();
        self.latched = edge && pair.is_none();
        pair
    }

    /// Whether the type is a level type and the line is at that level.
    fn is_active(self, level: Level) -> bool {
        matches!((self.kind, level), (InterruptType::HighLevel, Level::High) | (InterruptType::LowLevel, Level::Low))
    }
}
