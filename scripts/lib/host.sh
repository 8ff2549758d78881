# The host tool, vgpio.
# shellcheck shell=bash

host_tool() {
    printf '%s\n' "${CARGO_TARGET_DIR:-$root/target}/release/vgpio"
}

# The release profile is made for the image, small before all. The host tool has no use for link-time optimisation, which
# would take most of its build.
build_host_tool() {
    say "building the host tool"
    (
        cd "$root" && CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
            cargo build --quiet --release --package vgpio >&2
    ) || exit 1
}
