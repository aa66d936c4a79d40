"""The Celery application of the tests: what the environment names, the settings module included."""

import os

import django
from celery import Celery

django.setup()

app = Celery("tests", broker=os.environ["REDIS_URL"])
app.conf.update(
    task_default_queue=os.environ["KEY_PREFIX"],
    broker_transport_options={"global_keyprefix": os.environ["KEY_PREFIX"]},
    worker_hijack_root_logger=False,
)
app.autodiscover_tasks(["resumable_streams.contrib"], related_name="celery", force=True)
