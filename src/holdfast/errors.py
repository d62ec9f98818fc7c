"""Everything Holdfast raises on purpose.

    HoldfastError                  exit 4
    ├── UserError                  exit 2   the user's input is wrong
    │   └── ConfigError            exit 2   with file, line and column
    ├── Refused                    exit 1   a gate or a rule said no
    └── OutsideError               exit 4   something outside failed (disk, network, registry, model)
        ├── Conflict               exit 4   somebody else was first (a lost compare-and-swap)
        └── Damaged                exit 4   stored content is not what its name or chain says

A message is one sentence that says what was expected and what was found; `hint` is the next thing to type.
"""

from __future__ import annotations


class HoldfastError(Exception):
    """Base of all deliberate errors; `message` is for people, `reason_code` for programs."""

    exit_status = 4
    reason_code = "error"

    def __init__(self, message: str, *, hint: str | None = None, reason_code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if reason_code is not None:
            self.reason_code = reason_code

    def __str__(self) -> str:
        return f"{self.message} {self.hint}" if self.hint else self.message


class UserError(HoldfastError):
    """What the user gave cannot be used."""

    exit_status = 2
    reason_code = "bad_input"


class ConfigError(UserError):
    """A declaration in a project file is wrong; knows where it stands.

    `file`, `line` and `column` (both from 1) are None where the place is unknown.
    """

    reason_code = "bad_config"

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.file, self.line, self.column = file, line, column

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        text = super().__str__()
        return f"{place}: {text}" if place else text


class Refused(HoldfastError):
    """A gate or a rule said no."""

    exit_status = 1
    reason_code = "refused"


class OutsideError(HoldfastError):
    """Something that Holdfast does not control failed."""

    exit_status = 4
    reason_code = "outside"


class Conflict(OutsideError):
    """Somebody else was first; the message names who."""

    reason_code = "conflict"


class Damaged(OutsideError):
    """Stored content does not match the hash it is known by."""

    reason_code = "damaged"
