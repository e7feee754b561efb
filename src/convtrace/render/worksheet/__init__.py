"""Exercises for paper, with answer keys."""
