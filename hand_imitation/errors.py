"""Errors that are the user's to mend, and the exit codes of every program."""

EXIT_MISSED = 1
"""It is done, and the verdict is negative."""
EXIT_BAD_INPUT = 2
"""The user must mend something; nothing was written."""
EXIT_FAILED = 3
"""It failed midway."""
EXIT_INTERRUPTED = 130
"""Long work was interrupted."""


class UserError(Exception):
    """Bad input. The message says what was wrong and what to do next.

    The command line prints it as one line and exits with `EXIT_BAD_INPUT`.
    """
