"""Common end of report scripts: prints the result or an error."""
import sys
from collections.abc import Callable

from gavn.config.option_file import OptionError
from gavn.experiments.report.results import ReportError
from gavn.metrics.results_file import ResultsError


def finish(job: Callable[[], str]) -> int:
    """Runs a job and prints its result; prints errors that the user can fix on stderr.

    Returns:
        The exit code: 0 or 1.
    """
    try:
        print(job())
    except (ReportError, ResultsError, OptionError, OSError) as error:
        print('error: ' + str(error).replace('\n', '\n  '), file=sys.stderr)
        return 1
    return 0
