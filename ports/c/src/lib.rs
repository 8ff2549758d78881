//! The driver `virtio-gpio` for kernels written in C: what `include/virtio_gpio.h` declares.
//!
//! The header is made of this crate's sources and comments; `tests/header.rs` keeps the two equal. `README.md` says how a
//! kernel takes the library, and what it has to supply.
#![cfg_attr(target_os = "none", no_std)]

mod chip;
mod device;
mod lines;
mod pins;
mod pointers;
mod runtime;
mod seams;
#[cfg(feature = "selftest")]
mod selftest;
mod status;
mod storage;

pub use chip::{
    VIRTIO_GPIO_NOTICE_TEXT, VirtioGpioChip, VirtioGpioEvent, VirtioGpioInfo, VirtioGpioNotice, VirtioGpioNoticeKind,
    VirtioGpioTrigger, virtio_gpio_close, virtio_gpio_device_name, virtio_gpio_find, virtio_gpio_get_info,
    virtio_gpio_handle_interrupt, virtio_gpio_has_event_under_way, virtio_gpio_interrupt_enabled, virtio_gpio_is_idle,
    virtio_gpio_name, virtio_gpio_next_deadline, virtio_gpio_next_event, virtio_gpio_next_notice, virtio_gpio_poll,
    virtio_gpio_reset,
};
pub use device::{
    VIRTIO_GPIO_DEVICE_WORDS, VirtioGpioDevice, VirtioGpioOptions, VirtioGpioSizes, virtio_gpio_get_sizes,
    virtio_gpio_identify, virtio_gpio_open, virtio_gpio_options_default,
};
pub use lines::{
    VirtioGpioEdge, virtio_gpio_get, virtio_gpio_input, virtio_gpio_output, virtio_gpio_release, virtio_gpio_set,
    virtio_gpio_to_input, virtio_gpio_to_output, virtio_gpio_unmask, virtio_gpio_watch,
};
pub use pins::VirtioGpioLine;
pub use seams::{VirtioGpioIdle, VirtioGpioMemory, VirtioGpioPlatform};
#[cfg(feature = "selftest")]
pub use selftest::{
    VIRTIO_GPIO_SELFTEST_HEAP, VIRTIO_GPIO_SELFTEST_MEMORY, VirtioGpioSelftest, VirtioGpioSelftestReport,
    virtio_gpio_selftest,
};
pub use status::{VirtioGpioStatus, virtio_gpio_status_text};
pub use storage::VIRTIO_GPIO_STORAGE_ALIGN;
