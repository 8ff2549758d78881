//! An open device: what is known of it, and what comes from it.

use core::ffi::{CStr, c_char};
use core::fmt::{self, Write as _};
use core::ptr::NonNull;

use virtio_gpio::{Chip, Event, LineId, Name, Notice, Protocol, Trigger};

use crate::pins::Pins;
use crate::pins::Slot;
use crate::pointers::{checked, write};
use crate::seams::Kernel;
use crate::status::{VirtioGpioStatus, of};

/// An open device, at the start of the storage that it was opened with.
pub struct VirtioGpioChip {
    /// `VirtioGpioChip::OPEN` until it is closed.
    mark: u64,
    chip: Chip<'static, Kernel>,
    pins: Pins,
}

impl fmt::Debug for VirtioGpioChip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtioGpioChip").field("chip", &self.chip).finish_non_exhaustive()
    }
}

/// All of it is used through shared references, from any context.
const _: () = {
    const fn is_shared<T: Sync>() {}
    is_shared::<VirtioGpioChip>();
};

impl VirtioGpioChip {
    const OPEN: u64 = 0x4750_494f_2d6f_7065;
    const CLOSED: u64 = 0;

    pub(crate) fn new(chip: Chip<'static, Kernel>, pins: &'static [Slot]) -> Self {
        Self { mark: Self::OPEN, chip, pins: Pins::new(pins) }
    }

    pub(crate) fn pins(&self) -> Pins {
        self.pins
    }

    pub(crate) fn driver(&self) -> &Chip<'static, Kernel> {
        &self.chip
    }

    /// The chip behind the pointer.
    ///
    /// # Safety
    ///
    /// Where it is not null and aligned, it is that of a chip, and its storage is still there. The chip is not closed as long as
    /// the reference is used.
    pub(crate) unsafe fn at(pointer: *const Self) -> Result<&'static Self, VirtioGpioStatus> {
        let chip = checked(pointer)?;
        // SAFETY: the caller says so.
        let chip = unsafe { chip.as_ref() };
        if chip.mark == Self::OPEN { Ok(chip) } else { Err(VirtioGpioStatus::BadArgument) }
    }
}

/// What is known of a device since it was opened, and does not change.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct VirtioGpioInfo {
    /// The number of lines, from 0.
    pub lines: u16,
    /// How many lines can be watched at once; 0xffff where only the options set a limit, 0 where none can be.
    pub watch_limit: u16,
    /// Whether the device speaks the draft of 2020, rather than VIRTIO 1.2 and later.
    pub draft: bool,
    /// Whether the transport is a legacy one.
    pub legacy: bool,
    /// Whether the device says that it has names, but they cannot be had, or are larger than the options' limit.
    pub names_missing: bool,
}

/// What happened on a watched line.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VirtioGpioTrigger {
    /// The line went from low to high.
    Rising = 0,
    /// The line went from high to low.
    Falling,
    /// The line is high.
    High,
    /// The line is low.
    Low,
}

/// An edge or a level on a watched line.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct VirtioGpioEvent {
    /// The line's own count of events, from 1.
    pub count: u64,
    /// When the driver learnt of it, by the platform's clock.
    pub at: u64,
    /// What happened.
    pub trigger: VirtioGpioTrigger,
    /// The line's number.
    pub line: u16,
    /// The level after the edge, or the level itself.
    pub level: bool,
    /// The device does not tell levels: that there was an edge is certain, which one it was is assumed.
    pub assumed: bool,
    /// The change happened while the device was being reset.
    pub after_reset: bool,
}

impl From<Event> for VirtioGpioEvent {
    fn from(event: Event) -> Self {
        let trigger = match event.trigger {
            Trigger::Rising => VirtioGpioTrigger::Rising,
            Trigger::Falling => VirtioGpioTrigger::Falling,
            Trigger::High => VirtioGpioTrigger::High,
            Trigger::Low => VirtioGpioTrigger::Low,
        };
        Self {
            count: event.count,
            at: event.at.as_nanos(),
            trigger,
            line: event.line.0,
            level: event.trigger.level().into(),
            assumed: event.assumed,
            after_reset: event.after_reset,
        }
    }
}

/// What is worth telling about a device.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VirtioGpioNoticeKind {
    /// The device is being reset: it broke the rules, does not answer, or the kernel asked for it.
    Resetting = 0,
    /// The device is back, and every line is as it was.
    Recovered,
    /// The device was given up.
    Failed,
    /// A line was given up.
    LineLost,
    /// The device did something odd: told the first time, and then at every doubling of the count.
    Odd,
    /// Something that this library has no number for yet.
    Other,
}

/// Bytes of a notice's text, the NUL at its end included.
pub const VIRTIO_GPIO_NOTICE_TEXT: usize = 96;

/// Something about the device that its user should hear of.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct VirtioGpioNotice {
    /// What.
    pub kind: VirtioGpioNoticeKind,
    /// Of a line that was given up: why.
    pub status: VirtioGpioStatus,
    /// Of something odd: how often that kind has been seen.
    pub count: u32,
    /// Of a line that was given up: which.
    pub line: u16,
    /// Why the device is reset, why a line was given up, what was odd: in English, without a full stop, with a NUL at its
    /// end; empty for what says everything by its kind.
    pub text: [c_char; VIRTIO_GPIO_NOTICE_TEXT],
}

/// Writes as much of a text as there is room for, and leaves the last byte as it is.
struct Text<'a>(core::slice::IterMut<'a, c_char>);

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.0.len() <= 1 {
                return Err(fmt::Error);
            }
            if let Some(place) = self.0.next() {
                *place = c_char::from_ne_bytes([byte]);
            }
        }
        Ok(())
    }
}

fn text(message: impl fmt::Display) -> [c_char; VIRTIO_GPIO_NOTICE_TEXT] {
    let mut text = [0; VIRTIO_GPIO_NOTICE_TEXT];
    // One that is too long is cut off.
    let _ = write!(Text(text.iter_mut()), "{message}");
    text
}

impl From<Notice> for VirtioGpioNotice {
    fn from(notice: Notice) -> Self {
        use VirtioGpioNoticeKind as Kind;
        let only = |kind| Self { kind, status: VirtioGpioStatus::Ok, count: 0, line: 0, text: text("") };
        match notice {
            Notice::Resetting(fault) => Self { text: text(fault), ..only(Kind::Resetting) },
            Notice::Recovered => only(Kind::Recovered),
            Notice::Failed => only(Kind::Failed),
            Notice::LineLost { line, error } => {
                Self { status: error.into(), line: line.0, text: text(error), ..only(Kind::LineLost) }
            }
            Notice::Odd { oddity, count } => Self { count, text: text(oddity), ..only(Kind::Odd) },
            _ => only(Kind::Other),
        }
    }
}

/// Ends the use of a device: releases its lines and resets it. At most one second; not from an interrupt handler. The chip
/// is none from then on, and its storage is free. Of the memory says `memory_released`.
///
/// Ends with `VIRTIO_GPIO_STATUS_BUSY`, and does nothing, while a call works on a line of the chip.
///
/// # Safety
///
/// The chip is open, and no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_close(chip: *mut VirtioGpioChip) -> VirtioGpioStatus {
    let close = || {
        // SAFETY: the caller's, as the header says. The reference is not used when the chip is dropped.
        unsafe { VirtioGpioChip::at(chip) }?.pins.forget_all()?;
        let chip = checked(chip)?;
        // SAFETY: the chip is there, and nothing refers to it: its pins are gone, and there is no other call.
        let mark = unsafe { &raw mut (*chip.as_ptr()).mark };
        // SAFETY: inside the chip.
        unsafe { mark.write(VirtioGpioChip::CLOSED) };
        // SAFETY: as above; what is dropped is marked as closed, and so not used again.
        unsafe { chip.drop_in_place() };
        Ok(())
    };
    of(close())
}

/// What is known of the device. Any context; does not wait.
///
/// # Safety
///
/// The chip is open; `info` has room for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_get_info(
    chip: *const VirtioGpioChip,
    info: *mut VirtioGpioInfo,
) -> VirtioGpioStatus {
    let look = || {
        // SAFETY: the caller's, as the header says.
        let chip = unsafe { VirtioGpioChip::at(chip) }?.driver();
        let watch_limit = if chip.has_interrupts() { chip.watch_limit().unwrap_or(u16::MAX) } else { 0 };
        let known = VirtioGpioInfo {
            lines: chip.lines(),
            watch_limit,
            draft: chip.protocol() == Protocol::Draft,
            legacy: chip.is_legacy(),
            names_missing: chip.names_error().is_some(),
        };
        // SAFETY: as above.
        unsafe { write(info, known) }
    };
    of(look())
}

/// The name of a line: `length` bytes of the device's, without a NUL at the end, and not fit for a terminal as they are. Null,
/// and 0, where there is none. The bytes stay until the chip is closed. Any context; does not wait.
///
/// # Safety
///
/// The chip is open; `length` is null or has room for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_name(chip: *const VirtioGpioChip, line: u16, length: *mut usize) -> *const u8 {
    // SAFETY: the caller's, as the header says.
    unsafe { name(chip, length, |chip| chip.name(LineId(line))) }
}

/// The name of the device, which only a draft device has; as `virtio_gpio_name`.
///
/// # Safety
///
/// The chip is open; `length` is null or has room for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_device_name(chip: *const VirtioGpioChip, length: *mut usize) -> *const u8 {
    // SAFETY: the caller's, as the header says.
    unsafe { name(chip, length, Chip::device_name) }
}

/// A name's first byte, and its length.
///
/// # Safety
///
/// The chip is open; `length` is null or has room for a number.
unsafe fn name(
    chip: *const VirtioGpioChip,
    length: *mut usize,
    of: impl FnOnce(&'static Chip<'static, Kernel>) -> Option<Name<'static>>,
) -> *const u8 {
    // SAFETY: the caller says so.
    let chip = unsafe { VirtioGpioChip::at(chip) };
    let name = chip.ok().and_then(|chip| of(chip.driver())).map(Name::as_bytes);
    if !length.is_null() {
        // SAFETY: as above. What is not aligned is left alone.
        let _ = unsafe { write(length, name.map_or(0, <[u8]>::len)) };
    }
    name.map_or(core::ptr::null(), <[u8]>::as_ptr)
}

/// The number of the line with that name, the first one where there are several;
/// `VIRTIO_GPIO_STATUS_NO_SUCH_LINE` if there is none. Any context; does not wait.
///
/// # Safety
///
/// The chip is open; `name` ends with a NUL; `line` has room for a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_find(
    chip: *const VirtioGpioChip,
    name: *const c_char,
    line: *mut u16,
) -> VirtioGpioStatus {
    let find = || {
        // SAFETY: the caller's, as the header says.
        let chip = unsafe { VirtioGpioChip::at(chip) }?.driver();
        let name = checked(name)?;
        // SAFETY: as above.
        let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_bytes();
        let LineId(number) = chip.find(name).ok_or(VirtioGpioStatus::NoSuchLine)?;
        // SAFETY: as above.
        unsafe { write(line, number) }
    };
    of(find())
}

/// Handles the device's interrupt: acknowledges it, takes what has come, arms fired lines again. Says whether the device had
/// raised it. For the interrupt's handler; does not wait.
///
/// # Safety
///
/// The chip is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_handle_interrupt(chip: *const VirtioGpioChip) -> bool {
    // SAFETY: the caller's, as the header says.
    unsafe { VirtioGpioChip::at(chip) }.is_ok_and(|chip| chip.driver().handle_interrupt())
}

/// Takes what came before the interrupt was enabled, and lowers its line. To be called once, after the handler is in place.
/// Does not wait.
///
/// # Safety
///
/// The chip is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_interrupt_enabled(chip: *const VirtioGpioChip) {
    // SAFETY: the caller's, as the header says.
    if let Ok(chip) = unsafe { VirtioGpioChip::at(chip) } {
        chip.driver().interrupt_enabled();
    }
}

/// Does what is due: answers and events, deadlines, recovery. To be called whenever the kernel is about to wait, at
/// `virtio_gpio_next_deadline`, and in a loop where there are no interrupts. Any context; does not wait.
///
/// # Safety
///
/// The chip is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_poll(chip: *const VirtioGpioChip) {
    // SAFETY: the caller's, as the header says.
    if let Ok(chip) = unsafe { VirtioGpioChip::at(chip) } {
        chip.driver().poll();
    }
}

/// When `virtio_gpio_poll` has something to do though the device does nothing, by the platform's clock; the largest number
/// for never. Any context; does not wait.
///
/// # Safety
///
/// The chip is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_next_deadline(chip: *const VirtioGpioChip) -> u64 {
    // SAFETY: the caller's, as the header says.
    let chip = unsafe { VirtioGpioChip::at(chip) };
    let deadline = chip.ok().and_then(|chip| chip.driver().next_deadline());
    deadline.map_or(u64::MAX, virtio_gpio::clock::Instant::as_nanos)
}

/// Whether there is nothing to be done, so that the kernel may sleep until an interrupt or `virtio_gpio_next_deadline`. Any
/// context; does not wait.
///
/// # Safety
///
/// The chip is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_is_idle(chip: *const VirtioGpioChip) -> bool {
    // SAFETY: the caller's, as the header says.
    unsafe { VirtioGpioChip::at(chip) }.is_ok_and(|chip| chip.driver().is_idle())
}

/// Whether an edge has come of which the level is still asked for: soon there is an event, also if nothing else happens. For
/// those who want to hear of everything before they end a watch. Any context; does not wait.
///
/// # Safety
///
/// The chip is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_has_event_under_way(chip: *const VirtioGpioChip) -> bool {
    // SAFETY: the caller's, as the header says.
    unsafe { VirtioGpioChip::at(chip) }.is_ok_and(|chip| chip.driver().has_event_under_way())
}

/// Takes the next event of a watched line. `false` if there is none; then `event` is as it was. Any context; does not wait.
///
/// # Safety
///
/// The chip is open; `event` has room for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_next_event(chip: *const VirtioGpioChip, event: *mut VirtioGpioEvent) -> bool {
    let next = |place: NonNull<VirtioGpioEvent>| {
        // SAFETY: the caller's, as the header says.
        let next = unsafe { VirtioGpioChip::at(chip) }.ok()?.driver().next_event()?;
        // SAFETY: as above.
        unsafe { write(place.as_ptr(), next.into()) }.ok()
    };
    checked(event).ok().and_then(next).is_some()
}

/// Takes the next thing that the kernel should hear of the device. `false` if there is none; then `notice` is as it was. Any
/// context; does not wait.
///
/// # Safety
///
/// The chip is open; `notice` has room for one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_next_notice(chip: *const VirtioGpioChip, notice: *mut VirtioGpioNotice) -> bool {
    let next = |place: NonNull<VirtioGpioNotice>| {
        // SAFETY: the caller's, as the header says.
        let next = unsafe { VirtioGpioChip::at(chip) }.ok()?.driver().next_notice()?;
        // SAFETY: as above.
        unsafe { write(place.as_ptr(), next.into()) }.ok()
    };
    checked(notice).ok().and_then(next).is_some()
}

/// Resets the device and restores every line, as after a fault. Does not wait: a notice says how it ended.
///
/// # Safety
///
/// The chip is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn virtio_gpio_reset(chip: *const VirtioGpioChip) -> VirtioGpioStatus {
    // SAFETY: the caller's, as the header says.
    let chip = unsafe { VirtioGpioChip::at(chip) };
    of(chip.and_then(|chip| chip.driver().reset().map_err(Into::into)))
}
