"""Small trained networks that ship with convtrace, for the demo, the docs and the tests."""
