"""The entry point: errors become one sentence on stderr and exit code 2."""

from __future__ import annotations

import sys
import warnings

from blemish.cli import pretraining as pretraining  # each adds its verbs
from blemish.cli import synthesizing as synthesizing
from blemish.cli.app import app
from blemish.errors import BlemishError, CalibrationWarning


def main() -> None:
    """Run the command line; 0 = done, 1 = a defect was found (``--fail``), 2 = an error."""
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", CalibrationWarning)
    try:
        app()
    except BlemishError as error:
        sys.exit(_complain(error))
    except OSError as error:
        sys.exit(_complain(error))
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        sys.exit(130)


def _complain(error: Exception) -> int:
    print(f"blemish: {error}", file=sys.stderr)
    return 2


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    print(f"Mind: {message}", file=sys.stderr)
