# Which cargo builds the guest.
# shellcheck shell=bash

# There only if set-up had to bring a compiler of its own.
guest_own_cargo=$tools/bin/cargo-web
# There only if the bare-metal libraries lie below .tools: tells cargo where.
guest_cargo_config=$tools/cargo.toml

# guest_cargo ARGUMENTS...: the cargo that builds the guest: the toolchain's, or the one that set-up brought.
guest_cargo() {
    local program=cargo config=()
    ! guest_cargo_is_ours || program=$guest_own_cargo
    [ ! -e "$guest_cargo_config" ] || config=(--config "$guest_cargo_config")
    "$program" "${config[@]}" "$@"
}

guest_cargo_is_ours() {
    [ -x "$guest_own_cargo" ]
}
