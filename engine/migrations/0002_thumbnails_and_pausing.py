"""Thumbnails of builds, and the pausing of dispatch."""

import django.db.models.deletion
import engine.models
from engine import triggers
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('engine', '0001_jobs_and_feed'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    # SQLite rebuilds the table of builds, which drops its triggers: install them again, either way.
    operations = [
        migrations.RunPython(migrations.RunPython.noop, triggers.install),
        migrations.AlterModelOptions(
            name='build',
            options={'ordering': ['-created_at', '-id'], 'permissions': (('cancel_build', "Can cancel anybody's builds"), ('retry_build', "Can try anybody's failed builds again"))},
        ),
        migrations.AddField(
            model_name='build',
            name='thumbnail',
            field=models.FileField(blank=True, default='', max_length=120, upload_to=engine.models.thumbnail_path),
        ),
        migrations.AddField(
            model_name='build',
            name='thumbnail_attempt',
            field=models.CharField(blank=True, default='', max_length=24),
        ),
        migrations.AddField(
            model_name='build',
            name='thumbnail_sha256',
            field=models.CharField(blank=True, default='', max_length=64),
        ),
        migrations.AddField(
            model_name='build',
            name='thumbnail_size',
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.CreateModel(
            name='DispatchControl',
            fields=[
                ('id', models.PositiveSmallIntegerField(default=1, editable=False, primary_key=True, serialize=False)),
                ('paused', models.BooleanField(default=False)),
                ('changed_at', models.DateTimeField()),
                ('changed_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'permissions': (('pause_dispatch', 'Can pause and resume the dispatch of jobs'),),
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='dispatch_control_one_row')],
            },
        ),
        migrations.RunPython(triggers.install, migrations.RunPython.noop),
    ]
