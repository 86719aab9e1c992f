"""Indexes by which quotas and engines are counted without reading what has ended."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from engine import triggers


class Migration(migrations.Migration):

    dependencies = [
        ('engine', '0003_kept_bytes'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    # SQLite rebuilds the table of jobs, which drops its triggers: install them again, either way.
    operations = [
        migrations.RunPython(migrations.RunPython.noop, triggers.install),
        migrations.AlterField(
            model_name='job',
            name='engine_session',
            field=models.ForeignKey(blank=True, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='jobs', to='engine.enginesession'),
        ),
        migrations.AddIndex(
            model_name='build',
            index=models.Index(fields=['user', 'state'], name='build_open_of_user'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(fields=['engine_session', 'state'], name='job_of_engine'),
        ),
        migrations.RunPython(triggers.install, migrations.RunPython.noop),
    ]
