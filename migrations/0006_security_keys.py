"""Security keys beside the app, and what people ask for about them. Nobody has one yet."""

from peewee import SqliteDatabase


def up(migrator, db):
    ident, moment, data, yes_or_no, off = (
        ("INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT", "INTEGER", "BLOB", "INTEGER", "0")
        if isinstance(db, SqliteDatabase)
        else ("SERIAL NOT NULL PRIMARY KEY", "BIGINT", "BYTEA", "BOOLEAN", "false")
    )
    db.execute_sql(f"""CREATE TABLE "security_key" (
        "id" {ident},
        "user_id" INTEGER NOT NULL REFERENCES "user" ("id") ON DELETE CASCADE,
        "credential" TEXT NOT NULL,
        "data" {data} NOT NULL,
        "transports" TEXT NOT NULL,
        "count" {moment} NOT NULL,
        "is_synced" {yes_or_no} NOT NULL,
        "name" VARCHAR(40) NOT NULL,
        "created_at" {moment} NOT NULL,
        "last_used_at" {moment}
    )""")
    db.execute_sql('CREATE INDEX "security_key_user_id" ON "security_key" ("user_id")')
    db.execute_sql('CREATE UNIQUE INDEX "security_key_credential" ON "security_key" ("credential")')
    db.execute_sql(f'ALTER TABLE "user" ADD COLUMN "only_key" {yes_or_no} NOT NULL DEFAULT {off}')
    db.execute_sql('ALTER TABLE "user" ADD COLUMN "key_count" INTEGER NOT NULL DEFAULT 0')
    db.execute_sql('ALTER TABLE "session" ADD COLUMN "refused_answers" INTEGER NOT NULL DEFAULT 0')
