"""Every form: its fields, their labels and what shape they must have. No look-ups, no side effects."""

from typing import Any

from flask import current_app, render_template, request
from flask_wtf import FlaskForm
from wtforms import BooleanField, Field, HiddenField, PasswordField, StringField
from wtforms.validators import AnyOf, InputRequired, Length, ValidationError

from authn import email_addresses, totp
from models import Refusal

MAX_ID = 2**31 - 1
_PLAIN = {"autocapitalize": "none", "spellcheck": "false"}


def page(template: str, form: FlaskForm | None = None, status: int = 200, **context: Any) -> tuple[str, int]:
    """The page; 422 when its form was rejected."""
    rejected = form is not None and bool(form.errors)
    return render_template(template, form=form, **context), 422 if rejected else status


def one_line(text: str | None) -> str:
    """The text with a space for every character that cannot be seen."""
    return "".join(c if c.isprintable() else " " for c in text or "")


def id_in_query(name: str) -> int | None:
    """The row id in the query string; None where there is none that a database could hold."""
    found = request.args.get(name, type=int)
    return found if found is not None and 0 < found <= MAX_ID else None


def reject(field: Field, message: str) -> None:
    """Say at the field why what it holds was not taken."""
    field.errors = [*field.errors, message]


def _password(label: str, empty: str, autocomplete: str) -> PasswordField:
    return PasswordField(label, [InputRequired(empty)], render_kw={"autocomplete": autocomplete, **_PLAIN})


class Form(FlaskForm):  # type: ignore[misc]
    """Reads form fields alone: an uploaded file or a JSON body in place of text is a field left empty."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        def wrap_formdata(self, form: FlaskForm, formdata: Any) -> Any:
            return request.form if form.is_submitted() else None


class TextField(StringField):  # type: ignore[misc]
    """Shows again what was typed, but for control characters, which no page may hold."""

    def _value(self) -> str:
        return one_line(self.data)


class Tick(BooleanField):  # type: ignore[misc]
    """A box that counts as ticked only when the browser sends the very value it was given."""

    def process_formdata(self, valuelist: list[str]) -> None:
        self.data = valuelist[:1] == ["yes"]


class SignInForm(Form):
    email = TextField(
        "Email address",
        [InputRequired("Enter your email address")],
        render_kw={"type": "email", "autocomplete": "username", "inputmode": "email", **_PLAIN},
    )
    password = _password("Password", "Enter your password", "current-password")
    next = HiddenField()

    def validate_email(self, field: Field) -> None:
        if email_addresses.fold(field.data) is None:
            raise ValidationError("Enter an email address in the form name@example.com")

    @property
    def address(self) -> str:
        return email_addresses.fold(self.email.data) or ""


def _six_digits() -> TextField:
    return TextField(
        "Six-digit code",
        [InputRequired("Enter the six-digit code your app shows")],
        render_kw={"inputmode": "numeric", "autocomplete": "one-time-code", "class": "code", **_PLAIN},
    )


class CodeForm(Form):
    code = _six_digits()

    def refuse(self, refusal: Refusal, now: int) -> None:
        """Say why the code was not taken. `now` is in seconds UTC."""
        wait = totp.seconds_left(now)
        site = current_app.config["SITE_NAME"]
        messages = {
            Refusal.NOT_A_CODE: "The code has six digits. Check it and try again.",
            Refusal.WRONG: f"That code didn't match. Type the newest code your app shows for {site}.",
            Refusal.USED: f"You've already used that code. Wait for the next one (about {wait} seconds).",
        }
        reject(self.code, messages[refusal])
        if refusal is not Refusal.NOT_A_CODE:
            self.code.data = ""  # it takes another one


class VerifyForm(CodeForm):
    password = _password("Password", "Enter your password", "current-password")
    code = _six_digits()  # after the password, as on the page

    def refuse(self, refusal: Refusal, now: int) -> None:
        if refusal is Refusal.WRONG_PASSWORD:
            reject(self.password, "That password isn't right. Check it and try again.")
        else:
            super().refuse(refusal, now)


class RecoveryCodeForm(Form):
    recovery_code = TextField(
        "Recovery code",
        render_kw={
            "autocomplete": "off",
            "autocapitalize": "characters",
            "spellcheck": "false",
            "class": "recovery",
            "required": True,
        },
    )


class SavedForm(Form):
    saved = Tick(
        "I've saved my recovery code where I can reach it without my phone",
        render_kw={"value": "yes", "required": True},
    )
    shown = HiddenField()  # which code the page showed


class LostDeviceForm(Form):
    answers = AnyOf(["no", "yes", "later"], "Choose one of the three answers")
    still_have = TextField(validators=[answers])  # each answer is a button


class SetupKeyForm(Form):
    key = TextField(
        "Setup key", [InputRequired("Paste the setup key from the page")], render_kw={"autocomplete": "off", **_PLAIN}
    )


class NewPasswordForm(Form):
    new_password = _password("New password", "Enter a new password", "new-password")


class PasswordForm(Form):
    current_password = _password("Current password", "Enter your current password", "current-password")
    new_password = _password("New password", "Enter a new password", "new-password")


class ReasonForm(Form):
    reason = TextField("Reason", [Length(max=200, message="Use at most 200 characters")], filters=[one_line])


class SwitchForm(Form):
    turn = HiddenField(validators=[AnyOf(["on", "off"], "Choose on or off")])


class ButtonForm(Form):
    """A button and nothing to fill in."""
