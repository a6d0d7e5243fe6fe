"""Places: how they nest, per thread and per task, and what the ones that are not there say."""

import asyncio
import pickle
import threading

import pytest

from hotloop.errors import TargetError
from hotloop.parallel import places


def test_the_default_is_all_cores():
    assert places.current() is places.default_place is places.openmp is places.cpu
    assert places.openmp.threads == 0
    assert places.sequential.threads == 1
    assert places.here.interpreted


def test_with_nests_also_the_same_place_twice():
    with places.sequential as outer:
        assert outer is places.sequential
        with places.here:
            assert places.current() is places.here
            with places.sequential, places.sequential:
                assert places.current() is places.sequential
            assert places.current() is places.here
        assert places.current() is places.sequential
    assert places.current() is places.openmp


def test_an_exception_gives_the_place_back():
    with pytest.raises(KeyError, match="x"), places.here:
        raise KeyError("x")
    assert places.current() is places.openmp


def test_each_thread_has_its_own_place():
    seen = []
    with places.sequential:
        thread = threading.Thread(target=lambda: seen.append(places.current()))
        thread.start()
        thread.join()
    assert seen == [places.openmp]


def test_each_asyncio_task_has_its_own_place():
    seen = []

    async def task(place, before, after):
        with place:
            before.set()
            await after.wait()
            seen.append(places.current())
        seen.append(places.current())

    async def both():
        one, two = asyncio.Event(), asyncio.Event()
        with places.openmp:
            await asyncio.gather(task(places.here, one, two), task(places.sequential, two, one))

    asyncio.run(both())
    assert sorted(map(repr, seen)) == ["places.here", "places.openmp", "places.openmp", "places.sequential"]


def test_target_place_is_a_place_a_name_or_nothing():
    assert places.resolve("openmp") is places.openmp
    assert places.resolve("cpu") is places.openmp
    assert places.resolve(places.here) is places.here
    with places.sequential:
        assert places.resolve(None) is places.sequential


@pytest.mark.parametrize("name", ["nowhere", "gpu", "gpux", "gpu1234", 3])
def test_a_place_that_does_not_exist_names_those_that_do(name):
    with pytest.raises(TargetError, match=r"there is no place .*Places: here, sequential, openmp, cpu, gpu0"):
        places.resolve(name)


def test_a_gpu_is_one_object_and_says_that_it_is_not_there():
    assert places.gpu0 is places.gpu0 is places.named("gpu0")
    assert places.gpu3.memory == "gpu3"
    assert places.gpu0.asynchronous
    assert not places.gpu0.available
    assert places.available() == (places.here, places.sequential, places.openmp)
    with pytest.raises(TargetError, match=r"gpu0 is not available: .* Available: here, sequential, openmp"), places.gpu0:
        pass
    with pytest.raises(TargetError, match="gpu1 is not available"):
        places.resolve("gpu1")
    assert places.current() is places.openmp


def test_the_module_has_no_other_attributes():
    with pytest.raises(AttributeError, match="there is no place 'tbb'"):
        _ = places.tbb


@pytest.mark.parametrize("place", [places.here, places.openmp, places.gpu0])
def test_places_survive_pickling_as_themselves(place):
    if place.available:
        assert pickle.loads(pickle.dumps(place)) is place
    else:
        with pytest.raises(TargetError, match="not available"):
            pickle.loads(pickle.dumps(place))


def test_places_say_their_names():
    assert repr(places.cpu) == "places.openmp"
