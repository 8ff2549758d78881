//! What differs between architectures. Each module defines the same names; the rest of the image uses those and asks for
//! no architecture.
//!
//! | name | |
//! | --- | --- |
//! | `FORMAT` | the format of the translation tables |
//! | `mask_interrupts`, `restore_interrupts`, `unmask_interrupts`, `wait_for_interrupt` | the processor's interrupt mask |
//! | `publish_mappings` | makes new translations visible to the processor |
//! | `probe_read_u32` | reads a register that may not be there |
//! | `before_notify`, `after_interrupt` | ordering between memory and registers |
//! | `timer` | counter, frequency, and the one deadline |
//! | `interrupt_controller` | starts it; enables and disables interrupts |
//! | `power_off` | the end, with an exit status where the machine can carry one |
//! | `layout` | where the parts of the image are |
//! | `registers`, `register_alias` | the processor's registers, for the report of a panic |
//! | `entry!` | the macro that names the application's main function |

#[allow(dead_code, reason = "an image has one format; the build script alone uses the rights of code and constants")]
pub(crate) mod descriptors;

#[cfg(target_os = "none")]
mod bare_metal;

#[cfg(all(target_os = "none", target_arch = "aarch64"))]
#[path = "aarch64/mod.rs"]
mod selected;

#[cfg(all(target_os = "none", target_arch = "riscv64"))]
#[path = "riscv64/mod.rs"]
mod selected;

#[cfg(not(target_os = "none"))]
#[path = "host.rs"]
mod selected;

#[cfg(all(target_os = "none", not(any(target_arch = "aarch64", target_arch = "riscv64"))))]
compile_error!("this architecture is not supported: src/arch/mod.rs lists what a new one has to define");

pub(crate) use selected::*;
