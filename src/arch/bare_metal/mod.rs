//! What both architectures need and the host does not: the end of the start-up code's way into Rust.

pub(crate) mod fixups;
pub(crate) mod layout;

use core::panic::PanicInfo;

use crate::memory::heap::Heap;
use crate::platform::emergency::{self, EmergencyConsole};
use crate::platform::{ExitCode, Machine};

#[global_allocator]
static HEAP: Heap = Heap;

/// Names the application's main function: `fn(&'static Machine) -> ExitCode`. It is called when console, heap,
/// interrupt controller and timer work, and what it returns ends the image.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        const _: () = {
            // SAFETY: the name is used once, by the library's start-up code, which declares the same function.
            #[unsafe(export_name = "guest_application_main")]
            fn guest_application_main(machine: &'static $crate::platform::Machine) -> $crate::platform::ExitCode {
                $main(machine)
            }
        };
    };
}

#[expect(unsafe_code, reason = "calls what `entry!` defines")]
pub(crate) fn application_main(machine: &'static Machine) -> ExitCode {
    unsafe extern "Rust" {
        /// Defined by `entry!`, which checks the type.
        safe fn guest_application_main(machine: &'static Machine) -> ExitCode;
    }
    guest_application_main(machine)
}

/// Critical sections of one processor.
struct SingleProcessor;

critical_section::set_impl!(SingleProcessor);

#[expect(unsafe_code, reason = "implements an unsafe trait")]
// SAFETY: there is one processor, and nothing but interrupts can come between. Sections may be nested: the outermost one
// alone finds interrupts unmasked, and unmasks them.
unsafe impl critical_section::Impl for SingleProcessor {
    unsafe fn acquire() -> bool {
        super::mask_interrupts()
    }

    unsafe fn release(unmasked: bool) {
        super::restore_interrupts(unmasked);
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let registers = super::registers();
    emergency::end(|console: &mut EmergencyConsole| {
        // A panic has a place, though the type does not promise it.
        match info.location() {
            Some(place) => console.line(format_args!("panic: {} at {place}", info.message())),
            None => console.line(format_args!("panic: {}", info.message())),
        }
        console.registers(&registers, super::register_alias);
    })
}
