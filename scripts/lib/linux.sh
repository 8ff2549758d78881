# A small Linux kernel for each architecture, built from Debian's kernel source: a guest that is not ours, for tests and
# benchmarks. Left in .tools/linux/ARCH. Optional: where it cannot be had, what needs it is left out, and says so.
# shellcheck shell=bash

linux_archs=(aarch64 riscv64)
linux_release=6.12
# Debian suites that have its source, to be tried in this order.
linux_suites=(trixie bookworm-security)
linux_configs=$root/tests/linux/kernel
linux_program=$root/tests/linux
linux_root=$tools/linux
# What a machine may lack beyond the compilers of cross.sh, unpacked.
linux_unpacked=$linux_root/unpacked
# The source and what is built from it; deleted when the kernels are there.
linux_work=$linux_root/work
# Why the last function that failed did so.
linux_problem=

# linux_image ARCH: the kernel.
linux_image() {
    printf '%s\n' "$linux_root/$1/Image"
}

# linux_name ARCH: what the kernel calls it.
linux_name() {
    case $1 in
        aarch64) echo arm64 ;;
        riscv64) echo riscv ;;
    esac
}

# linux_config ARCH: the options that are wanted, for a kernel that has no others.
linux_config() {
    cat "$linux_configs/common.config" "$linux_configs/$1.config"
}

# linux_key ARCH: identifies what a kernel is built from.
linux_key() {
    printf '%s %s\n' "$linux_release" "$(linux_config "$1" | cksum)"
}

linux_is_built() {
    [ -e "$(linux_image "$1")" ] && [ -x "$linux_root/gen_init_cpio" ] &&
        [ "$(cat "$linux_root/$1/key" 2>/dev/null)" = "$(linux_key "$1")" ]
}

# linux_build ARCH: in `linux_problem` why not.
linux_build() {
    linux_bring_tools "$1" && linux_bring_source && linux_compile "$1"
}

# linux_environment: lets unpacked tools be found, behind the machine's own.
linux_environment() {
    cross_environment
    apt_environment "$linux_unpacked"
    [ ! -x "$linux_unpacked/usr/bin/m4" ] || export M4=$linux_unpacked/usr/bin/m4
    [ ! -d "$linux_unpacked/usr/share/bison" ] || export BISON_PKGDATADIR=$linux_unpacked/usr/share/bison
}

# linux_missing_packages: Debian's names of what the build needs beside a compiler and this machine lacks.
linux_missing_packages() (
    linux_environment
    have xz || echo xz-utils
    for tool in make flex bison bc perl; do
        have "$tool" || echo "$tool"
    done
)

# linux_bring_tools ARCH: a compiler, and the tools that the build uses.
linux_bring_tools() {
    local missing
    if ! cross_is_ready "$1" && ! "$root/scripts/setup" --quiet --only cross; then
        linux_problem="the kernel's build needs a C compiler for $1, see above"
        return 1
    fi
    mapfile -t missing < <(linux_missing_packages)
    [ ${#missing[@]} -gt 0 ] || return 0
    say "linux: unpacking ${missing[*]}"
    apt_unpack_programs "$linux_unpacked" "${missing[@]}" || {
        linux_problem="the kernel's build needs ${missing[*]} (Debian's names), and cannot unpack them: $apt_problem"
        return 1
    }
}

linux_bring_source() {
    local suite package=linux-source-$linux_release
    [ ! -e "$linux_work/source/Makefile" ] || return 0
    linux_problem="there is no source of the kernel"
    apt_available || {
        linux_problem+=": $apt_problem"
        return 1
    }
    for suite in "${linux_suites[@]}"; do
        say "linux: downloading $package of Debian's $suite (about 150 MB, 1.7 GB unpacked for the time of the build)"
        if apt_open "$suite" && apt_unpack_alone "$linux_work/package" "$package"; then
            rm -rf "$linux_work/source"
            mkdir -p "$linux_work/source.new"
            # Compressed by xz, which may be one of the unpacked tools.
            (
                linux_environment
                tar --extract --xz --strip-components 1 --directory "$linux_work/source.new" \
                    --file "$linux_work/package/usr/src/$package.tar.xz"
            ) || return 1
            rm -rf "$linux_work/package"
            mv "$linux_work/source.new" "$linux_work/source"
            return
        fi
        say "  $apt_problem"
    done
    linux_problem+=", see above"
    return 1
}

# linux_compile ARCH
linux_compile() {
    local out=$linux_work/$1 log=$linux_root/$1.log option compiler make
    mkdir -p "$out"
    linux_config "$1" >"$out/wanted"
    compiler=$(cross_compiler "$1")
    make=(nice make --silent -C "$linux_work/source" O="$out" ARCH="$(linux_name "$1")" CROSS_COMPILE="${compiler%gcc}")
    linux_problem="the kernel for $1 could not be built; all of the build's output is in ${log#"$root/"}"
    say "linux: building the kernel for $1 (about two minutes on two processors)"
    (linux_environment && "${make[@]}" KCONFIG_ALLCONFIG="$out/wanted" allnoconfig) >"$log" 2>&1 || return 1
    # An option that depends on one that is not there would be missing without a word.
    while read -r option; do
        grep --quiet --line-regexp "$option" "$out/.config" || {
            linux_problem="the kernel for $1 does not take the option $option"
            return 1
        }
    done < <(grep '^CONFIG_' "$out/wanted")
    (linux_environment && "${make[@]}" -j"$(nproc)" Image) >>"$log" 2>&1 || return 1
    mkdir -p "$linux_root/$1"
    rm -f "$linux_root/$1/key"
    cp "$out/arch/$(linux_name "$1")/boot/Image" "$linux_root/$1/Image"
    cp "$out/include/config/kernel.release" "$linux_root/$1/release"
    cp "$out/usr/gen_init_cpio" "$linux_root/gen_init_cpio.new"
    mv "$linux_root/gen_init_cpio.new" "$linux_root/gen_init_cpio"
    linux_key "$1" >"$linux_root/$1/key"
    rm -f "$log"
}

# linux_ramdisk ARCH: the initial RAM disk with the only program. Needs guest.sh.
linux_ramdisk() {
    local target output=$root/target/linux
    case $1 in
        aarch64) target=aarch64-unknown-none-softfloat ;;
        riscv64) target=riscv64imac-unknown-none-elf ;;
    esac
    guest_cargo build --quiet --release --locked --manifest-path "$linux_program/Cargo.toml" --target-dir "$output" \
        --target "$target" || return 1
    printf '%s\n' 'dir /dev 755 0 0' 'nod /dev/console 600 0 0 c 5 1' \
        "file /init $output/$target/release/linux-init 755 0 0" >"$output/$1.list"
    "$linux_root/gen_init_cpio" "$output/$1.list" >"$output/$1.cpio.new" || return 1
    mv "$output/$1.cpio.new" "$output/$1.cpio"
}
