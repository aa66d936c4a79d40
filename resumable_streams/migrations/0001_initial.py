import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="IncidentAction",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("audit", "audit"),
                            ("purge", "purge"),
                            ("rotate", "rotate"),
                            ("revoke", "revoke"),
                            ("cancel", "cancel"),
                            ("retire", "retire"),
                            ("reap", "reap"),
                            ("delete", "delete"),
                        ],
                        max_length=16,
                        verbose_name="action",
                    ),
                ),
                ("alias", models.CharField(max_length=100, verbose_name="alias")),
                (
                    "tenant",
                    models.CharField(
                        blank=True,
                        help_text="Empty: all of them.",
                        max_length=64,
                        verbose_name="tenant",
                    ),
                ),
                ("who", models.CharField(max_length=255, verbose_name="who")),
                (
                    "started",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="started"),
                ),
                ("finished", models.DateTimeField(blank=True, null=True, verbose_name="finished")),
                ("arguments", models.JSONField(blank=True, default=dict, verbose_name="arguments")),
                ("counts", models.JSONField(blank=True, default=dict, verbose_name="counts")),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("done", "done"),
                            ("failed", "failed"),
                            ("interrupted", "running or interrupted"),
                        ],
                        default="interrupted",
                        max_length=16,
                        verbose_name="outcome",
                    ),
                ),
                ("error", models.TextField(blank=True, verbose_name="error")),
            ],
            options={
                "verbose_name": "incident action",
                "verbose_name_plural": "incident actions",
                "ordering": ["-started", "-pk"],
                "get_latest_by": "started",
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["-started"], name="resumable_action_started"),
                    models.Index(
                        fields=["alias", "tenant", "-started"], name="resumable_action_tenant"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="StreamNamespace",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("alias", models.CharField(max_length=100, verbose_name="alias")),
                ("tenant", models.CharField(max_length=64, verbose_name="tenant")),
                (
                    "generation",
                    models.PositiveBigIntegerField(default=1, verbose_name="generation"),
                ),
                (
                    "ttl",
                    models.FloatField(
                        blank=True,
                        help_text="Seconds that streams of this tenant live; empty: as the alias has it.",
                        null=True,
                        verbose_name="time to live",
                    ),
                ),
                ("updated", models.DateTimeField(auto_now=True, verbose_name="updated")),
            ],
            options={
                "verbose_name": "namespace",
                "verbose_name_plural": "namespaces",
                "ordering": ["alias", "tenant"],
                "permissions": [
                    ("rotate_streamnamespace", "Can rotate the generation of a namespace"),
                    (
                        "retire_streamnamespace",
                        "Can shorten the life of the streams of a namespace",
                    ),
                ],
                "default_permissions": ("add", "view"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("alias", "tenant"), name="resumable_namespace_unique_tenant"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="StreamRecord",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("alias", models.CharField(max_length=100, verbose_name="alias")),
                ("tenant", models.CharField(max_length=64, verbose_name="tenant")),
                (
                    "generation",
                    models.PositiveBigIntegerField(
                        blank=True, null=True, verbose_name="generation"
                    ),
                ),
                ("stream_id", models.CharField(max_length=256, verbose_name="stream id")),
                ("epoch", models.CharField(blank=True, max_length=64, verbose_name="incarnation")),
                ("owner", models.TextField(blank=True, verbose_name="owner")),
                ("owner_digest", models.CharField(max_length=32, verbose_name="owner digest")),
                ("user", models.CharField(blank=True, max_length=255, verbose_name="user id")),
                (
                    "request_id",
                    models.CharField(blank=True, max_length=200, verbose_name="request id"),
                ),
                (
                    "ip",
                    models.GenericIPAddressField(blank=True, null=True, verbose_name="IP address"),
                ),
                ("acquired", models.DateTimeField(verbose_name="acquired")),
                ("ended", models.DateTimeField(blank=True, null=True, verbose_name="ended")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("streaming", "streaming"),
                            ("done", "done"),
                            ("error", "error"),
                            ("cancelled", "cancelled"),
                            ("deleted", "gone while streaming"),
                            ("lost", "ended unseen"),
                        ],
                        default="streaming",
                        max_length=16,
                        verbose_name="status",
                    ),
                ),
                (
                    "error_code",
                    models.CharField(blank=True, max_length=64, verbose_name="error code"),
                ),
                (
                    "size",
                    models.PositiveBigIntegerField(blank=True, null=True, verbose_name="bytes"),
                ),
                ("duration", models.FloatField(blank=True, null=True, verbose_name="seconds")),
            ],
            options={
                "verbose_name": "stream record",
                "verbose_name_plural": "stream records",
                "ordering": ["-acquired", "-pk"],
                "permissions": [
                    ("cancel_streamrecord", "Can cancel the stream of a record"),
                    ("erase_streamrecord", "Can delete the stream of a record"),
                    ("revoke_streamrecord", "Can revoke the owner of a record"),
                ],
                "get_latest_by": "acquired",
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["-acquired"], name="resumable_record_acquired"),
                    models.Index(
                        fields=["owner_digest", "-acquired"], name="resumable_record_owner"
                    ),
                    models.Index(fields=["user", "-acquired"], name="resumable_record_user"),
                    models.Index(fields=["ip", "-acquired"], name="resumable_record_ip"),
                    models.Index(fields=["request_id"], name="resumable_record_request"),
                    models.Index(
                        fields=["alias", "tenant", "-acquired"], name="resumable_record_tenant"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("stream_id", "tenant", "alias", "acquired"),
                        name="resumable_record_unique_election",
                    )
                ],
            },
        ),
    ]
