# The boards: folders below boards/, each with a board.toml.
# shellcheck shell=bash

# boards: all names, a line each.
boards() {
    local file
    for file in "$root"/boards/*/board.toml; do
        basename "$(dirname "$file")"
    done
}

# require_board NAME
require_board() {
    # An empty name would find the folder of all boards.
    [ -e "$root/boards/${1:-.}/board.toml" ] ||
        die "there is no board '$1'; the boards are: $(boards | paste -s -d ' ')"
}

# board_target NAME: its target triple.
board_target() {
    sed -n 's/^target *= *"\(.*\)".*/\1/p' "$root/boards/$1/board.toml"
}

# images_of NAME: the folder of its images.
images_of() {
    printf '%s\n' "$root/target/images/$1"
}
