# C compilers for the boards' processors, which the port to C and the kernels of scripts/linux are built with: the machine's
# own GCC, or Debian's, unpacked in .tools/cross. Optional: where they cannot be had, what needs them is left out, and says so.
# shellcheck shell=bash

cross_archs=(aarch64 riscv64)
cross_unpacked=$tools/cross

# cross_compiler ARCH: its name, wherever it is.
cross_compiler() {
    printf '%s\n' "$1-linux-gnu-gcc"
}

# cross_environment: lets unpacked compilers be found, behind the machine's own.
cross_environment() {
    apt_environment "$cross_unpacked"
}

# cross_compiles ARCH: having it compile is the only sure sign: an unpacked one needs libraries of the system, which may change.
cross_compiles() {
    "$(cross_compiler "$1")" -x c -S -o - - </dev/null >/dev/null 2>&1
}

# cross_is_ready ARCH: whether there is one, installed or unpacked.
cross_is_ready() (
    cross_environment
    cross_compiles "$1"
)

cross_is_set_up() {
    local arch
    for arch in "${cross_archs[@]}"; do
        cross_is_ready "$arch" || return 1
    done
    say_ready "C compilers for ${cross_archs[*]}: ready"
}

# cross_set_up: unpacks those that are not installed.
cross_set_up() {
    local arch missing=() fresh=$cross_unpacked.new
    for arch in "${cross_archs[@]}"; do
        cross_compiles "$arch" || missing+=("gcc-$arch-linux-gnu")
    done
    rm -rf "$fresh"
    mkdir -p "$fresh"
    if [ ${#missing[@]} -gt 0 ]; then
        say "C compilers: downloading ${missing[*]} (30 to 40 MB each, 110 to 150 MB unpacked)"
        apt_unpack_programs "$fresh" "${missing[@]}" || cross_give_up "could not be unpacked: $apt_problem"
    fi
    rm -rf "$cross_unpacked"
    mv "$fresh" "$cross_unpacked"
    cross_is_set_up || cross_give_up "do not start on this system"
}

# cross_give_up WORDS: for cross_set_up.
cross_give_up() {
    die "the C compilers for the boards (${missing[*]}, Debian's names) are not installed, and $1" \
        "Next step: install them, and run scripts/setup --only cross again."
}
