//! The `log` facade's way to the console.

use log::{LevelFilter, Log, Metadata, Record};

use super::console;

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            console::write_line(record.level().as_str(), *record.args());
        }
    }

    fn flush(&self) {
        console::flush();
    }
}

/// Sends log messages to the console. The level can be changed at any time: [`log::set_max_level`].
pub(super) fn start() {
    // An error says that there is a logger already, this one.
    let _already = log::set_logger(&Logger);
    log::set_max_level(LevelFilter::Info);
}
