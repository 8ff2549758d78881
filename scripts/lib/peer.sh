# Another project's GPIO device, rust-vmm's vhost-device-gpio, for the interop tests. Its protocol code is the released
# one; the library under it that drives a host's real lines is replaced by simulated lines (tests/peer/libgpiod). Left in
# .tools/peer. Optional: where it cannot be had, the tests that need it are left out, and say so.
# shellcheck shell=bash

peer_release=0.1.0
peer_lines=$root/tests/peer/libgpiod
peer_stamp=$tools/peer/built-from

# peer_sources: identifies what the peer is built from.
peer_sources() {
    printf '%s %s\n' "$peer_release" "$(cat "$peer_lines/Cargo.toml" "$peer_lines"/src/*.rs | cksum)"
}

peer_is_set_up() {
    [ -x "$tools/peer/bin/vhost-device-gpio" ] && [ "$(cat "$peer_stamp" 2>/dev/null)" = "$(peer_sources)" ] || return 1
    say_ready "vhost-device-gpio $peer_release: ready"
}

peer_set_up() {
    local log=$tools/peer.log
    say "vhost-device-gpio $peer_release: building it from the crate registry (about a minute)"
    if cargo install --quiet --force --root "$tools/peer" --version "$peer_release" \
        --config "patch.crates-io.libgpiod.path=\"$peer_lines\"" vhost-device-gpio >"$log" 2>&1; then
        peer_sources >"$peer_stamp"
        rm -f "$log"
    else
        rm -f "$peer_stamp"
        say "  cannot build it: $(grep -m 1 '^error' "$log") (all of it is in ${log#"$root/"})"
    fi
}
