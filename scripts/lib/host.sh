# The host tool, vgpio.
# shellcheck shell=bash

host_tool() {
    printf '%s\n' "${CARGO_TARGET_DIR:-$root/target}/release/vgpio"
}

build_host_tool() {
    say "building the host tool"
    (cd "$root" && cargo build --quiet --release --package vgpio >&2) || exit 1
}
