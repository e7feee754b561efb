"""The table of rules: every function that it names is there."""

import pytest

from convtrace.rules import MOVE, RULES, Rule


@pytest.mark.parametrize("kind", [*RULES, "any move"])
def test_each_name_in_the_table_is_a_function(kind: str) -> None:
    rule = MOVE if kind == "any move" else RULES[kind]
    for name, function in (
        (rule.explaining, rule.why),
        (rule.pulling, rule.pull),
        (rule.listing, rule.uses),
    ):
        assert (function is None) == (name is None)
        assert function is None or (
            callable(function) and function.__module__.endswith(f"rules.{str(name).split('.')[0]}")
        )


def test_a_rule_that_names_what_is_not_there_is_noticed() -> None:
    with pytest.raises(AttributeError):
        _ = Rule("linear", "conv.wy").why
