"""Every store, held to the one contract; and what only one of them has."""

import pytest

pytest.register_assert_rewrite("resumable_streams.testing")
