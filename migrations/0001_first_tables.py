"""The first tables, as they were then: a migration does not follow later changes of models.py."""

from peewee import AutoField, BigIntegerField, BlobField, BooleanField, CharField, IntegerField, Model, TextField
from peewee import ForeignKeyField as Reference


def up(migrator, db):
    class Table(Model):
        class Meta:
            database = db
            legacy_table_names = False

    class User(Table):
        id = AutoField()
        email = CharField(unique=True)
        password_hash = CharField(null=True)
        is_admin = BooleanField()
        is_active = BooleanField()
        created_at = BigIntegerField()
        password_changed_at = BigIntegerField(null=True)

    class Session(Table):
        id = AutoField()
        token_digest = CharField(max_length=64, unique=True)
        user = Reference(User, on_delete="CASCADE")
        step = CharField(max_length=16, null=True)
        step_at = BigIntegerField(index=True)
        second_factor = CharField(max_length=16, null=True)
        created_at = BigIntegerField(index=True)
        last_seen_at = BigIntegerField(index=True)
        verified_at = BigIntegerField(null=True)
        remote_addr = CharField(max_length=45)
        user_agent = TextField()
        next_path = TextField()

    class TotpAuthenticator(Table):
        id = AutoField()
        user = Reference(User, on_delete="CASCADE", unique=True)
        sealed_secret = BlobField()
        last_step = BigIntegerField()
        created_at = BigIntegerField()
        last_used_at = BigIntegerField()

    class Enrollment(Table):
        id = AutoField()
        session = Reference(Session, on_delete="CASCADE", unique=True)
        sealed_secret = BlobField()
        confirmed_step = BigIntegerField(null=True)
        confirmed_at = BigIntegerField(null=True)
        sealed_code = BlobField(null=True)
        replaces = IntegerField(null=True)
        started_at = BigIntegerField()

    class RecoveryCode(Table):
        id = AutoField()
        user = Reference(User, on_delete="CASCADE")
        digest = CharField(max_length=64, unique=True)
        sealed_code = BlobField(null=True)
        claimed_by = Reference(Session, null=True, on_delete="SET NULL")
        created_at = BigIntegerField()
        saved_at = BigIntegerField(null=True)
        retired_at = BigIntegerField(null=True)
        retired_by = CharField(max_length=16, null=True)

    live, saved_at = RecoveryCode.retired_at.is_null(), RecoveryCode.saved_at
    for name, which in {"saved": live & saved_at.is_null(False), "unsaved": live & saved_at.is_null()}.items():
        index = RecoveryCode.index(RecoveryCode.user, unique=True, where=which, name=f"recovery_code_one_{name}")
        RecoveryCode.add_index(index)

    class Throttle(Table):
        key = CharField(primary_key=True)
        account = CharField(max_length=64, index=True)
        failures = IntegerField()
        paused_until = BigIntegerField()
        updated_at = BigIntegerField(index=True)

    class Event(Table):
        id = AutoField()
        at = BigIntegerField(index=True)
        kind = CharField(max_length=32)
        user = Reference(User, null=True, on_delete="SET NULL", index=False)
        actor = CharField()
        remote_addr = CharField(max_length=45)
        user_agent = TextField()
        detail = TextField()

        class Meta:
            indexes = ((("user", "id"), False), (("user", "kind", "at"), False))

    class Setting(Table):
        key = CharField(primary_key=True)
        value = CharField()
        changed_at = BigIntegerField()
        changed_by = CharField()

    class Invitation(Table):
        id = AutoField()
        user = Reference(User, on_delete="CASCADE")
        token_digest = CharField(max_length=64, unique=True)
        expires_at = BigIntegerField()
        used_at = BigIntegerField(null=True)

    db.create_tables(
        [User, Session, TotpAuthenticator, Enrollment, RecoveryCode, Throttle, Event, Setting, Invitation], safe=False
    )
