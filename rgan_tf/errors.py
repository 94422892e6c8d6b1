"""Errors that are meant for the person at the keyboard."""


class UserError(ValueError):
    """Something given to the program cannot be used; the message is one sentence with the value, the place, the mend.

    Every error of this package that a user can cause derives from it, and every command shows it as that sentence.
    """


class WorkspaceError(UserError):
    """A workspace that lacks what is asked of it, or is in use; the message says what makes it fit."""
