"""An unsaved recovery code belongs to the session that shows it. And what else is kept since 1.0 in
columns: guesses that pages tell of, and the steps whose codes are used up."""

from peewee import SqliteDatabase


def up(migrator, db):
    for statement in (*unsaved_codes(), *columns("INTEGER" if isinstance(db, SqliteDatabase) else "BIGINT")):
        db.execute_sql(statement)


def unsaved_codes():
    """To whom the unsaved codes were shown is not known, so none of them is shown again: whoever is at the prompt is
    shown a new one."""
    yield "UPDATE recovery_code SET sealed_code = NULL"
    yield 'DROP INDEX "recovery_code_one_unsaved"'
    yield 'ALTER TABLE "enrollment" DROP COLUMN "sealed_code"'
    session = '"session_id" INTEGER REFERENCES "session" ("id") ON DELETE SET NULL'
    yield f'ALTER TABLE "recovery_code" ADD COLUMN {session}'
    yield 'CREATE UNIQUE INDEX "recovery_code_session_id" ON "recovery_code" ("session_id")'


def columns(moment):
    yield """ALTER TABLE "totp_authenticator" ADD COLUMN "earlier_steps" TEXT NOT NULL DEFAULT ''"""
    yield f'ALTER TABLE "session" ADD COLUMN "password_at" {moment}'
    yield 'ALTER TABLE "user" ADD COLUMN "browser_generation" INTEGER NOT NULL DEFAULT 0'
    yield 'ALTER TABLE "user" ADD COLUMN "wrong_codes" INTEGER NOT NULL DEFAULT 0'
    yield f'ALTER TABLE "user" ADD COLUMN "wrong_codes_since" {moment}'
    yield """ALTER TABLE "user" ADD COLUMN "wrong_codes_from" VARCHAR(45) NOT NULL DEFAULT ''"""
