import pytest
import torch

from leanformer.training.machine.hardware import autocast_dtype, describe, prepare_cpu, visible_devices

CPU = torch.device("cpu")


@pytest.mark.parametrize(("amx", "avx512"), [(False, False), (False, True), (True, False), (True, True)])
def test_auto_takes_bf16_where_the_cpu_multiplies_it(amx: bool, avx512: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    assert autocast_dtype("auto", CPU) == (torch.bfloat16 if amx or avx512 else None)


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), None), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)])
def test_auto_takes_bf16_on_cuda_since_ampere(
    capability: tuple[int, int], dtype: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert autocast_dtype("auto", torch.device("cuda")) == dtype


def test_what_is_asked_for_is_taken() -> None:
    assert autocast_dtype("fp32", CPU) is None
    assert autocast_dtype("bf16", CPU) == torch.bfloat16


@pytest.mark.parametrize(
    ("variable", "count", "names"),
    [
        (None, 3, ["0", "1", "2"]),
        ("2,5", 2, ["2", "5"]),
        ("GPU-a, GPU-b", 2, ["GPU-a", "GPU-b"]),
        ("0,9,1", 1, ["0"]),  # CUDA ends its list at a name that is no device
        ("", 0, []),
    ],
)
def test_devices_go_by_the_names_that_their_variable_takes(
    variable: str | None, count: int, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert visible_devices() == names


def test_denormals_become_zero_and_threads_are_set() -> None:
    threads = torch.get_num_threads()
    try:
        prepare_cpu(threads=3)
        assert torch.get_num_threads() == 3
        assert torch.tensor([1e-40]).mul(0.5).count_nonzero() == 0
        assert describe(CPU, 2, torch.bfloat16).items() >= {"threads": 3, "processes": 2, "precision": "bf16"}.items()
        with pytest.raises(ValueError, match="threads = 0: must be positive"):
            prepare_cpu(threads=0)
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
