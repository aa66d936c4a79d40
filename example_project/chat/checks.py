"""The system check of the example: a model that cannot answer is found at start."""

from collections.abc import Sequence

from django.apps import AppConfig
from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from . import llm


@checks.register
def check_model(
    app_configs: Sequence[AppConfig] | None, **kwargs: object
) -> list[checks.CheckMessage]:
    """Load the model that DEMO_MODEL names."""
    try:
        llm.get_model()
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="chat.E001")]
    return []
