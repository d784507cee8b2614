"""The one family of errors for what a user gives: the command line turns each into one line and exit status 2."""


class InputError(ValueError):
    """An argument, a file or a table that cannot be used: which one, what is required, what was found, for whom."""
