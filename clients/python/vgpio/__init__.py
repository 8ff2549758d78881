"""Control a simulated GPIO device and the guest behind it.

    with vgpio.Client.run("--for", "60") as sim:
        sim.pulse("button0")
        sim.wait_serial("edge gpio0:2 button0 rising")
        sim.wait_edge("led0", "rising")

docs/control.md of the project describes what is said on the socket.
"""

from .client import Client, Line, Event, Change, Console, Ended, Refused, TimedOut

__all__ = ["Change", "Client", "Console", "Ended", "Event", "Line", "Refused", "TimedOut"]
