from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("resumable_streams", "0005_status_of_records"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="streamrecord",
            index=models.Index(fields=["alias", "tenant", "-ended"], name="resumable_record_ended"),
        ),
    ]
