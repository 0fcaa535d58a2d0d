"""Policies and reward models trained by feedback: TRL's losses at known values, soft labels by hand, looks, rows."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from aar.oversight.rewards import bradley_terry, dpo, par, squeezed
from aar.train.feedback import job
from aar.train.feedback.policy import Sample, kept, log_likelihood, policy, tokenizer, write
from aar.train.feedback.revise import criticised, revisions
from aar.train.feedback.reward import Rewards, reward_model, score
from aar.train.feedback.trainers import trainer
from aar.train.models import tiny_config
from aar.train.start import main
from aar.types import Align, JobFile, JobKind, JobSpec, ModelRef, Tiny, Unit, canonical_json, look

WORDS = ["[PAD]", "[UNK]", *(f"w{i}" for i in range(6)), "good", "bad", "endoftext"]
REF = ModelRef(tiny=Tiny(layers=1, width=16, heads=2), tokenizer="words", max_length=12, pool="last", weights=True)
PAIRS: list[dict[str, Any]] = [
    {"prompt": "w0", "a": " good w1 w2", "b": " bad w3", "p": 0.8},
    {"prompt": "w1 w2", "a": " w4", "b": " good good w5", "p": 0.3},
    {"prompt": "w3", "a": " bad w1", "b": " w2 w2 good", "p": 0.6},
    {"prompt": "w5 w5", "a": " good", "b": " bad bad", "p": 1.0},
]
pytestmark = pytest.mark.filterwarnings("ignore")  # of a library's own making, by the dozen


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A job's inputs: vocabulary, a language model's weights, prompts."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    torch.manual_seed(0)
    from transformers import AutoModelForCausalLM

    body = AutoModelForCausalLM.from_config(tiny_config(Tiny(layers=1, width=16, heads=2), len(WORDS), 12)).base_model
    save_file({name: t.contiguous() for name, t in body.state_dict().items()}, folder / "weights")
    (folder / "prompts.jsonl").write_text("".join(json.dumps({"prompt": p}) + "\n" for p in ("w0", "w1 w2")))
    return folder


def run(
    inputs: Path, align: Align, rows: Sequence[Mapping[str, Any]], seed: int = 3, name: str = "job",
    more: Mapping[str, Path] | None = None,
) -> Path:  # fmt: skip
    """Run an align job on these rows, and `more` files of its seed, in this process; its outputs."""
    folder = inputs.parent / name
    out = folder / "out"
    out.mkdir(parents=True)
    (folder / "in").mkdir()
    for path in inputs.iterdir():
        (folder / "in" / path.name).symlink_to(path)
    own = folder / "in" / f"u{seed}"
    own.mkdir()
    for file, path in (more or {}).items():
        (own / file).symlink_to(path)
    (own / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for kind in ("weights", "counts", *(look(share) for share in align.looks)):
        (out / f"u{seed}.{kind}").touch()
    spec = JobSpec(kind=JobKind.ALIGN, model=REF, align=align)
    (folder / "job.json").write_text(canonical_json(JobFile(spec=spec, units=(Unit(seed=seed),))))
    main(folder)
    return out


def first_loss(out: Path) -> float:
    lines = [json.loads(line) for line in (out / "progress.jsonl").read_text().splitlines()]
    return next(float(line["loss"]) for line in lines if "loss" in line)


def built(inputs: Path, align: Align, rows: list[dict[str, Any]], model: Any = None, **more: Any) -> Any:
    """A trainer whose policy is not its reference any more, unless it is given."""
    made = tokenizer(REF, inputs)
    folder = inputs.parent / "trl"
    policy(REF, inputs, made).save_pretrained(folder / "reference")
    if model is None:
        model = moved(policy(REF, inputs, made))
    return trainer(align, model, made, rows, 0, folder, False, REF.max_length, **more)


def moved(model: Any) -> Any:
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def batch(made: Any) -> Any:
    made.args.per_device_train_batch_size = len(PAIRS)
    return made.data_collator([made.train_dataset[i] for i in range(len(PAIRS))])


# ---------------------------------------------------------------- losses


@pytest.mark.parametrize(
    ("align", "value"),
    [
        (Align(method="dpo"), math.log(2)),
        (Align(method="dpo", loss="ipo", beta=0.1), 25.0),
        (Align(method="dpo", loss="hinge"), 1.0),
        (Align(method="dpo", loss="robust", smoothing=0.2), math.log(2)),
        (Align(method="kto"), 0.5),
        (Align(method="reward"), math.log(2)),
    ],
    ids=lambda v: f"{v.method}-{v.loss}" if isinstance(v, Align) else "",
)
def test_a_loss_before_the_first_step_is_what_it_must_be(inputs: Path, align: Align, value: float) -> None:
    align = align.model_copy(update={"steps": 1, "batch_size": 4, "looks": ()})
    assert first_loss(run(inputs, align, PAIRS)) == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "hinge", "robust"])
def test_dpo_on_soft_labels_is_the_expectation_by_hand(inputs: Path, loss: Any) -> None:
    align = Align(method="dpo", loss=loss, beta=0.3, steps=1, batch_size=4)
    made = built(inputs, align, PAIRS)
    got = float(made._compute_loss(made.model, batch(made)))
    words, reference = made.processing_class, policy(REF, inputs, made.processing_class)

    def ratio(side: str) -> np.ndarray[Any, Any]:
        prompts = [words(row["prompt"])["input_ids"] for row in PAIRS]
        texts = [
            Sample("", [*words(row[side])["input_ids"], words.eos_token_id], q)
            for row, q in zip(PAIRS, prompts, strict=True)
        ]
        ratios = log_likelihood(made.model, texts, 0) - log_likelihood(reference, texts, 0)
        return ratios / [len(t.ids) for t in texts] if loss == "ipo" else ratios

    p = np.array([row["p"] for row in PAIRS])
    assert got == pytest.approx(dpo(ratio("a") - ratio("b"), p, loss, 0.3, align.smoothing), rel=1e-4)


@pytest.mark.parametrize("loss", ["sigmoid", "ipo", "hinge", "robust"])
def test_dpo_on_sure_labels_is_trls_own(inputs: Path, loss: Any) -> None:
    from trl import DPOTrainer

    made = built(inputs, Align(method="dpo", loss=loss, beta=0.3, steps=1), [row | {"p": 1.0} for row in PAIRS])
    ours = float(made._compute_loss(made.model, batch(made)))
    theirs = batch(made)
    theirs.pop("p")
    assert ours == pytest.approx(float(DPOTrainer._compute_loss(made, made.model, theirs, False)), rel=1e-5)


@pytest.mark.parametrize("bottleneck", [0, 3])
def test_a_reward_models_loss_is_bradley_terry_by_hand(inputs: Path, bottleneck: int) -> None:
    align = Align(method="reward", steps=1, centre=0.05, bottleneck=bottleneck, squeeze=0.2)
    words = tokenizer(REF, inputs)
    model = moved(reward_model(align, policy(REF, inputs, words)))
    made = built(inputs, align, PAIRS, model)
    model.eval()
    got = float(made.compute_loss(model, batch(made)))
    first, second = (score(model, words, [row["prompt"] + row[s] for row in PAIRS], 12) for s in ("a", "b"))
    want = bradley_terry(first, second, np.array([row["p"] for row in PAIRS]), 0.05)
    if bottleneck:
        codes = []
        for row in (row["prompt"] + row[s] for s in ("a", "b") for row in PAIRS):
            model(input_ids=torch.tensor([[*words(row)["input_ids"], words.eos_token_id]]))
            codes.append([part[0, -1].detach().numpy() for part in model.score.seen])
        mean, log_variance = (np.stack(part).astype(float) for part in zip(*codes, strict=True))
        want += 0.2 * squeezed(mean, log_variance)
    assert got == pytest.approx(want, rel=1e-4)


def test_an_information_bottleneck_is_noisy_while_it_learns_and_not_after(inputs: Path) -> None:
    align = Align(method="reward", steps=1, bottleneck=4)
    model = moved(reward_model(align, policy(REF, inputs, tokenizer(REF, inputs))))
    made = built(inputs, align, PAIRS, model)
    learning = {float(made.compute_loss(model.train(), batch(made))) for _ in range(3)}
    told = {float(made.compute_loss(model.eval(), batch(made))) for _ in range(3)}
    assert (len(learning), len(told)) == (3, 1)


# ---------------------------------------------------------------- jobs


@pytest.mark.parametrize("method", ["sft", "dpo", "kto", "simpo", "cpo", "orpo"])
def test_every_method_trains_a_policy_and_shows_what_it_writes(inputs: Path, method: Any) -> None:
    rows = PAIRS if method != "sft" else [{"prompt": row["prompt"], "text": row["a"]} for row in PAIRS]
    align = Align(method=method, steps=2, batch_size=4, lr=1e-2, looks=(0, 1), length=4, samples=2)
    out = run(inputs, align, rows)
    looks = [[json.loads(line) for line in (out / f"u3.{look(s)}").read_text().splitlines()] for s in (0, 1)]
    assert [len(rows) for rows in looks] == [4, 4], "two samples to each of two prompts"
    assert all(row["ratio"] == 0 for row in looks[0]), "before a step the policy is its reference"
    words = tokenizer(REF, inputs)
    before, after = policy(REF, inputs, words), policy(REF, inputs, words, out / "u3.weights")
    assert not torch.equal(before.lm_head.weight, after.lm_head.weight)
    told = write(after, words, ["w0", "w1 w2"], 2, 4, 3)
    assert [row["text"] for row in looks[1]] == [sample.text for sample in told]
    ratios = log_likelihood(after, told, words.pad_token_id) - log_likelihood(before, told, words.pad_token_id)
    assert [row["ratio"] for row in looks[1]] == pytest.approx(ratios, abs=1e-4) and abs(ratios).max() > 1e-3


def test_who_goes_on_from_an_earlier_job_keeps_its_first_reference(inputs: Path) -> None:
    align = Align(method="dpo", steps=2, batch_size=4, lr=1e-2, looks=(1,), length=4, samples=2)
    first = run(inputs, align, PAIRS, name="first")
    later = align.model_copy(update={"looks": (0,)})
    again = run(inputs, later, PAIRS, name="again", more={"start": first / "u3.weights"})
    assert (again / "u3.look_0").read_text() == (first / "u3.look_1000").read_text(), "ratios to the same reference"


def test_a_seed_fixes_everything(inputs: Path) -> None:
    align = Align(method="dpo", steps=3, batch_size=2, lr=1e-2, looks=(1,), length=4)
    outs = [run(inputs, align, PAIRS, seed, f"job{i}") for i, seed in enumerate((3, 3, 4))]
    weights = [next(out.glob("*.weights")).read_bytes() for out in outs]
    assert weights[0] == weights[1] != weights[2]
    assert (outs[0] / "u3.look_1000").read_bytes() == (outs[1] / "u3.look_1000").read_bytes()


def test_a_look_does_not_change_what_is_learnt(inputs: Path) -> None:
    few = Align(method="dpo", steps=3, batch_size=2, lr=1e-2, looks=(1,), length=4)
    many = few.model_copy(update={"looks": (0, 0.34, 0.67, 1)})
    first, second = run(inputs, few, PAIRS, name="few"), run(inputs, many, PAIRS, name="many")
    assert (first / "u3.weights").read_bytes() == (second / "u3.weights").read_bytes()


@pytest.mark.parametrize(
    ("method", "rows", "kept"),
    [
        ("dpo", [*PAIRS, {"prompt": "w0", "a": " good", "b": " w1" * 12, "p": 0.5}], 4),
        ("reward", [*PAIRS, {"prompt": "w0" + " w1" * 12, "a": " good", "b": " bad", "p": 0.5}], 4),
        ("sft", [{"prompt": "w0", "text": " w1" * 10}, {"prompt": "w0", "text": " w1" * 11}], 1),
    ],
)
def test_rows_over_the_context_are_left_out_and_counted(inputs: Path, method: Any, rows: Any, kept: int) -> None:
    out = run(inputs, Align(method=method, steps=1, batch_size=2, looks=()), rows)
    assert np.fromfile(out / "u3.counts", np.float32).tolist() == [len(rows), kept]


def test_no_row_that_fits_is_a_failure_with_a_reason(inputs: Path) -> None:
    with pytest.raises(ValueError, match="all 1 rows have over 12 tokens"):
        run(inputs, Align(method="sft", steps=1, looks=()), [{"prompt": "w0", "text": " w1" * 20}])


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_an_online_method_learns_to_write_what_is_rewarded(inputs: Path, method: Any) -> None:
    align = Align(method=method, steps=25, batch_size=32, group=8, lr=1e-2, beta=0.01, length=5, judged=True)
    words = tokenizer(REF, inputs)
    model, good = policy(REF, inputs, words), words.convert_tokens_to_ids("good")

    def share() -> float:
        told = write(model, words, ["w0", "w1 w2"], 50, 5, 0)
        return float(np.mean([good in sample.ids for sample in told]))

    before = share()
    built(inputs, align, [{"prompt": "w0"}, {"prompt": "w1 w2"}] * 8, model,
          reward=lambda prompts, ids: [float(good in own) for own in ids]).train()  # fmt: skip
    assert share() > before + 0.2


@pytest.mark.parametrize("method", ["grpo", "rloo"])
def test_the_kl_term_draws_a_policy_back_to_its_reference(inputs: Path, method: Any) -> None:
    align = Align(method=method, steps=25, batch_size=32, group=8, lr=1e-2, beta=1.0, length=5, judged=True)
    words = tokenizer(REF, inputs)
    model, reference = moved(policy(REF, inputs, words)), policy(REF, inputs, words)

    def away() -> float:
        told = write(model, words, ["w0", "w1 w2"], 100, 5, 0)
        return float(np.mean(log_likelihood(model, told, 0) - log_likelihood(reference, told, 0)))

    before = away()
    built(
        inputs, align, [{"prompt": "w0"}, {"prompt": "w1 w2"}] * 8, model, reward=lambda _, ids: [0.0] * len(ids)
    ).train()
    assert away() < before / 2


def test_pairs_without_doubt_take_the_likelier_text(inputs: Path) -> None:
    rows = built(inputs, Align(method="simpo", steps=1), PAIRS).train_dataset
    assert [row["chosen"] for row in rows] == [" good w1 w2", " good good w5", " bad w1", " good"]
    told = built(inputs, Align(method="kto", steps=1), PAIRS).train_dataset
    wanted = {
        True: [" good w1 w2", " good good w5", " bad w1", " good"],
        False: [" bad w3", " w4", " w2 w2 good", " bad bad"],
    }
    for label, texts in wanted.items():
        assert [row["completion"].removesuffix(WORDS[-1]) for row in told if row["label"] is label] == texts


# ---------------------------------------------------------------- rewards, critique


def test_reward_models_are_read_back_and_combined_under_the_jobs_rule(inputs: Path) -> None:
    words = tokenizer(REF, inputs)
    body = policy(REF, inputs, words)
    align = Align(method="grpo", rewards=2, rule="wco")
    unit = inputs / "u0"
    unit.mkdir()
    for j in range(2):
        model = moved(reward_model(align, body))
        with torch.no_grad():
            model.score.weight.mul_(3.0 - 6 * j)
        save_file(kept(model), unit / f"reward{j}")
    rewards = Rewards(
        JobSpec(kind=JobKind.ALIGN, model=REF, align=align), inputs, unit, body, words, torch.device("cpu")
    )
    texts = ["w0 good", "w1 bad w2"]
    each = rewards(texts)
    assert each.shape == (2, 2) and each[0] == pytest.approx(-each[1])
    assert rewards.one(texts) == pytest.approx(each.min(0))


def test_par_compares_with_the_references_own_answers_to_the_prompt(
    inputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = tokenizer(REF, inputs)
    body = policy(REF, inputs, words)
    align = Align(method="grpo", steps=1, batch_size=4, group=4, rewards=1, shape="par", looks=(), length=4)
    model = moved(reward_model(align, body))
    save_file(kept(model), inputs.parent / "reward0")
    rewards: list[Any] = []

    def spy(*given: Any, **more: Any) -> Any:
        rewards.append(given[8])
        return trainer(*given, **more)

    monkeypatch.setattr(job, "trainer", spy)
    prompts = ["w0", "w1 w2"]
    run(inputs, align, [{"prompt": p} for p in prompts], more={"reward0": inputs.parent / "reward0"})
    answers = [" good w1", " bad"]
    got = rewards[0](prompts, [words(answer)["input_ids"] for answer in answers])
    each = job.REFERENCES
    told = write(body, words, prompts, each, align.length, 4)
    against = score(model, words, [prompts[i // each] + sample.text for i, sample in enumerate(told)], 12)
    plain = score(model, words, [p + a for p, a in zip(prompts, answers, strict=True)], 12)
    assert got == pytest.approx(par(plain, against.reshape(2, each)), rel=1e-4)


def test_the_critic_names_the_token_without_which_the_reward_is_highest(inputs: Path) -> None:
    words = tokenizer(REF, inputs)
    model = policy(REF, inputs, words)

    def reward(texts: Sequence[str]) -> np.ndarray[Any, Any]:
        return np.array([text.split().count("good") - 2.0 * text.split().count("bad") for text in texts])

    drafts = [Sample("", words("w1 bad good endoftext")["input_ids"], words("bad w0")["input_ids"])]
    assert criticised(words, drafts, reward) == [1], "the prompt's own `bad` is not the policy's to mend"
    after = list(revisions(model, words, drafts, reward, 2, 0))
    first = [words.decode([i]) for i in after[0][0].ids]
    assert (first[0], first[2], first[3]) == ("w1", "good", "endoftext") and first[1] not in ("bad", "endoftext")
    assert len(after) == 2 and after[1][0].ids != after[0][0].ids
