//! What Rust wants of the final program: a critical section, and an end for a panic. Both are functions of the kernel's.

use critical_section::{Impl, RawRestoreState};

unsafe extern "C" {
    /// Supplied by the kernel: begins a critical section, in which no other context runs that calls the driver. With one
    /// processor that is: masks interrupts. Returns what `virtio_gpio_leave_critical` needs to know, for instance whether
    /// they were masked already: sections nest. Orders memory as a lock does, for the compiler as well.
    ///
    /// A program in which nothing but one thread ever calls the driver can do nothing here, and return 0.
    fn virtio_gpio_enter_critical() -> usize;

    /// Supplied by the kernel: ends the section that was begun last, and restores what `state` says.
    fn virtio_gpio_leave_critical(state: usize);

    /// Supplied by the kernel: a mistake in the library was found, and it cannot go on. Does not return.
    #[cfg(target_os = "none")]
    fn virtio_gpio_panicked() -> !;
}

struct Kernel;
critical_section::set_impl!(Kernel);

// SAFETY: the header asks the kernel's functions for what the trait asks for.
unsafe impl Impl for Kernel {
    unsafe fn acquire() -> RawRestoreState {
        // SAFETY: the kernel's function has no other conditions.
        unsafe { virtio_gpio_enter_critical() }
    }

    unsafe fn release(state: RawRestoreState) {
        // SAFETY: `state` is that of the section that was begun last, as the caller says.
        unsafe { virtio_gpio_leave_critical(state) }
    }
}

#[cfg(target_os = "none")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the kernel's function has no conditions.
    unsafe { virtio_gpio_panicked() }
}
