"""A simulation for each test: our image behind a board of two LEDs, two buttons, and nothing that moves by itself."""

import os
from pathlib import Path
from typing import Iterator

import pytest

import vgpio

PROJECT = Path(__file__).resolve().parents[3]
LINES = ["led0", "led1", "button0", "button1"]


@pytest.fixture(params=["qemu-virt-aarch64", "qemu-virt-riscv64"])
def board(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sim(board: str, tmp_path: Path) -> Iterator[vgpio.Client]:
    arguments = ["--board", board, "--vcd", str(tmp_path / "waveform.vcd")]
    arguments += ["--append", "shell=on blink=led0 period=200ms watch=button0,button1 log=debug"]
    qemu = os.environ.get("VGPIO_QEMU", str(PROJECT / ".tools/bin"))
    arguments += ["--qemu", qemu, *(word for line in LINES for word in ("--line", line))]
    # Only a hang takes as long as that: machines that run tests are slow.
    with vgpio.Client.run(*arguments, timeout=60) as client:
        client.wait_serial("shell: ready")
        yield client
