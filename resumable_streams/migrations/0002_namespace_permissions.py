from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("resumable_streams", "0001_initial")]

    operations = [
        migrations.AlterModelOptions(
            name="streamnamespace",
            options={
                "default_permissions": ("add", "view"),
                "ordering": ["alias", "tenant"],
                "permissions": [
                    ("rotate_streamnamespace", "Can rotate the generation of a namespace"),
                    ("retire_streamnamespace", "Can set the time to live of a namespace"),
                ],
                "verbose_name": "namespace",
                "verbose_name_plural": "namespaces",
            },
        ),
    ]
