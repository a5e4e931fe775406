import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_live_settings"),
    ]

    operations = [
        migrations.AddField(
            model_name="user",
            name="about",
            field=models.TextField(
                blank=True,
                default="",
                help_text="What the copilot should know of the person and their business.",
                validators=[django.core.validators.MaxLengthValidator(4000)],
            ),
        ),
    ]
