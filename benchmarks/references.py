"""What ours is held against, made of the same libraries as a Flask developer makes it by hand: a bare page; a form with
one commit; a page with a form of the same shape as the sign-in's. And the verifying of one password, timed where it
happens."""

import os
import time

from flask import Flask, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from passlib.context import CryptContext
from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import InputRequired

from database import connect_database

app = Flask(__name__)
app.config["SECRET_KEY"] = os.environ["FLASK_SECRET_KEY"]
database = connect_database(os.environ["FLASK_DATABASE_URL"])
hasher = CryptContext(["argon2"])
stored = hasher.hash("a password")


class Form(FlaskForm):  # type: ignore[misc]
    email = StringField("Email address", [InputRequired("Enter your email address")])
    password = PasswordField("Password", [InputRequired("Enter your password")])
    next = HiddenField()


@app.get("/")
def bare_page() -> str:
    return "ok"


@app.get("/verify")
def verify() -> str:
    started = time.perf_counter()
    hasher.verify("a password", stored)
    return str(time.perf_counter() - started)


@app.route("/form", methods=["GET", "POST"])
def form() -> ResponseReturnValue:
    form = Form()
    if form.validate_on_submit():
        with database.connection_context(), database.atomic():
            database.execute_sql("UPDATE setting SET changed_at = changed_at + 1")
        return redirect("/form", 303)
    return f"<!doctype html><form method=post>{form.csrf_token}{form.email}{form.password}<button>Send</button></form>"


@app.get("/page")
def page() -> str:
    return render_template("page.html", form=Form(next=request.args.get("next", "")), site="Site", contact="the owner")
