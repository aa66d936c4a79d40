from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("resumable_streams", "0002_namespace_permissions"),
    ]

    operations = [
        migrations.AddField(
            model_name="incidentaction",
            name="host",
            field=models.CharField(blank=True, max_length=255, verbose_name="host"),
        ),
        migrations.AddField(
            model_name="incidentaction",
            name="reason",
            field=models.TextField(blank=True, verbose_name="reason"),
        ),
        migrations.AddField(
            model_name="incidentaction",
            name="sudo_user",
            field=models.CharField(blank=True, max_length=255, verbose_name="by sudo from"),
        ),
        migrations.AddField(
            model_name="incidentaction",
            name="uid",
            field=models.BigIntegerField(
                blank=True, null=True, verbose_name="user id of the process"
            ),
        ),
        migrations.AlterField(
            model_name="incidentaction",
            name="action",
            field=models.CharField(
                choices=[
                    ("audit", "audit"),
                    ("purge", "purge"),
                    ("rotate", "rotate"),
                    ("revoke", "revoke"),
                    ("cancel", "cancel"),
                    ("retire", "retire"),
                    ("reap", "reap"),
                    ("delete", "delete"),
                    ("forget", "forget"),
                ],
                max_length=16,
                verbose_name="action",
            ),
        ),
        migrations.AlterField(
            model_name="incidentaction",
            name="alias",
            field=models.CharField(
                blank=True, help_text="Empty: all of them.", max_length=100, verbose_name="alias"
            ),
        ),
        migrations.AlterField(
            model_name="incidentaction",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("done", "done"),
                    ("dry_run", "dry run, nothing changed"),
                    ("failed", "failed"),
                    ("interrupted", "running or interrupted"),
                ],
                default="interrupted",
                max_length=16,
                verbose_name="outcome",
            ),
        ),
        migrations.AlterField(
            model_name="streamrecord",
            name="status",
            field=models.CharField(
                choices=[
                    ("streaming", "streaming"),
                    ("done", "done"),
                    ("error", "error"),
                    ("cancelled", "cancelled"),
                    ("revoked", "revoked while streaming"),
                    ("rotated", "rotated away while streaming"),
                    ("deleted", "gone while streaming"),
                    ("lost", "ended unseen"),
                ],
                default="streaming",
                max_length=16,
                verbose_name="status",
            ),
        ),
    ]
