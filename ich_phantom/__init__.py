"""A simulated cohort of intracerebral hemorrhage whose truth is known: bedside variables, head CTs, masks, outcomes.

Usable alone: ``python -m ich_phantom OUT --patients N --seed S``, or :func:`ich_phantom.cohort.simulate_cohort`. From
``hepred_lib`` it takes only what a cohort's files must agree with: the manifest's columns, the definition of expansion
and the NIfTI writer; and the base of its errors. ``docs/phantom.md`` describes the model, the files and the limits.
"""

import ast
import hashlib
from pathlib import Path

from hepred_lib.errors import InputError


class PhantomError(InputError):
    """A cohort that cannot be simulated as asked, in one sentence."""


def code_digest() -> str:
    """A short digest of this package's code, without comments, docstrings and layout: other code makes other scans."""
    together = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        tree = ast.parse(path.read_bytes())
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:]
        together.update(ast.dump(tree).encode())
    return together.hexdigest()[:16]
