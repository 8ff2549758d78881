//! The host, on which the image does not run. The names are here so that everything else compiles, and can be tested
//! where it needs no machine.

use crate::device_tree::machine::PowerControl;

pub(crate) use super::descriptors::AARCH64 as FORMAT;

/// Names the application's main function. On the host it only says that the image wants a board.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        const _: fn(&'static $crate::platform::Machine) -> $crate::platform::ExitCode = $main;

        fn main() {
            eprintln!("This is an image for a board; build it with scripts/build.");
            std::process::exit(2);
        }
    };
}

pub(crate) fn mask_interrupts() -> bool {
    false
}

pub(crate) fn restore_interrupts(_unmasked: bool) {}

pub(crate) fn unmask_interrupts() {}

pub(crate) fn wait_for_interrupt() {
    core::hint::spin_loop();
}

pub(crate) fn publish_mappings() {}

pub(crate) fn before_notify() {
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
}

pub(crate) fn after_interrupt() {
    core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
}

/// Finds nothing: there are no registers.
///
/// # Safety
///
/// None is needed; the other architectures' functions need some.
#[expect(unsafe_code, reason = "has the same signature as on the other architectures")]
pub(crate) unsafe fn probe_read_u32(_address: usize) -> Option<u32> {
    None
}

pub(crate) fn power_off(status: u8, _control: Option<&PowerControl>) -> ! {
    std::process::exit(i32::from(status))
}

pub(crate) mod timer {
    use std::sync::LazyLock;
    use std::time::Instant;

    use crate::device_tree::machine::TimerDescription;
    use crate::platform::interrupts::InterruptError;

    static START: LazyLock<Instant> = LazyLock::new(Instant::now);

    /// Nanoseconds.
    pub(crate) fn counter() -> u64 {
        u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn frequency(_timer: &TimerDescription) -> u64 {
        1_000_000_000
    }

    pub(crate) fn start(_timer: &TimerDescription) -> Result<(), InterruptError> {
        Err(InterruptError::NotInTree)
    }

    pub(crate) fn arm(_deadline: u64) {}
}

pub(crate) mod interrupt_controller {
    use crate::device_tree::machine::InterruptController;
    use crate::platform::interrupts::{ControllerError, InterruptId, Trigger};

    pub(crate) fn start(_description: &InterruptController) -> Result<(), ControllerError> {
        Err(ControllerError::Unsupported)
    }

    pub(crate) fn supports(_id: InterruptId) -> bool {
        false
    }

    pub(crate) fn enable(_id: InterruptId, _trigger: Trigger) -> Result<(), ControllerError> {
        Err(ControllerError::Unsupported)
    }

    pub(crate) fn disable(_id: InterruptId) {}
}

pub(crate) mod layout {
    use core::ptr::NonNull;

    use crate::memory::regions::Region;
    use crate::memory::translation::Table;
    use crate::platform::uart::UartKind;

    pub(crate) fn image() -> Region {
        Region::new(0, 0)
    }

    pub(crate) fn root_table() -> NonNull<Table> {
        NonNull::dangling()
    }

    pub(crate) fn stack_guards() -> [(Region, &'static str); 3] {
        [(Region::new(0, 0), ""); 3]
    }

    pub(crate) fn board_finisher() -> Option<u64> {
        None
    }

    pub(crate) fn board_console() -> (UartKind, u64) {
        (UartKind::Pl011, 0)
    }
}
