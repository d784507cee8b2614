"""What a reviewer asks of a finished study, answered from the study's own files: nothing is computed anew or fitted."""

from hepred_lib.reporting.report import write_report

__all__ = ["write_report"]
