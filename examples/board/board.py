"""A notice board: everybody who is signed in reads it and writes on it, the group "editors" tidies it up."""

import time

from flask import Blueprint, abort, redirect, render_template, url_for
from flask_login import current_user
from flask_wtf import FlaskForm
from peewee import CharField, IntegerField, Model, SqliteDatabase, TextField
from wtforms import StringField, TextAreaField
from wtforms.validators import InputRequired, Length

from blueprints import access

bp = Blueprint("board", __name__, url_prefix="/board", static_folder="static")
database = SqliteDatabase(None)  # of its own: the sign-in's tables are none of its business


class Notice(Model):
    title = CharField()
    text = TextField()
    author = CharField()
    pinned_at = IntegerField(default=time.time)

    class Meta:
        database = database


class NoticeForm(FlaskForm):
    title = StringField("Title", [InputRequired("Say in a few words what it is about"), Length(max=80)])
    text = TextAreaField("Notice", [InputRequired("Write the notice"), Length(max=2000)])


def open_notices(path):
    database.init(path)
    with database.connection_context():
        database.create_tables([Notice])


@bp.before_request
def connect():
    database.connect(reuse_if_open=True)


@bp.teardown_request
def disconnect(_error):
    database.close()


@bp.after_request
def allow_pictures(answer):
    answer.headers["Content-Security-Policy"] = "default-src 'self'; form-action 'self'; frame-ancestors 'none'"
    return answer


@bp.get("/")
def notices():
    newest_first = Notice.select().order_by(Notice.id.desc()).limit(50)
    return render_template("board/notices.html", notices=newest_first)


@bp.route("/new", methods=["GET", "POST"])
def new():
    form = NoticeForm()
    if form.validate_on_submit():
        Notice.create(title=form.title.data, text=form.text.data, author=current_user.email)
        return redirect(url_for("board.notices"), 303)
    return render_template("board/new.html", form=form), 422 if form.errors else 200


@bp.get("/about")
@access.public
def about():
    return render_template("board/about.html")


@bp.get("/tidy")
@access.group_required("editors")
def tidy():
    return render_template("board/tidy.html", notices=Notice.select().order_by(Notice.id))


@bp.post("/<int:notice_id>/remove")
@access.group_required("editors")
def remove(notice_id):
    if not Notice.delete_by_id(notice_id):
        abort(404)
    return redirect(url_for("board.tidy"), 303)
