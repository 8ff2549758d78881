"""What one would test of a firmware, on our image."""

import re

import pytest

import vgpio


def test_a_button_is_heard_and_the_led_follows(sim: vgpio.Client) -> None:
    sim.pulse("button0", width=0.02)
    sim.wait_serial("edge gpio0:2 button0 rising level=1 count=1")
    sim.wait_serial("edge gpio0:2 button0 falling level=0 count=2")
    # Our firmware does nothing with a button but to tell of it. Yours switches the LED by itself; here we tell it to.
    sim.write_serial("set led1 on\n")
    on = sim.wait_edge("led1", "rising")
    assert on.line.driver == "guest"
    sim.write_serial("set led1 off\n")
    off = sim.wait_edge("led1", "falling")
    assert off.at > on.at
    assert sim.get("led1") == 0


def test_the_led_blinks(sim: vgpio.Client) -> None:
    edges = [sim.wait_edge("led0") for _ in range(6)]
    assert [edge.edge for edge in edges] in (["rising", "falling"] * 3, ["falling", "rising"] * 3)
    assert all(before.seq < after.seq for before, after in zip(edges, edges[1:]))


def test_a_chattering_contact_comes_to_rest(sim: vgpio.Client) -> None:
    sim.bounce("button1", level=1, over=0.05, changes=7, seed=3)
    edges = [sim.wait_edge("button1") for _ in range(7)]
    assert [edge.edge for edge in edges] == ["rising", "falling"] * 3 + ["rising"]
    # The guest need not hear each of them, but it hears the last one.
    told = sim.wait_serial(re.compile(r"edge gpio0:3 button1 rising level=1"))
    assert sim.get("button1") == 1 and told.seq > edges[0].seq


def test_what_does_not_happen_ends_with_the_console(sim: vgpio.Client) -> None:
    with pytest.raises(vgpio.TimedOut, match="(?s)console line with 'no such thing'.*shell: ready"):
        sim.wait_serial("no such thing", timeout=0.1)
    with pytest.raises(vgpio.TimedOut, match="rising edge of button1"):
        sim.wait_edge("button1", "rising", timeout=0.1)


def test_several_clients_can_take_part(sim: vgpio.Client) -> None:
    with vgpio.Client(sim.path, timeout=60) as other:
        other.set_all({"button0": 1, "button1": 1})
        one, two = sim.wait_edge("button0"), sim.wait_edge("button1")
        assert one.at == two.at
        other.release("button0")
        assert sim.wait_edge("button0").line.driver == "nobody"


def test_mistakes_are_named(sim: vgpio.Client) -> None:
    with pytest.raises(vgpio.Refused, match="led9") as refused:
        sim.get("led9")
    assert refused.value.kind == "unknown-line"
    with pytest.raises(ValueError):
        sim.wait_edge("led0", "up")


def test_the_end_is_an_exit_status(sim: vgpio.Client) -> None:
    sim.write_serial("exit\n")
    assert sim.wait_end() == 0
    with pytest.raises(vgpio.Ended):
        sim.wait_serial("no such thing")
    assert any("summary" in line for line in sim.serial())
