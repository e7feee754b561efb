"""The search for a cause: single ones, pairs, fitted ones, on a few elements first."""
