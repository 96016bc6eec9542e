import pytest

from leanformer.reporting.analysis.comparison import find
from leanformer.reporting.analysis.pairing import pairs, unequal_makers
from leanformer.reporting.comparison.caveats import caveats
from leanformer.reporting.records.study import read_study


def test_pairs_share_a_seed(fabricate):
    directory = fabricate(seeds=(1, 2, 3))
    (directory / "runs/shared/seed-2/run.json").unlink()
    paired = pairs(read_study(directory), "shared")
    assert [(run.seed, other.seed) for run, other in paired.pairs] == [(1, 1), (3, 3)]
    assert {other.attention for _, other in paired.pairs} == {"dot_product"}
    assert paired.refused == paired.doubts == ()


def test_attention_and_learning_rate_may_differ(fabricate, edit):
    directory = fabricate(seeds=(1, 2))
    change = {"attention_options": {"projection": "shared_key_value"}}
    edit(directory / "runs/shared/seed-1/run.json", lambda r: r["settings"]["model"].update(change))
    edit(directory / "runs/shared/seed-1/run.json", lambda r: r["settings"]["training"].update(learning_rate=9.0))
    assert pairs(read_study(directory), "shared").doubts == ()


def test_what_a_label_says_may_differ(fabricate, edit):
    small = "dot_product[model.intermediate_size=24]"
    directory = fabricate(seeds=(1, 2), effects={"dot_product": 0.0, small: 0.1})
    for seed in (1, 2):
        file = directory / f"runs/{small}/seed-{seed}/run.json"
        edit(file, lambda r: r["settings"]["model"].update(intermediate_size=24))
    assert pairs(read_study(directory), small).doubts == ()
    edit(directory / f"runs/{small}/seed-2/run.json", lambda r: r["settings"]["model"].update(hidden_size=8))
    (doubt,) = pairs(read_study(directory), small).doubts
    assert "at seed 2" in doubt and "model.hidden_size" in doubt


@pytest.mark.parametrize(
    ("label", "table", "found"),
    [
        ("dot_product[parameters=pairwise[projection=shared_all]]", "model", {"intermediate_size": 24}),
        ("dot_product[width=shared]", "model", {"intermediate_size": 24, "hidden_size": 8}),
        ("shared[flops=dot_product]", "training", {"max_tokens": 9_000_000}),
    ],
)
def test_what_a_comparison_found_for_an_arm_may_differ(fabricate, edit, label, table, found):
    directory = fabricate(seeds=(1, 2), effects={"dot_product": 0.0, label: 0.1})
    for seed in (1, 2):
        file = directory / f"runs/{label}/seed-{seed}/run.json"
        edit(file, lambda r: r["settings"][table].update(found))
        edit(file, lambda r: r["results"].update(steps=4_000) if "flops" in label else None)
    assert pairs(read_study(directory), label).doubts == ()
    edit(file, lambda r: r["settings"]["training"].update(batch_size=64))
    assert pairs(read_study(directory), label).doubts


def test_an_arm_may_have_a_budget_of_its_own(fabricate, edit):
    half = "symmetric[training.max_steps=1958]"
    directory = fabricate(seeds=(1, 2), effects={"dot_product": 0.0, half: 0.1})
    for seed in (1, 2):
        file = directory / f"runs/{half}/seed-{seed}/run.json"
        edit(file, lambda r: r["settings"]["training"].update(max_steps=1958))
        edit(file, lambda r: r["results"].update(steps=1958))
    assert pairs(read_study(directory), half).doubts == ()


@pytest.mark.parametrize(
    "label", ["random[training.table_rate=100]", "random[training.lr_multipliers.position_tables=100]"]
)
def test_an_arm_may_have_a_multiplier_of_its_own_under_its_old_name_or_its_new_one(fabricate, edit, label):
    directory = fabricate(seeds=(1, 2, 3), effects={"dot_product": 0.0, label: 0.1})
    old = {"table_rate": 1.0, "tied_rate": 1.0, "phase_rate": 30.0, "muon_rate": 1.0}
    new = {"lr_multipliers": {}}
    own = {"table_rate": 100.0}, {"lr_multipliers": {"position_tables": 100.0}}
    for seed, (theirs, ours) in enumerate([(old, old | own[0]), (old, own[1]), (new, old | own[0])], 1):
        edit(
            directory / f"runs/dot_product/seed-{seed}/run.json",
            lambda r, it=theirs: r["settings"]["training"].update(it),
        )
        edit(directory / f"runs/{label}/seed-{seed}/run.json", lambda r, it=ours: r["settings"]["training"].update(it))
    assert pairs(read_study(directory), label).doubts == ()
    file = directory / "runs/dot_product/seed-1/run.json"
    edit(file, lambda r: r["settings"]["training"].update(muon_rate=4.0))
    assert "training.lr_multipliers.muon (None against 4.0)" in pairs(read_study(directory), label).doubts[0]


def test_an_arm_may_have_a_recipe_of_its_own(fabricate, edit):
    fast = "dot_product[config=fast]"
    directory = fabricate(seeds=(1, 2), effects={"dot_product": 0.0, fast: 0.1})
    for seed in (1, 2):
        file = directory / f"runs/{fast}/seed-{seed}/run.json"
        edit(file, lambda r: r["settings"]["model"].update(norm="pre", hidden_size=64))
        edit(file, lambda r: r["settings"]["training"].update(optimizer="muon"))
        edit(file, lambda r: r["results"].update(steps=4_000))
    assert pairs(read_study(directory), fast).doubts == ()
    edit(file, lambda r: r["data"].update(hash="another"))
    assert len(pairs(read_study(directory), fast).pairs) == 1


def test_any_other_difference_is_told_with_its_seeds(fabricate, edit):
    directory = fabricate(seeds=(1, 2, 3))
    for seed in (1, 3):
        file = directory / f"runs/shared/seed-{seed}/run.json"
        edit(file, lambda r: r["settings"]["training"].update(batch_size=64))
    edit(directory / "runs/shared/seed-2/run.json", lambda r: r["results"].update(steps=7))
    paired = pairs(read_study(directory), "shared")
    assert len(paired.pairs) == 3
    assert any("seeds 1 and 3" in doubt and "training.batch_size (64 against 32)" in doubt for doubt in paired.doubts)
    assert any("seed 2" in doubt and "steps (7 against 3,916)" in doubt for doubt in paired.doubts)


def test_a_seed_other_than_planned_is_told(fabricate, edit):
    directory = fabricate(seeds=(1, 2))
    for name in ("shared", "dot_product"):
        edit(directory / f"runs/{name}/seed-2/run.json", lambda r: r["settings"]["training"].update(seed=1))
    assert any("the plan says 2, the record 1" in doubt for doubt in pairs(read_study(directory), "shared").doubts)


def test_losses_on_different_scales_are_not_compared(fabricate, edit):
    directory = fabricate(seeds=(1, 2, 3))
    edit(directory / "runs/shared/seed-1/run.json", lambda r: r["data"].update(hash="other"))
    edit(directory / "runs/shared/seed-2/run.json", lambda r: r["floor"].update(context_free=2.5))
    paired = pairs(read_study(directory), "shared")
    assert [run.seed for run, _ in paired.pairs] == [3]
    assert any("not compared at seed 1: their data differ" in sentence for sentence in paired.refused)
    assert any("not compared at seed 2: their validation targets differ" in sentence for sentence in paired.refused)


def test_unequal_versions_and_machines_are_told(fabricate, edit):
    directory = fabricate(seeds=(1, 2))
    edit(directory / "runs/shared/seed-1/run.json", lambda r: r["versions"].update(torch="2.12.0"))
    edit(directory / "runs/shared/seed-1/run.json", lambda r: r["hardware"].update(cores=64))
    versions, machines = unequal_makers(read_study(directory).runs)
    assert "torch: 2.12.0 and 2.13.0" in versions
    assert "2 kinds of machine" in machines


@pytest.mark.parametrize(
    ("table", "key", "ours", "theirs", "said"),
    [
        ("hardware", "precision", "bf16", "fp32", "precision (bf16 against fp32)"),
        ("hardware", "device", "cuda", "cpu", "device (cuda against cpu)"),
        ("hardware", "gpu", "H200", "A100", "GPU (H200 against A100)"),
        ("hardware", "cpu", "EPYC", "Xeon", "CPU (EPYC against Xeon)"),
        ("versions", "torch", "2.12.0", "2.13.0", "torch (2.12.0 against 2.13.0)"),
        ("versions", "transformers", "5.22.0", "5.23.0", "transformers (5.22.0 against 5.23.0)"),
        ("versions", "leanformer", "0.0.9", "0.1.0", "leanformer (0.0.9 against 0.1.0)"),
    ],
)
def test_a_pair_of_unequal_makers_is_told_with_its_seeds(fabricate, edit, table, key, ours, theirs, said):
    directory = fabricate(seeds=(1, 2, 3))
    for seed in (1, 2, 3):
        edit(directory / f"runs/dot_product/seed-{seed}/run.json", lambda r: r[table].update({key: theirs}))
        own = ours if seed > 1 else theirs
        edit(directory / f"runs/shared/seed-{seed}/run.json", lambda r, own=own: r[table].update({key: own}))
    study = read_study(directory)
    assert pairs(study, "shared").doubts == (
        f"shared and dot_product are not a true pair at seeds 2 and 3: they differ in {said}.",
    )
    assert pairs(study, "shared").doubts[0] in caveats(find(study))


def test_precision_by_itself_is_explained(fabricate, edit):
    directory = fabricate(seeds=(1, 2), settings={"precision": "auto"})
    for name, precision in (("shared", "bf16"), ("dot_product", "fp32")):
        edit(directory / f"runs/{name}/seed-1/run.json", lambda r, p=precision: r["hardware"].update(precision=p))
    (doubt,) = pairs(read_study(directory), "shared").doubts
    assert "at seed 1" in doubt
    assert '"auto" gives float32 on one CPU and bfloat16 on another' in doubt
