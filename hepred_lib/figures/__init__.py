"""Figures: each function draws what it is given and returns axes."""
