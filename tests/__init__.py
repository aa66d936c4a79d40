"""The suite."""

import pytest

pytest.register_assert_rewrite("resumable_streams.testing")
