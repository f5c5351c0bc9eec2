"""The least that could be: a page and a form of bare Flask; a form with a CSRF token, made by the libraries of the
site, whose sending is one transaction; and the verifying of one password, timed where it happens."""

import os
import time

from flask import Flask, redirect, request
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from passlib.context import CryptContext
from wtforms import PasswordField, StringField

from database import connect_database

app = Flask(__name__)
app.config["SECRET_KEY"] = os.environ["FLASK_SECRET_KEY"]
database = connect_database(os.environ["FLASK_DATABASE_URL"])
hasher = CryptContext(["argon2"])
stored = hasher.hash("a password")


class Form(FlaskForm):  # type: ignore[misc]
    email = StringField("Email address")
    password = PasswordField("Password")


@app.get("/")
def bare_page() -> str:
    return "ok"


@app.post("/")
def bare_form() -> str:
    return request.form["code"]


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
