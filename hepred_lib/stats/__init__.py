"""Statistics of a prediction model: arrays and tables in, numbers out; no files, no torch."""
