"""Settings of every test: one locale, one thread per process, and the profiles of hypothesis."""

import os

import pytest
from hypothesis import settings

# Their asserts explain themselves as those of tests do.
pytest.register_assert_rewrite("judges", "saved_traces", "strategies", "torch_judge")

# What a reader's terminal and locale would change. Tests that are about them set them.
for name in ("COLUMNS", "FORCE_COLOR", "LANGUAGE", "LINES", "NO_COLOR"):
    os.environ.pop(name, None)
os.environ["LC_ALL"] = "C.UTF-8"

# Tests run in several processes. If each used all cores, they would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A message that a language lacks is an error.
os.environ["CONVTRACE_STRICT_CATALOG"] = "1"

# No test may look for a model on a hub.
os.environ["HF_HUB_OFFLINE"] = "1"

# How long an example takes depends on the machine, so hypothesis does not judge it. CI draws the
# same examples every time: a change is not blamed for what another draw would have found.
settings.register_profile("here", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
