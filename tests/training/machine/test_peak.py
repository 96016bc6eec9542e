import pytest
import torch
from accelerate import Accelerator

from leanformer.training.machine import peak

CPU = torch.device("cpu")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "SQUARE", {"cpu": 32})
    monkeypatch.setattr(peak, "TURN", 0.0)


def test_the_fastest_try_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = iter([0.1, 0.05, 0.04, 0.02, 0.03])
    asked = []
    monkeypatch.setattr(peak, "seconds", lambda step, repeats, device: asked.append(repeats) or next(taken))
    assert peak.product(3, 5, 7, CPU, None) == 2 * 3 * 5 * 7 / 0.02
    assert asked == [1, 1, 2, 2, 2]


def test_a_slow_machine_is_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    for tries, fastest in (([0.4, 0.3], 0.3), ([0.2, 0.2, 0.15], 0.15)):
        taken = iter(tries)
        monkeypatch.setattr(peak, "seconds", lambda *_, taken=taken: next(taken))
        assert peak.product(3, 5, 7, CPU, None) == 2 * 3 * 5 * 7 / fastest


def test_the_product_is_of_the_asked_type_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "SQUARE", {"cpu": 11})
    products = []
    monkeypatch.setattr(peak, "best", lambda step, device: products.append(step()) or 0.5)
    for dtype in (None, torch.bfloat16):
        assert peak.square(CPU, dtype) == 2 * 11**3 / 0.5
        assert products[-1].dtype == (dtype or torch.float32) and products[-1].shape == (11, 11)


def test_the_generator_of_a_run_is_left_alone(small: None) -> None:
    before = torch.get_rng_state()
    assert peak.peak_of(Accelerator(), torch.bfloat16, peak.LEAST) > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_is_measured_of_a_short_run_or_on_an_unknown_device(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*_: object) -> float:
        raise AssertionError

    monkeypatch.setattr(peak, "square", measured)
    assert peak.peak_of(Accelerator(), None, peak.LEAST - 0.001) is None
    monkeypatch.setattr(peak, "SQUARE", {})
    assert peak.peak_of(Accelerator(), None, peak.LEAST) is None


def test_a_finished_run_does_not_fail_for_want_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> float:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(peak, "square", full)
    assert peak.peak_of(Accelerator(), None, peak.LEAST) is None
