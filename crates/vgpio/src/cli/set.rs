//! `vgpio set`: drives lines from outside, in the manner of `gpioset`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::lines::{Selection, listed, parse_period};
use super::output::print;
use vgpio::control::client::Client;
use vgpio::control::message::{Bit, Request};
use virtio_gpio::messages::Level;

/// Drive lines of a running simulation from outside, all at the same instant
///
/// The words are those of libgpiod's gpioset. Other than there, the lines stay as they are when this command ends, unless
/// --hold-period is given.
#[derive(Debug, Args)]
pub(crate) struct SetArguments {
    #[command(flatten)]
    selection: Selection,
    /// Say when the lines are set
    #[arg(long)]
    banner: bool,
    /// Hold each level for that long at least (500ms, 2s; a number alone is milliseconds), and let go of the lines then
    #[arg(short = 'p', long, value_name = "PERIOD", value_parser = parse_period)]
    hold_period: Option<Duration>,
    /// Toggle the lines after these periods, again and again; once if the last one is 0
    #[arg(short, long, value_name = "PERIOD,...", value_delimiter = ',', value_parser = parse_period)]
    toggle: Vec<Duration>,
    /// The lines and what to do with each: 1, active, on; 0, inactive, off; or release, to let go of it
    #[arg(value_name = "LINE=VALUE", required = true, value_parser = parse_setting)]
    settings: Vec<Setting>,
}

/// A line and its level; `None` to let go of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    line: String,
    level: Option<Level>,
}

pub(crate) fn set(arguments: SetArguments) -> anyhow::Result<ExitCode> {
    let SetArguments { selection, banner, hold_period, toggle, mut settings } = arguments;
    let mut client = selection.connect()?;
    apply(&selection, &mut client, &settings)?;
    if banner {
        let names: Vec<_> = settings.iter().map(|setting| setting.line.as_str()).collect();
        print(format_args!("Setting {}...", listed(&names)))?;
    }
    let periods: Vec<_> = toggle.iter().copied().take_while(|period| !period.is_zero()).collect();
    let is_endless = periods.len() == toggle.len() && !toggle.is_empty();
    loop {
        for period in &periods {
            std::thread::sleep(hold_period.map_or(*period, |least| least.max(*period)));
            for setting in &mut settings {
                setting.level = setting.level.map(Level::toggled);
            }
            apply(&selection, &mut client, &settings)?;
        }
        if !is_endless {
            break;
        }
    }
    if let Some(period) = hold_period {
        std::thread::sleep(period);
        for setting in &mut settings {
            setting.level = None;
        }
        apply(&selection, &mut client, &settings)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn apply(selection: &Selection, client: &mut Client, settings: &[Setting]) -> anyhow::Result<()> {
    let request = |setting: &Setting| {
        let line = selection.line(&setting.line);
        match setting.level {
            Some(level) => Request::Set { line, level: Bit(level) },
            None => Request::Release { line },
        }
    };
    client.ask_together(settings.iter().map(request).collect())?;
    Ok(())
}

fn parse_setting(text: &str) -> Result<Setting, String> {
    let (line, value) = text.rsplit_once('=').ok_or("expected LINE=VALUE")?;
    let line = line.strip_prefix('"').and_then(|line| line.strip_suffix('"')).unwrap_or(line).to_owned();
    let level = match value {
        "1" | "active" | "on" | "true" => Some(Level::High),
        "0" | "inactive" | "off" | "false" => Some(Level::Low),
        "release" => None,
        _ => return Err("expected 1, active or on; 0, inactive or off; or release".to_owned()),
    };
    Ok(Setting { line, level })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_gpioset_reads_them() {
        let setting = |line: &str, level| Ok(Setting { line: line.to_owned(), level });
        assert_eq!(parse_setting("led=1"), setting("led", Some(Level::High)));
        assert_eq!(parse_setting("\"a=b\"=off"), setting("a=b", Some(Level::Low)));
        assert_eq!(parse_setting("4=release"), setting("4", None));
        for bad in ["led", "led=", "led=2"] {
            assert!(parse_setting(bad).is_err(), "{bad}");
        }
    }
}
