//! What is printed for programs, and said to people. Whoever reads may have seen enough: then there is nothing more to
//! write, and nothing is wrong.

use std::fmt;
use std::io::{self, ErrorKind, Write};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, poll};

/// Nobody reads standard output any more: it is time to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NobodyReads;

impl fmt::Display for NobodyReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nobody reads standard output")
    }
}

impl std::error::Error for NobodyReads {}

/// Prints a line to standard output.
///
/// # Errors
///
/// [`NobodyReads`], and what else can go wrong with a file.
pub(crate) fn print(line: impl fmt::Display) -> anyhow::Result<()> {
    write(&mut io::stdout().lock(), &format!("{line}\n"))
}

/// Writes to what stands for standard output, in the same manner.
pub(crate) fn write(out: &mut impl Write, text: &str) -> anyhow::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(NobodyReads.into()),
        result => result.context("Cannot write to standard output"),
    }
}

/// Says a line to people on standard error, under the name of this program.
pub(crate) fn say(line: impl fmt::Display) {
    // There is nobody else to tell that this cannot be said.
    let _ = tell(&format!("vgpio: {line}\n"));
}

/// Tells people something on standard error; in colours, where they are wanted.
///
/// # Errors
///
/// Those of a file; [`ErrorKind::BrokenPipe`] when nobody listens.
pub(crate) fn tell(text: &str) -> io::Result<()> {
    anstream::stderr().lock().write_all(text.as_bytes())
}

/// Does something when standard output is a pipe that nobody reads any more, on a thread of its own.
pub(crate) fn when_nobody_reads(then: impl FnOnce() + Send + 'static) -> anyhow::Result<()> {
    let watch = move || {
        let out = io::stdout();
        // What has happened at the other end is told without being asked for.
        let mut pipe = [PollFd::new(&out, PollFlags::empty())];
        while matches!(poll(&mut pipe, None), Ok(0) | Err(rustix::io::Errno::INTR)) {}
        if pipe.iter().any(|pipe| pipe.revents().intersects(PollFlags::ERR | PollFlags::HUP)) {
            then();
        }
    };
    std::thread::Builder::new().name("vgpio-stdout".to_owned()).spawn(watch).context("Cannot start a thread")?;
    Ok(())
}
