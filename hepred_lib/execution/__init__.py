"""A study carried out: notebooks by papermill, the whole as a graph by Snakemake."""
