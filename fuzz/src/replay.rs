//! Runs inputs from files.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

/// The corpus of a target, in the tree.
pub fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The files of a folder, sorted by name.
///
/// # Errors
///
/// When the folder cannot be read.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The program of a target: runs the files, and the files of the folders, that it is given. A panic ends it.
pub fn main(run: fn(&[u8])) -> ExitCode {
    let mut count = 0_usize;
    for argument in env::args_os().skip(1).map(PathBuf::from) {
        let found = if argument.is_dir() { files(&argument) } else { Ok(vec![argument.clone()]) };
        for path in found.unwrap_or_else(|error| die(&argument, &error)) {
            let bytes = fs::read(&path).unwrap_or_else(|error| die(&path, &error));
            eprintln!("running {}", path.display());
            run(&bytes);
            count += 1;
        }
    }
    if count == 0 {
        eprintln!("usage: this program runs the inputs in the files and folders that it is given");
        return ExitCode::from(2);
    }
    eprintln!("{count} inputs ran");
    ExitCode::SUCCESS
}

fn die(path: &Path, error: &io::Error) -> ! {
    eprintln!("error: {} cannot be read: {error}", path.display());
    std::process::exit(2)
}
