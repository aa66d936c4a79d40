"""The tree of errors, and what their messages keep to themselves."""

import inspect
import pickle

import pytest
from django.core.exceptions import ImproperlyConfigured

from resumable_streams import exceptions
from resumable_streams.exceptions import (
    Diagnosis,
    InvalidOffset,
    InvalidOwner,
    InvalidPage,
    InvalidSlot,
    InvalidStoreError,
    InvalidStreamId,
    InvalidTenant,
    OffsetInsideFrame,
    ShuttingDown,
    SlotBusy,
    StoreForbidden,
    StoreUnavailable,
    StreamClaimLost,
    StreamDoesNotExist,
    StreamError,
    StreamFailed,
    StreamFinalized,
    StreamGap,
    StreamLimitExceeded,
    StreamReplaced,
    StreamUnfinished,
    StreamUnreadable,
)
from resumable_streams.types import ErrorCode

EXAMPLES = [
    StreamDoesNotExist(),
    StreamFinalized("done"),
    StreamClaimLost(),
    StreamGap(7),
    StreamLimitExceeded("MAX_STREAMS", 5),
    StreamFailed(ErrorCode.PRODUCER_LOST, "secret"),
    StoreUnavailable("chat"),
    StoreForbidden("chat", "no permission to run PUBLISH"),
    StoreUnavailable("chat", diagnosis=Diagnosis(server="redis://h:1/0", words="Timeout")),
    StreamUnreadable("prefix:acme:g1:{chat}:meta"),
    ShuttingDown(3),
    InvalidStreamId(),
    InvalidOwner(),
    InvalidTenant(),
    InvalidOffset(7),
    OffsetInsideFrame(),
    StreamReplaced("e1"),
    StreamUnfinished(7),
    SlotBusy("chat"),
    InvalidSlot(),
    InvalidPage("A limit is a number."),
]


def test_every_error_is_public_and_drawn_in_the_tree():
    ours = {
        name
        for name, thing in vars(exceptions).items()
        if inspect.isclass(thing) and thing.__module__ == exceptions.__name__
    }
    assert ours | {"fresh"} == set(exceptions.__all__)
    assert exceptions.__doc__ is not None
    ours.remove("Diagnosis")  # what an error carries
    for name in ours:
        assert name in exceptions.__doc__
    drawn = {type(error).__name__ for error in EXAMPLES}
    assert drawn | {"StreamError", "InvalidStoreError"} == ours


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_is_a_stream_error_with_a_whole_sentence(error: StreamError):
    assert isinstance(error, StreamError)
    assert str(error)[0].isupper()
    assert str(error).endswith(".")
    assert "secret" not in str(error)


def test_what_a_caller_got_wrong_is_a_value_error_too():
    wrong = {type(error) for error in EXAMPLES if isinstance(error, ValueError)}
    invalid = {InvalidStreamId, InvalidOwner, InvalidTenant, InvalidOffset}
    assert wrong == {*invalid, OffsetInsideFrame, InvalidSlot, InvalidPage}


def test_wrong_settings_are_improperly_configured_and_no_stream_error():
    assert issubclass(InvalidStoreError, ImproperlyConfigured)
    assert not issubclass(InvalidStoreError, StreamError)


@pytest.mark.parametrize(
    "error",
    [
        exceptions.StreamGap(7),
        exceptions.StreamLimitExceeded("MAX_STREAMS", 3),
        exceptions.StreamFailed("producer_lost", "detail"),
        exceptions.InvalidOffset(5),
        exceptions.StoreUnavailable("default"),
    ],
)
def test_an_error_survives_pickling(error: exceptions.StreamError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
