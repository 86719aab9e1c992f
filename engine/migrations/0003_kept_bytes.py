"""A person's quota of files is answered out of an index alone."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('engine', '0002_thumbnails_and_pausing'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            model_name='build',
            index=models.Index(condition=models.Q(('artifact_size__gt', 0)), fields=['user', 'artifact_size', 'thumbnail_size'], name='build_kept_bytes'),
        ),
    ]
