//! Pointers from C: looked at before they are used.

use core::ptr::NonNull;

use crate::status::VirtioGpioStatus;

/// The pointer, if it is not null and aligned for a `T`.
pub(crate) fn checked<T>(pointer: *const T) -> Result<NonNull<T>, VirtioGpioStatus> {
    NonNull::new(pointer.cast_mut()).filter(|pointer| pointer.is_aligned()).ok_or(VirtioGpioStatus::BadArgument)
}

/// Reads what a pointer leads to.
///
/// # Safety
///
/// Where it is not null and aligned, it leads to a valid `T`.
pub(crate) unsafe fn read<T: Copy>(pointer: *const T) -> Result<T, VirtioGpioStatus> {
    let pointer = checked(pointer)?;
    // SAFETY: not null, aligned, and the caller says that there is a `T`.
    Ok(unsafe { pointer.read() })
}

/// Writes to where a pointer leads. What was there is not looked at.
///
/// # Safety
///
/// Where it is not null and aligned, there is room for a `T`.
pub(crate) unsafe fn write<T>(pointer: *mut T, value: T) -> Result<(), VirtioGpioStatus> {
    let pointer = checked(pointer)?;
    // SAFETY: not null, aligned, and the caller says that there is room.
    unsafe { pointer.write(value) };
    Ok(())
}
