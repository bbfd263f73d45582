import threading

import pytest

from twin import parallel
from twin.parallel import in_chunks


@pytest.mark.parametrize("size", [0, 1, parallel.CHUNK, parallel.CHUNK + 1, 10 * parallel.CHUNK - 1])
def test_chunks_cover_everything_once(size: int) -> None:
    counts = [0] * size
    lock = threading.Lock()

    def count(part: slice) -> None:
        with lock:
            counts[part] = [number + 1 for number in counts[part]]

    in_chunks(count, size)
    assert counts == [1] * size


def test_an_error_in_a_chunk_is_raised() -> None:
    def fail(part: slice) -> None:
        if part.start:
            raise ValueError("in the second")

    with pytest.raises(ValueError, match="in the second"):
        in_chunks(fail, 3 * parallel.CHUNK)
