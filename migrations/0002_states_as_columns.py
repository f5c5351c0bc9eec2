"""From 1.0: every state is a step or a column, no longer read from the record; and SQLite gives no id twice."""

from peewee import SqliteDatabase

SETUPS = "'enrollment_started', 'authenticator_added', 'authenticator_replaced'"
NOTICES = "'recovery_code_spent', 'recovery_notice_dismissed'"
ANSWERS = (
    "kind IN ('device_missing', 'device_kept', 'authenticator_replaced') OR kind = 'signed_in' AND detail = 'totp'"
)


def up(migrator, db):
    on_sqlite = isinstance(db, SqliteDatabase)
    moment, yes_or_no = (
        ("INTEGER", "INTEGER NOT NULL DEFAULT 0") if on_sqlite else ("BIGINT", "BOOLEAN NOT NULL DEFAULT false")
    )
    for column in ("last_sign_in_at", "setup_begun_at", "waiting_since", "recovery_used_at"):
        db.execute_sql(f'ALTER TABLE "user" ADD COLUMN "{column}" {moment}')
    db.execute_sql("""ALTER TABLE "user" ADD COLUMN "recovery_used_from" VARCHAR(45) NOT NULL DEFAULT ''""")
    db.execute_sql(f'ALTER TABLE "enrollment" ADD COLUMN "follows_another" {yes_or_no}')
    db.execute_sql('ALTER TABLE "enrollment" ADD COLUMN "wrong_codes" INTEGER NOT NULL DEFAULT 0')
    for statement in (*steps(), *orphans(), *people(), *enrollments(on_sqlite)):
        db.execute_sql(statement)
    db.execute_sql('DROP INDEX "event_user_id_kind_at"')
    if on_sqlite:
        rebuild(db)
    else:
        db.execute_sql('ALTER TABLE "session" ALTER COLUMN "step" SET NOT NULL')


def steps():
    """A session without a step was signed in if it had passed a factor, and else nobody's."""
    begun = "EXISTS (SELECT 1 FROM enrollment WHERE session_id = session.id)"
    yield "DELETE FROM session WHERE step IS NULL AND second_factor IS NULL"
    yield "UPDATE session SET step = 'signed_in' WHERE step IS NULL"
    yield "UPDATE session SET step = 'replace_code' WHERE step = 'save_code' AND second_factor = 'recovery'"
    yield f"UPDATE session SET step = 'replace_device' WHERE step = 'lost_device' AND {begun}"


def orphans():
    """Let go of what belongs to nobody. On SQLite foreign keys are off here, and may have been when rows were
    deleted by hand."""
    for table in ("session", "totp_authenticator", "recovery_code", "invitation"):
        yield f'DELETE FROM {table} WHERE user_id NOT IN (SELECT id FROM "user")'
    yield 'UPDATE event SET user_id = NULL WHERE user_id NOT IN (SELECT id FROM "user")'
    yield "DELETE FROM enrollment WHERE session_id NOT IN (SELECT id FROM session)"
    yield "UPDATE recovery_code SET claimed_by_id = NULL WHERE claimed_by_id NOT IN (SELECT id FROM session)"


def last(column, which, person='"user".id', skip=0):
    """Select this column of the last event about somebody that is one of these."""
    return f"(SELECT {column} FROM event WHERE user_id = {person} AND ({which}) ORDER BY id DESC LIMIT 1 OFFSET {skip})"


def people():
    for column, kind, which in (
        ("last_sign_in_at", "signed_in", "kind = 'signed_in'"),
        ("setup_begun_at", "enrollment_started", f"kind IN ({SETUPS})"),
        ("waiting_since", "device_missing", ANSWERS),
        ("recovery_used_at", "recovery_code_spent", f"kind IN ({NOTICES})"),
    ):
        yield f"""UPDATE "user" SET {column} = {last("at", which)} WHERE {last("kind", which)} = '{kind}'"""
    address = last("remote_addr", f"kind IN ({NOTICES})")
    yield f'UPDATE "user" SET recovery_used_from = {address} WHERE recovery_used_at IS NOT NULL'


def enrollments(on_sqlite):
    person = "(SELECT user_id FROM session WHERE session.id = enrollment.session_id)"
    wrong = "kind = 'enrollment_code_wrong' AND at >= enrollment.started_at"
    before = last("kind", f"kind IN ({SETUPS})", person, skip=1)
    yield f"UPDATE enrollment SET wrong_codes = (SELECT COUNT(*) FROM event WHERE user_id = {person} AND {wrong})"
    yield f"UPDATE enrollment SET follows_another = {1 if on_sqlite else 'true'} WHERE {before} = 'enrollment_started'"


def rebuild(db):
    """Make each table anew, its ids by AUTOINCREMENT. SQLite cannot alter that. Foreign keys are off and renaming does
    not follow them, so that a site's own tables keep their rows and go on naming ours."""
    db.execute_sql("PRAGMA legacy_alter_table = on")
    listed = "SELECT name, sql FROM sqlite_master WHERE type = ? AND sql IS NOT NULL ORDER BY rowid"
    keyed = '"id" INTEGER NOT NULL PRIMARY KEY'
    tables = [row for row in db.execute_sql(listed, ("table",)) if keyed in row[1] and row[0] != "schema_migration"]
    old = "tbl_name IN ({})".format(", ".join(f"'{name}'" for name, _ in tables))
    indexes = list(db.execute_sql(listed.replace("sql IS NOT NULL", f"sql IS NOT NULL AND {old}"), ("index",)))
    for name, _ in indexes:
        db.execute_sql(f'DROP INDEX "{name}"')
    for name, _ in tables:
        db.execute_sql(f'ALTER TABLE "{name}" RENAME TO "old_{name}"')
    for name, sql in tables:
        anew = sql.replace(keyed, '"id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT')
        db.execute_sql(anew.replace('"step" VARCHAR(16)', '"step" VARCHAR(16) NOT NULL'))
        db.execute_sql(f'INSERT INTO "{name}" SELECT * FROM "old_{name}"')
    for name, _ in tables:
        db.execute_sql(f'DROP TABLE "old_{name}"')
    for _, sql in indexes:
        db.execute_sql(sql)
    db.execute_sql("PRAGMA legacy_alter_table = off")
