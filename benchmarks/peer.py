"""Flask-Security with the same two steps behind a password, as its own documentation sets them up. It runs in an
environment of its own and imports nothing of ours. `python -m benchmarks.peer COUNT` makes people and prints them."""

import json
import os
import sys

from flask import Flask
from flask_security import Security, SQLAlchemyUserDatastore, hash_password
from flask_security.models import fsqla_v3
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event

app = Flask(__name__)
app.config.update(
    SECRET_KEY=os.environ["FLASK_SECRET_KEY"],
    SQLALCHEMY_DATABASE_URI=os.environ["FLASK_DATABASE_URL"],
    SECURITY_PASSWORD_SALT="salt" * 8,
    # Passwords are no part of what is compared, and with a cheap hash nobody waits for them.
    SECURITY_PASSWORD_HASH_PASSLIB_OPTIONS={
        "argon2__memory_cost": 8,
        "argon2__time_cost": 1,
        "argon2__parallelism": 1,
    },
    SECURITY_TWO_FACTOR=True,
    SECURITY_TWO_FACTOR_REQUIRED=True,
    SECURITY_TWO_FACTOR_ENABLED_METHODS=["authenticator"],
    SECURITY_MULTI_FACTOR_RECOVERY_CODES=True,
    SECURITY_TOTP_SECRETS={"1": "a secret of forty characters, at the least"},
    SECURITY_TOTP_ISSUER="Peer",
    SECURITY_SEND_REGISTER_EMAIL=False,
)
database = SQLAlchemy(app)
fsqla_v3.FsModels.set_db_info(database)


class Role(database.Model, fsqla_v3.FsRoleMixin):
    pass


class User(database.Model, fsqla_v3.FsUserMixin):
    pass


security = Security(app, SQLAlchemyUserDatastore(database, User, Role))
with app.app_context():

    @event.listens_for(database.engine, "connect")
    def write_ahead(connection, _record):
        """As ours writes."""
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("PRAGMA foreign_keys = on")


def add(number: int, password: str) -> dict[str, object]:
    totp = security._totp_factory
    secret, codes = totp.generate_totp_secret(), totp.generate_recovery_codes(5)
    user = security.datastore.create_user(
        email=f"maya{number}@example.com",
        password=password,
        tf_primary_method="authenticator",
        tf_totp_secret=secret,
        mf_recovery_codes=codes,
    )
    return {"email": user.email, "key": totp.get_totp_b32_key(secret), "codes": codes}


def main() -> None:
    with app.app_context():
        database.create_all()
        password = hash_password("a lamp, a boat and a heron")
        people = [add(number, password) for number in range(int(sys.argv[1]))]
        database.session.commit()
    print(json.dumps(people))


if __name__ == "__main__":
    main()
