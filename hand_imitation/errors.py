"""Errors that are the user's to mend: one clear line, never a traceback."""


class UserError(Exception):
    """Bad input. The message says what was wrong and what to do next.

    The command line prints it as one line and exits with code 2.
    """
