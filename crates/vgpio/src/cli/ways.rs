//! The ways into a simulation while it runs.

use std::path::PathBuf;

use super::output::say;
use clap::Args;
use vgpio::control::keyboard::Keyboard;
use vgpio::control::socket::ControlSocket;
use vgpio::control::switchboard::Switchboard;
use vgpio::server::Handle;
#[cfg(feature = "web")]
use vgpio::web::WebPage;

/// Which ways there shall be.
#[derive(Debug, Args)]
pub(crate) struct WayArguments {
    /// Let other programs control the simulation through a socket, see docs/control.md
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// Show a page with LEDs, switches and waveforms to browsers on this machine [default port: any free one]
    #[cfg(feature = "web")]
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "0")]
    web: Option<u16>,
}

/// The ways that are open. They are closed when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    _control: Option<ControlSocket>,
    #[cfg(feature = "web")]
    _page: Option<WebPage>,
}

impl WayArguments {
    /// Opens them. `keyboard` and `quit` are those of [`Switchboard::install`].
    pub(crate) fn open(
        &self,
        server: &Handle,
        keyboard: Option<Keyboard>,
        quit: impl Fn() + Send + Sync + 'static,
    ) -> anyhow::Result<Ways> {
        if !self.is_any() {
            // Nobody would hear what a switchboard keeps.
            return Ok(Ways::default());
        }
        let board = Switchboard::install(server, keyboard, quit)?;
        let control = self.control.as_deref().map(|path| ControlSocket::listen(board.clone(), path)).transpose()?;
        #[cfg(feature = "web")]
        let page = self.web.map(|port| WebPage::listen(board, port)).transpose()?;
        #[cfg(feature = "web")]
        if let Some(page) = &page {
            say(format_args!("the page is at {}", page.url()));
        }
        Ok(Ways {
            _control: control,
            #[cfg(feature = "web")]
            _page: page,
        })
    }

    fn is_any(&self) -> bool {
        #[cfg(feature = "web")]
        if self.web.is_some() {
            return true;
        }
        self.control.is_some()
    }
}
