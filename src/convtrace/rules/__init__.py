"""One file for each family of operators; a table maps kinds of steps to their rules.

Each rule answers the same question about a step:

    why(step, index, reporter) -> Receipt     one number and every multiplication that made it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from convtrace.receipt import Receipt
from convtrace.rules import conv
from convtrace.step import Step

Rule = Callable[[Step, tuple[int, ...], str], Receipt]

WHY: Mapping[str, Rule] = MappingProxyType({"convolution": conv.why})
"""Rules by kind of step. A kind without a rule is opaque."""
