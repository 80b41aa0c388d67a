"""What a rollout in waves is declared to be: whom it reaches, in which waves, and what must hold meanwhile.

The command line and fleet.yaml read these, and the server stores and carries them out, so all read them alike.
"""

from tidegate.rollout.gate import Gate
from tidegate.rollout.selector import Selector, Term
from tidegate.rollout.terms import Budget, Terms
from tidegate.rollout.watch import Watch
from tidegate.rollout.waves import Wave, place
from tidegate.rollout.window import Window

__all__ = ["Budget", "Gate", "Selector", "Term", "Terms", "Watch", "Wave", "Window", "place"]
