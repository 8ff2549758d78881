# Which cargo builds the guest.
# shellcheck shell=bash

# There only if set-up had to bring a compiler of its own.
guest_own_cargo=$tools/bin/cargo-web

# guest_cargo ARGUMENTS...: the cargo that builds the guest: the toolchain's, or the one that set-up brought.
guest_cargo() {
    if guest_cargo_is_ours; then
        "$guest_own_cargo" "$@"
    else
        cargo "$@"
    fi
}

guest_cargo_is_ours() {
    [ -x "$guest_own_cargo" ]
}
