"""`python -m convtrace`."""

from convtrace.cli import main

if __name__ == "__main__":
    main()
