"""The whole sign-in as one table: from which step, by what, to which step. Knows neither pages nor rows."""

from enum import StrEnum, auto
from typing import NamedTuple


class Step(StrEnum):
    """What a session is to do next. Only the last one is signed in."""

    CHALLENGE = auto()  # use a security key, or type a six-digit code or the recovery code
    ENROLL = auto()  # set up a first authenticator app
    SAVE_CODE = auto()  # save a recovery code: the prompt
    REPLACE_CODE = auto()  # a recovery code was typed: save the one that replaces it
    LOST_DEVICE = auto()  # say whether the old app is still there
    REPLACE_DEVICE = auto()  # it is not: set up another one
    SIGNED_IN = auto()


class Cause(StrEnum):
    """What moves a session on."""

    RIGHT_PASSWORD = auto()
    PASSWORD_WITHOUT_APP = auto()  # the right one, of somebody who has no authenticator app yet
    RIGHT_CODE = auto()  # six digits from the app
    RIGHT_KEY = auto()  # a security key has signed
    RECOVERY_CODE = auto()  # the live one, which is claimed and not spent yet
    NEW_APP = auto()  # its first code was right
    CODE_SAVED = auto()  # the box at the prompt was ticked
    CODES_OFF = auto()  # recovery codes were switched off at the prompt
    DEVICE_KEPT = auto()
    DEVICE_LATER = auto()  # waits for a new phone
    DEVICE_GONE = auto()
    STEP_UP = auto()  # password and six-digit code, or security key, once more
    KEYS_CHANGED = auto()  # a security key was added or removed
    NEW_PASSWORD = auto()


class SecondFactor(StrEnum):
    """What was given beside the password."""

    TOTP = auto()
    KEY = auto()
    RECOVERY = auto()


class Transition(NamedTuple):
    """`start` is None before the sign-in. Where `new_token` is False the token stays, so that both requests of a double
    click find the session."""

    start: Step | None
    cause: Cause
    end: Step
    new_token: bool = True
    code_is_due: bool = False  # whether this row is for people who must save a recovery code first


TRANSITIONS = (
    Transition(None, Cause.RIGHT_PASSWORD, Step.CHALLENGE),
    Transition(None, Cause.PASSWORD_WITHOUT_APP, Step.ENROLL),
    Transition(Step.CHALLENGE, Cause.RIGHT_CODE, Step.SIGNED_IN),
    Transition(Step.CHALLENGE, Cause.RIGHT_CODE, Step.SAVE_CODE, code_is_due=True),
    Transition(Step.CHALLENGE, Cause.RIGHT_KEY, Step.SIGNED_IN),
    Transition(Step.CHALLENGE, Cause.RIGHT_KEY, Step.SAVE_CODE, code_is_due=True),
    Transition(Step.CHALLENGE, Cause.RECOVERY_CODE, Step.REPLACE_CODE, new_token=False),
    Transition(Step.ENROLL, Cause.NEW_APP, Step.SIGNED_IN),
    Transition(Step.ENROLL, Cause.NEW_APP, Step.SAVE_CODE, new_token=False, code_is_due=True),
    Transition(Step.SAVE_CODE, Cause.CODE_SAVED, Step.SIGNED_IN),
    Transition(Step.SAVE_CODE, Cause.CODES_OFF, Step.SIGNED_IN),
    Transition(Step.REPLACE_CODE, Cause.CODE_SAVED, Step.LOST_DEVICE),
    Transition(Step.LOST_DEVICE, Cause.DEVICE_KEPT, Step.SIGNED_IN),
    Transition(Step.LOST_DEVICE, Cause.DEVICE_LATER, Step.SIGNED_IN),
    Transition(Step.LOST_DEVICE, Cause.DEVICE_GONE, Step.REPLACE_DEVICE, new_token=False),
    Transition(Step.REPLACE_DEVICE, Cause.DEVICE_KEPT, Step.SIGNED_IN),
    Transition(Step.REPLACE_DEVICE, Cause.DEVICE_LATER, Step.SIGNED_IN),
    Transition(Step.REPLACE_DEVICE, Cause.DEVICE_GONE, Step.REPLACE_DEVICE, new_token=False),
    Transition(Step.REPLACE_DEVICE, Cause.NEW_APP, Step.SIGNED_IN),
    Transition(Step.REPLACE_DEVICE, Cause.NEW_APP, Step.SAVE_CODE, new_token=False, code_is_due=True),
    Transition(Step.SIGNED_IN, Cause.NEW_APP, Step.SIGNED_IN),
    Transition(Step.SIGNED_IN, Cause.NEW_APP, Step.SIGNED_IN, new_token=False, code_is_due=True),
    Transition(Step.SIGNED_IN, Cause.CODE_SAVED, Step.SIGNED_IN),
    Transition(Step.SIGNED_IN, Cause.CODES_OFF, Step.SIGNED_IN),
    Transition(Step.SIGNED_IN, Cause.STEP_UP, Step.SIGNED_IN),
    Transition(Step.SIGNED_IN, Cause.KEYS_CHANGED, Step.SIGNED_IN),
    Transition(Step.SIGNED_IN, Cause.NEW_PASSWORD, Step.SIGNED_IN),
)
_ROWS = {(row.start, row.cause, row.code_is_due): row for row in TRANSITIONS}

SETTING_UP = (Step.ENROLL, Step.SAVE_CODE, Step.REPLACE_CODE, Step.REPLACE_DEVICE)  # stay open for ENROLLMENT_SECONDS


def follow(start: Step | None, cause: Cause, *, code_is_due: bool = False) -> Transition:
    """Return the row of the table for this step and cause; KeyError when there is none."""
    return _ROWS[start, cause, code_is_due]
