"""Errors: the tree, the built-in classes that they also are, and their text."""

import builtins
import copy
import inspect
import pickle
import re

import pytest

import convtrace as ct
from convtrace import errors

CLASSES = [
    found
    for found in vars(errors).values()
    if inspect.isclass(found) and issubclass(found, errors.ConvtraceError)
]


def drawn_tree() -> dict[str, tuple[str, str | None]]:
    """Read the tree in the module's docstring: class -> (parent, built-in class)."""
    tree: dict[str, tuple[str, str | None]] = {}
    parents: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"(?P<rail>[ │├└─]*)(?P<name>\w+Error)\b(?: +\((?P<builtin>\w+)\))?", line)
        if match is None:
            continue
        depth = len(match["rail"])
        parents = [(level, name) for level, name in parents if level < depth]
        if parents:
            tree[match["name"]] = (parents[-1][1], match["builtin"])
        parents.append((depth, match["name"]))
    return tree


def test_the_drawing_in_the_docstring_holds_every_class() -> None:
    assert set(drawn_tree()) == {found.__name__ for found in CLASSES} - {"ConvtraceError"}


@pytest.mark.parametrize(("name", "place"), drawn_tree().items())
def test_a_class_stands_where_the_drawing_puts_it(name: str, place: tuple[str, str | None]) -> None:
    parent, builtin = place
    bases = [base.__name__ for base in getattr(errors, name).__bases__]
    assert bases == [parent, *([builtin] if builtin else [])]


@pytest.mark.parametrize(
    ("name", "builtin"),
    [
        ("AddressError", ValueError),
        ("UnknownStepError", KeyError),
        ("OutOfRangeError", IndexError),
        ("ShapeError", ValueError),
        ("EmptyTensorError", ValueError),
        ("ModelError", RuntimeError),
        ("NoConvolutionError", ValueError),
        ("TensorChangedError", RuntimeError),
        ("NoValueError", ValueError),
        ("UsageError", ValueError),
        ("FileError", OSError),
        ("MissingFileError", FileNotFoundError),
        ("FileFormatError", ValueError),
        ("FileFormatError", OSError),
        ("UnsafeFileError", ValueError),
        ("MissingDependencyError", ImportError),
    ],
)
def test_an_error_can_be_caught_as_the_built_in_class_that_fits(
    name: str, builtin: type[Exception]
) -> None:
    with pytest.raises(builtin):
        raise getattr(errors, name)("a message")


@pytest.mark.parametrize("kind", CLASSES)
def test_every_error_can_be_caught_as_convtrace_error(kind: type[Exception]) -> None:
    with pytest.raises(ct.ConvtraceError):
        raise kind("a message")


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_shows_its_message_as_it_is(kind: type[Exception]) -> None:
    message = 'first line\n  it\'s "quoted" and has a −\n'
    assert str(kind(message)) == message


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_without_a_message_is_blank(kind: type[Exception]) -> None:
    assert str(kind()) == ""


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_can_be_copied_and_sent_to_another_process(kind: type[Exception]) -> None:
    for twin in (copy.copy(kind("a message")), pickle.loads(pickle.dumps(kind("a message")))):
        assert type(twin) is kind
        assert str(twin) == "a message"


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_says_what_it_is_for(kind: type[Exception]) -> None:
    assert kind.__doc__


@pytest.mark.parametrize("kind", CLASSES)
def test_no_class_has_the_name_of_a_built_in_one(kind: type[Exception]) -> None:
    assert not hasattr(builtins, kind.__name__)


@pytest.mark.parametrize("kind", [k for k in CLASSES if k is not errors.FileError])
def test_every_error_is_a_public_name(kind: type[Exception]) -> None:
    assert getattr(ct, kind.__name__) is kind
    assert kind.__name__ in ct.__all__
