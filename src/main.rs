//! The image with the default application.
#![cfg_attr(target_os = "none", no_std, no_main)]

guest::entry!(guest::app::main);
