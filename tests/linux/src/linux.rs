//! The few system calls that are needed, without a C library.

use core::arch::asm;
use core::ffi::{CStr, c_int, c_uint};
use core::fmt::{self, Write};
use core::time::Duration;

/// What the kernel answered in place of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(isize);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "errno {}", self.0)
    }
}

/// Numbers of the system calls, which all newer architectures share.
mod number {
    pub(crate) const IOCTL: usize = 29;
    pub(crate) const MOUNT: usize = 40;
    pub(crate) const OPENAT: usize = 56;
    pub(crate) const CLOSE: usize = 57;
    pub(crate) const READ: usize = 63;
    pub(crate) const WRITE: usize = 64;
    pub(crate) const PPOLL: usize = 73;
    pub(crate) const CLOCK_GETTIME: usize = 113;
    pub(crate) const REBOOT: usize = 142;
    pub(crate) const SYSINFO: usize = 179;
}

/// # Safety
///
/// What the call with that number asks of its arguments.
unsafe fn call(number: usize, arguments: [usize; 5]) -> Result<usize, Errno> {
    let [first, second, third, fourth, fifth] = arguments;
    let result: isize;
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the kernel's convention; it keeps all other registers.
    unsafe {
        asm!("svc #0", in("x8") number, inlateout("x0") first => result, in("x1") second, in("x2") third,
            in("x3") fourth, in("x4") fifth, options(nostack));
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: the kernel's convention; it keeps all other registers.
    unsafe {
        asm!("ecall", in("a7") number, inlateout("a0") first => result, in("a1") second, in("a2") third,
            in("a3") fourth, in("a4") fifth, options(nostack));
    }
    usize::try_from(result).map_err(|_| Errno(-result))
}

/// An open file, closed when dropped.
#[derive(Debug)]
pub(crate) struct File(usize);

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the number was open, and nobody else has it.
        let _ = unsafe { call(number::CLOSE, [self.0, 0, 0, 0, 0]) };
    }
}

impl File {
    /// Opens a file to be read and written.
    pub(crate) fn open(path: &CStr) -> Result<Self, Errno> {
        const HERE: usize = (-100_isize).cast_unsigned();
        const READ_WRITE: usize = 2;
        // SAFETY: the path ends with a zero.
        unsafe { call(number::OPENAT, [HERE, path.as_ptr() as usize, READ_WRITE, 0, 0]) }.map(Self)
    }

    /// Takes over a file that a call has opened.
    pub(crate) fn from_raw(number: c_int) -> Self {
        Self(number.unsigned_abs() as usize)
    }

    /// Reads as many bytes as there are, up to the size of `bytes`.
    pub(crate) fn read(&self, bytes: &mut [u8]) -> Result<usize, Errno> {
        // SAFETY: the kernel writes within the slice.
        unsafe { call(number::READ, [self.0, bytes.as_mut_ptr() as usize, bytes.len(), 0, 0]) }
    }

    /// A control request of the form that carries one `T` in and out.
    ///
    /// # Safety
    ///
    /// The kernel's structure for that request is `T`, and any bytes are one.
    pub(crate) unsafe fn control<T>(
        &self,
        group: u8,
        request: u8,
        access: Access,
        argument: &mut T,
    ) -> Result<(), Errno> {
        let code = (access as usize) << 30 | size_of::<T>() << 16 | usize::from(group) << 8 | usize::from(request);
        // SAFETY: the size is part of the code, so the kernel stays within the structure.
        unsafe { call(number::IOCTL, [self.0, code, core::ptr::from_mut(argument) as usize, 0, 0]) }.map(|_| ())
    }

    /// Waits until there is something to read; false if there was not within that time.
    pub(crate) fn wait(&self, patience: Duration) -> Result<bool, Errno> {
        #[repr(C)]
        struct PollFd {
            file: c_int,
            events: i16,
            happened: i16,
        }
        const READABLE: i16 = 1;
        let mut file = PollFd { file: (self.0 as c_uint).cast_signed(), events: READABLE, happened: 0 };
        let time = [patience.as_secs(), u64::from(patience.subsec_nanos())];
        let arguments = [core::ptr::from_mut(&mut file) as usize, 1, time.as_ptr() as usize, 0, 0];
        // SAFETY: one structure, a time, and no set of signals.
        unsafe { call(number::PPOLL, arguments) }.map(|ready| ready > 0)
    }
}

/// In which direction a control request carries its structure.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// From the kernel.
    Read = 2,
    /// Both ways.
    ReadWrite = 3,
}

/// Lets the kernel's device files appear.
pub(crate) fn mount_devices() {
    let (name, place) = (c"devtmpfs".as_ptr() as usize, c"/dev".as_ptr() as usize);
    // SAFETY: three strings, no flags, no data.
    if let Err(error) = unsafe { call(number::MOUNT, [name, place, name, 0, 0]) } {
        crate::say!("error mount: {error}");
    }
}

/// Switches the machine off.
pub(crate) fn power_off() -> ! {
    const MAGIC: [usize; 2] = [0xfee1_dead, 0x2812_1969];
    const POWER_OFF: usize = 0x4321_fedc;
    loop {
        // SAFETY: no memory is involved.
        let _ = unsafe { call(number::REBOOT, [MAGIC[0], MAGIC[1], POWER_OFF, 0, 0]) };
    }
}

/// The time since the machine started, not adjusted by anything.
pub(crate) fn now() -> Duration {
    const MONOTONIC: usize = 1;
    let mut time = [0_u64; 2];
    // SAFETY: the kernel writes two words.
    let _ = unsafe { call(number::CLOCK_GETTIME, [MONOTONIC, time.as_mut_ptr() as usize, 0, 0, 0]) };
    Duration::new(time[0], time[1] as u32)
}

/// The processor's counter, which the kernel lets programs read.
pub(crate) fn ticks() -> u64 {
    let ticks;
    #[cfg(target_arch = "aarch64")]
    // SAFETY: reads a register. The barrier keeps the read behind what comes before it.
    unsafe {
        asm!("isb", "mrs {}, cntvct_el0", out(reg) ticks, options(nostack));
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: reads a register.
    unsafe {
        asm!("rdtime {}", out(reg) ticks, options(nostack));
    }
    ticks
}

/// Bytes of memory: those that the kernel manages, and those of them that are free.
pub(crate) fn memory() -> (u64, u64) {
    // The structure has 112 bytes: after four words come the total and the free memory.
    let mut words = [0_u64; 14];
    // SAFETY: the kernel writes as many words.
    let _ = unsafe { call(number::SYSINFO, [words.as_mut_ptr() as usize, 0, 0, 0, 0]) };
    (words[4], words[5])
}

/// Writes to the console, in one call for up to 256 bytes.
pub(crate) fn print(words: fmt::Arguments<'_>) {
    struct Line {
        bytes: [u8; 256],
        used: usize,
    }

    impl Line {
        fn flush(&mut self) {
            const OUTPUT: usize = 1;
            // SAFETY: the kernel reads the part that was written.
            let _ = unsafe { call(number::WRITE, [OUTPUT, self.bytes.as_ptr() as usize, self.used, 0, 0]) };
            self.used = 0;
        }
    }

    impl Write for Line {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for byte in text.bytes() {
                if self.used == self.bytes.len() {
                    self.flush();
                }
                self.bytes[self.used] = byte;
                self.used += 1;
            }
            Ok(())
        }
    }

    let mut line = Line { bytes: [0; 256], used: 0 };
    let _infallible = line.write_fmt(words);
    line.flush();
}
