"""What YAML allows and a small file of settings does not need: aliases, which multiply, and endless nesting."""

from __future__ import annotations

import yaml

DEEPEST = 20


class AliasError(yaml.MarkedYAMLError):
    """An alias (``*name``): a few lines of them can stand for gigabytes."""


def require_plain(text: str, loader: type) -> None:
    """Refuse what would fill the memory or the stack of whoever builds values from it; nothing is built here.

    Parameters
    ----------
    text : str
    loader : type
        Of PyYAML, that of the caller: its words for a fault of the form are raised too.

    Raises
    ------
    AliasError
    yaml.YAMLError
        No YAML, or nested too deeply.
    """
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.AliasEvent):
            raise AliasError(problem="an alias (*)", problem_mark=event.start_mark)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.MarkedYAMLError(problem="a structure that is too deep", problem_mark=event.start_mark)
