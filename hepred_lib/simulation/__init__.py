"""A simulated cohort whose truth is known."""
