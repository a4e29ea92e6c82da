"""How scripts of reports end: with what they made, or with an error in words."""
import sys
from collections.abc import Callable

from gavn.config.option_file import OptionError
from gavn.experiments.report.results import ReportError
from gavn.metrics.results_file import ResultsError


def finish(job: Callable[[], str]) -> int:
    """Runs a job and prints what it returns; an error that the user can mend is told on stderr.

    Returns the exit code: 0 or 1.
    """
    try:
        print(job())
    except (ReportError, ResultsError, OptionError, OSError) as error:
        print('error: ' + str(error).replace('\n', '\n  '), file=sys.stderr)
        return 1
    return 0
