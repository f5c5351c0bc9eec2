"""A forgotten password: where anybody asks for a link by mail, and is always told the same. Only with MAIL_URL."""

from functools import partial

from flask import Blueprint, current_app, make_response
from flask.typing import ResponseReturnValue

from blueprints import access
from blueprints.forms import AddressForm, page
from blueprints.session import context, without_request
from database import store
from flows import forgot as flow

bp = Blueprint("forgot", __name__)


@bp.route("/forgot", methods=["GET", "POST"])
@access.public
def ask() -> ResponseReturnValue:
    """The answer is the same, and takes as long, whoever has the address: all else happens once it has gone."""
    form = AddressForm()
    if not form.validate_on_submit():
        return page("forgot/ask.html", form)
    asked = context()
    flow.ask(form.address, asked)
    answer = make_response(page("forgot/asked.html", email=form.address))
    mailer = current_app.extensions["mailer"]
    answer.call_on_close(partial(mailer.answer_forgotten, store(), form.address, without_request(asked)))
    return answer
