"""Every form: its fields, their labels, what shape they must have, and where each refusal is shown. No look-ups, no
side effects."""

import re
from typing import Any, TypeVar

from flask import render_template, request
from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    Field,
    HiddenField,
    PasswordField,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms.validators import AnyOf, DataRequired, InputRequired, Length, ValidationError

from authn import email_addresses, groups
from authn.refusals import CopiedKey, LineTaken, NotSixDigits, Refusal, RefusedKey, WeakPassword, WrongPassword
from authn.security_keys import LONGEST_NAME
from blueprints import messages

MAX_ID = 2**31 - 1
PAGE = 50
Row = TypeVar("Row")


def page(template: str, form: FlaskForm | None = None, status: int = 200, **context: Any) -> tuple[str, int]:
    """Return the page, with status 422 when its form was rejected."""
    rejected = form is not None and bool(form.errors)
    return render_template(template, form=form, **context), 422 if rejected else status


def one_line(text: str | None) -> str:
    """Return the text with a space for every character that cannot be seen."""
    return "".join(c if c.isprintable() else " " for c in text or "")


def id_in_query(name: str) -> int | None:
    """Return the row id in the query string; None where there is none that a database could hold."""
    found = request.args.get(name, type=int)
    return found if found is not None and 0 < found <= MAX_ID else None


def first_page(found: list[Row]) -> dict[str, Any]:
    """Return a page of what was found, of which one more than a page was asked for, and whether there are more."""
    return {"rows": found[:PAGE], "more": len(found) > PAGE}


def reject(field: Field, message: str) -> None:
    """Say at the field why what it holds was not taken."""
    field.errors = [*field.errors, message]


class Form(FlaskForm):  # type: ignore[misc]
    """Reads form fields alone: an uploaded file or a JSON body in place of text is a field left empty."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        def wrap_formdata(self, form: FlaskForm, formdata: Any) -> Any:
            return request.form if form.is_submitted() else None


class TextField(StringField):  # type: ignore[misc]
    """Shows again what was typed, but for control characters, which no page may hold."""

    def _value(self) -> str:
        return one_line(self.data)


class TextArea(TextAreaField):  # type: ignore[misc]
    """Shows again what was typed, line by line, but for control characters."""

    def _value(self) -> str:
        return "\n".join(one_line(line) for line in re.split("\r\n?|\n", self.data or ""))


class Tick(BooleanField):  # type: ignore[misc]
    """A box that counts as ticked only when the browser sends the very value it was given."""

    def process_formdata(self, valuelist: list[str]) -> None:
        self.data = valuelist[:1] == ["yes"]


class AddressForm(Form):
    email = TextField("Email address", [InputRequired("Enter your email address")])

    def validate_email(self, field: Field) -> None:
        if email_addresses.fold(field.data) is None:
            raise ValidationError("Enter an email address in the form name@example.com")

    @property
    def address(self) -> str:
        return email_addresses.fold(self.email.data) or ""


class SignInForm(AddressForm):
    password = PasswordField("Password", [InputRequired("Enter your password")])
    next = HiddenField(filters=[one_line])

    def refuse(self, refusal: Refusal) -> None:
        reject(self.email, messages.explain(refusal))


def _six_digits() -> TextField:
    return TextField("Six-digit code", [InputRequired("Enter the six-digit code your app shows")])


class CodeForm(Form):
    code = _six_digits()

    def refuse(self, refusal: Refusal) -> None:
        """Say why the code was not taken."""
        reject(self.code, messages.explain(refusal))
        if not isinstance(refusal, NotSixDigits):
            self.code.data = ""  # it takes another one


class VerifyForm(CodeForm):
    password = PasswordField("Password", [InputRequired("Enter your password")])
    code = _six_digits()  # after the password, as on the page

    def refuse(self, refusal: Refusal) -> None:
        if isinstance(refusal, WrongPassword):
            reject(self.password, messages.of_form("not-the-password"))
        else:
            super().refuse(refusal)


class RecoveredVerifyForm(VerifyForm):
    code = TextField("Six-digit code")  # or nothing: the phone may be lost


def _answer() -> HiddenField:
    """What a security key has answered. The page that asks it has an input of that name; errors stand at its button."""
    return HiddenField(id="use-key")


class AnswerForm(Form):
    answer = _answer()

    def refuse(self, refusal: Refusal) -> None:
        """Say why the answer was not taken."""
        reject(self.answer, messages.explain(refusal))


class NewKeyForm(AnswerForm):
    too_long = f"Use at most {LONGEST_NAME} characters"
    name = TextField(
        "Name",
        [DataRequired("Give the key a name"), Length(max=LONGEST_NAME, message=too_long)],
        filters=[lambda name: name and name.strip()],
    )
    answer = _answer()  # after the name, as on the page

    def validate_name(self, field: Field) -> None:
        if not field.data.isprintable():
            raise ValidationError("Use characters that can be seen")


class KeyVerifyForm(VerifyForm):
    """Takes a security key in place of the code. Without its field for codes it takes nothing else."""

    code = TextField("Six-digit code")
    answer = _answer()
    takes_password_alone = False

    def validate_answer(self, field: Field) -> None:
        if not (field.data or (self.code and self.code.data) or self.takes_password_alone):
            raise ValidationError(messages.of_form("key-or-code" if self.code else "key"))

    def refuse(self, refusal: Refusal) -> None:
        if isinstance(refusal, RefusedKey | CopiedKey):
            reject(self.answer, messages.explain(refusal))
        else:
            super().refuse(refusal)


class RecoveryCodeForm(Form):
    recovery_code = TextField("Recovery code")


class SavedForm(Form):
    saved = Tick("I've saved my recovery code where I can reach it without my phone")
    shown = HiddenField()  # which code the page showed


class LostDeviceForm(Form):
    answers = AnyOf(["no", "yes", "later"], "Choose one of the three answers")
    still_have = TextField(validators=[answers])  # each answer is a button
    lost_keys = SelectMultipleField(coerce=str, validate_choice=False)

    @property
    def lost_ids(self) -> list[int]:
        """Return the ids of the keys that were ticked."""
        return [int(each) for each in self.lost_keys.data or [] if re.fullmatch("[0-9]{1,10}", each)]


class SetupKeyForm(Form):
    key = TextField("Setup key", [InputRequired("Paste the setup key from the page")])


class NewPasswordForm(Form):
    new_password = PasswordField("New password", [InputRequired("Enter a new password")])


class PasswordForm(Form):
    current_password = PasswordField("Current password", [InputRequired("Enter your current password")])
    new_password = PasswordField("New password", [InputRequired("Enter a new password")])

    def refuse(self, refusal: Refusal) -> None:
        if isinstance(refusal, WeakPassword):
            reject(self.new_password, messages.explain(refusal))
        else:
            reject(self.current_password, messages.of_form("not-the-current-password"))


class ReasonForm(Form):
    reason = TextField("Reason", [Length(max=200, message="Use at most 200 characters")], filters=[one_line])


class GroupsForm(Form):
    groups = TextField("Groups", filters=[one_line])

    def validate_groups(self, field: Field) -> None:
        if not field.raw_data:  # an empty field means no group, and a form without it nothing
            raise ValidationError("Say which groups, or leave the field empty for none")

    @property
    def names(self) -> list[str]:
        return groups.split(self.groups.data or "")

    def refuse(self, refusal: Refusal) -> None:
        reject(self.groups, messages.explain(refusal))


class NewPeopleForm(Form):
    emails = TextArea("Email addresses")
    mail = Tick("Mail the links")

    def validate_emails(self, field: Field) -> None:
        self._lines, self._wrong = email_addresses.read_list(field.data or "")
        self._say_what_is_wrong()

    @property
    def addresses(self) -> list[str]:
        return list(self._lines)

    def refuse(self, taken: list[str]) -> None:
        """Say as well in which lines somebody's address is."""
        self._wrong |= {self._lines[email]: LineTaken(self._lines[email], email) for email in taken}
        self._say_what_is_wrong()

    def _say_what_is_wrong(self) -> None:
        self.emails.errors = [one_line(messages.explain(wrong)) for _, wrong in sorted(self._wrong.items())]


class SwitchForm(Form):
    turn = HiddenField(validators=[AnyOf(["on", "off"], "Choose on or off")])


class ButtonForm(Form):
    """A button and nothing to fill in."""
