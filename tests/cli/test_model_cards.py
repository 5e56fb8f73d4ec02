"""The catalogue's cards, `models add`, `ls` and `show`, and measuring a model through a real head."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
from pathlib import Path

import msgspec
import pytest

from hpcwise.cli.modeladd import check_card
from hpcwise.cli.models import registry, state_of
from hpcwise.cli.modelset import check_runnable
from hpcwise.core.catalogue import ModelInfo
from hpcwise.core.errors import ModelMissing, UsageError
from hpcwise.core.parallel import usp_degrees
from hpcwise.core.streamcast import STAGE_MODELS
from hpcwise.head.planning import read_planning
from hpcwise.head.settings import find_models_dir, read_file, read_hardware, read_settings
from hpcwise.models.base import ModelSpec
from hpcwise.models.licences import is_accepted
from hpcwise.models.whole import lacking
from hpcwise.sim.workload import paper_job
from tests.cli.making import call, call_json

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
#: StreamWise Table 2, by class.
TABLE_2 = {
    "llm": {"llama-3.2-90b", "gemma-3-27b"},
    "a2t": {"whisper-large-v3"},
    "tts": {"kokoro-82m", "xtts-v2", "openaudio-s1-mini", "dia-1.6b", "vibevoice-7b"},
    "t2i": {"sd-3.5-large", "flux", "hidream-i1", "janus-pro-7b"},
    "i2i": {"yolo", "real-esrgan", "flux-kontext", "bagel", "hidream-e1"},
    "i2v": {"wan-2.1", "wan-2.2", "hunyuanvideo", "framepack", "ltx-video"},
    "v+a": {"fantasytalking", "hunyuan-avatar", "sonic"},
}
CARD = """
name: new-model
version: "1"
family: somebody-elses
licence: Apache-2.0
stages: [animate]
memory_gb: 40
load_s: 20
attention_heads: 24
vae: {spatial: 8, temporal: 4, patch: 2}
hardware: [a100, h100]
profiles:
  a100: {base_s: 1.0, per: {steps*frames*frame_mpx: 0.2}, speedup: {2: 1.8, 8: 5.5}}
"""


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the configurations that a test may write to."""
    folder = tmp_path / "configs"
    shutil.copytree(CONFIGS, folder, ignore=shutil.ignore_patterns("site.yaml"))
    monkeypatch.setenv("HPCWISE_CONFIGS", str(folder))
    return folder


def test_every_model_of_table_2_has_a_card_of_its_class() -> None:
    models = read_planning(CONFIGS).models
    for kind, names in TABLE_2.items():
        assert {m.name for m in models.values() if m.model_class == kind and not m.part_of} == names


def test_every_card_passes_its_own_check_and_can_run_somewhere() -> None:
    catalogue = read_planning(CONFIGS)
    for path in sorted((CONFIGS / "models").rglob("*.yaml")):
        others = {name: m for name, m in catalogue.models.items() if name != path.stem}
        assert check_card(path, catalogue.hardware, others).name == path.stem


def test_an_elo_says_where_it_comes_from() -> None:
    models = read_planning(CONFIGS).models
    assert {m.name for m in models.values() if m.elo > 0 and not m.elo_source} == set()
    # What planning needs of every model of Table 2, whatever a card leaves open.
    for name in set().union(*TABLE_2.values()):
        info = models[name]
        assert info.architecture and info.size_b > 0 and info.licence and info.memory_gb > 0
        assert info.released and info.precision and info.load_s > 0


def test_planned_models_are_never_offered_to_a_worker() -> None:
    settings = read_settings(CONFIGS, find_models_dir())
    planned = {p.stem for p in (CONFIGS / "models" / "catalogue").glob("*.yaml")}
    assert len(planned) == 16
    assert planned.isdisjoint(settings.engine.catalogue.models)
    assert all(planned.isdisjoint(item.models) for item in settings.engine.fleet)


def test_models_of_gpus_are_not_offered_to_the_cores_of_a_host(configs: Path) -> None:
    settings = read_settings(CONFIGS, find_models_dir())
    (item,) = settings.engine.fleet
    known = settings.engine.catalogue.models
    assert {"flux", "framepack-dit", "wan-2.1", "real-esrgan", "gemma-3-27b"} <= set(known) - set(item.models)
    assert {"tiny-wan-dit", "kokoro-82m", "yolos-small", "drawn-scene"} <= set(item.models)
    assert all(known[name].profiles.get("cpu") for name in item.models)
    # On a GPU they are, with the profiles that planning has until runs have corrected them.
    head = configs / "head.yaml"
    head.write_text(head.read_text().replace("hardware: cpu", "hardware: h100"))
    settings = read_settings(configs, find_models_dir())
    (item,) = settings.engine.fleet
    assert {"flux", "framepack-dit", "wan-2.2-5b", "gemma-3-27b"} <= set(item.models)
    assert "tiny-wan-dit" not in item.models
    planning = read_planning(configs).models["framepack-dit"].profiles["h100"]
    assert settings.engine.catalogue.models["framepack-dit"].profiles["h100"] == planning


def test_every_runnable_card_is_one_that_its_adapter_takes(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    from hpcwise.models.base import Devices
    from hpcwise.models.registry import Registry

    cards = Registry.read(CONFIGS / "models", tmp_path)
    tried = []
    for card in cards.cards.values():
        if card.folder and not card.name.startswith("tiny-"):
            spec = ModelSpec(card.name, card.version, card.family, cards.folder(card), card.options)
            # A wrong option would be named before the files that are not here.
            with pytest.raises(ModelMissing, match=rf"^model {card.name}: .*{tmp_path}/{card.folder}"):
                cards.adapter(card.name).load(spec, Devices())
            tried.append(card.name)
    assert len(tried) >= 17


def test_a_licence_is_accepted_once_and_refusal_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hpcwise.models.registry import Registry

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    cards = Registry.read(CONFIGS / "models", tmp_path)
    said = r"^model flux: its licence \(FLUX.1 \[dev\] Non-Commercial\) was not accepted; read it, then"
    with pytest.raises(ModelMissing, match=said):
        cards.spec("flux")
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    code, _, err = call(capsys, "models", "accept", "flux")
    assert code == 2
    assert err.endswith("hpcwise: model flux: its licence was not accepted; nothing was noted\n")
    noted = call_json(capsys, "models", "accept", "flux", "--yes")
    assert (noted["model"], noted["licence"]) == ("flux", "FLUX.1 [dev] Non-Commercial")
    assert call_json(capsys, "models", "accept", "flux") == noted
    assert cards.spec("flux").path == tmp_path / "flux.1-dev"
    code, _, err = call(capsys, "models", "accept", "wan-2.1")
    assert (code, err) == (2, "hpcwise: model wan-2.1: its licence (Apache-2.0) asks for nothing; use it\n")
    # Another text asks again.
    changed = msgspec.structs.replace(cards.card("flux"), licence="Another")
    assert not is_accepted(changed)


def test_prices_are_table_3s_by_device() -> None:
    hardware = read_planning(CONFIGS).hardware
    node = {
        name: (round(h.usd_per_h * h.devices_per_node, 6), h.tdp_w, h.devices_per_node)
        for name, h in hardware.items()
    }
    assert node["v100"] == (10.79, 300, 8)
    assert node["a100"] == (14.42, 400, 8)
    assert node["h100"] == (43.16, 700, 8)
    assert node["h200"] == (45.22, 700, 8)
    assert node["gb200"] == (57.67, 1200, 4)
    assert hardware["cpu"].usd_per_h == 2.33
    # Section 3.3: A100 is about 60 % more cost-efficient than H100, 2.7 times more than GB200.
    a100 = hardware["a100"].usd_per_h
    assert hardware["h100"].usd_per_h / a100 / 1.9 == pytest.approx(1.58, abs=0.01)
    assert hardware["gb200"].usd_per_h / a100 / 2.9 == pytest.approx(2.76, abs=0.01)


def test_a_sites_billing_weights_reach_the_catalogue(configs: Path) -> None:
    path = configs / "hardware.yaml"
    billing = "billing:\n  usd_per_unit_h: 0.01\n  weights: GRES/gpu:a100=40\n  devices:\n    a100: {}\n"
    path.write_text(path.read_text() + billing)
    hardware = read_planning(configs).hardware
    assert hardware["a100"].usd_per_h == pytest.approx(0.4)
    assert hardware["h100"].usd_per_h == pytest.approx(43.16 / 8)
    path.write_text(path.read_text().replace("a100=40", "a100=forty"))
    with pytest.raises(UsageError, match=r"hardware.yaml: billing.weights: 'GRES/gpu:a100=forty' is not"):
        read_planning(configs)


def test_a_negative_price_is_one_line(configs: Path) -> None:
    path = configs / "hardware.yaml"
    path.write_text(path.read_text().replace("spot_usd_per_h: 0.83", "spot_usd_per_h: -0.83"))
    said = r"hardware.cpu.spot_usd_per_h: -0.83 is not usable; give 0 or more$"
    with pytest.raises(UsageError, match=said):
        read_hardware(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: new-model", "name: flux", "name: 'flux' is another card's too; give it its own"),
        ("licence: Apache-2.0\n", "", "licence: is missing; every card says it"),
        ("memory_gb: 40", "memory_gb: 400", "memory_gb: 400 fits none of a100, h100; at most 80"),
        ("memory_gb: 40", "memory_gb: -1", "memory_gb: -1.0 is not usable; give 0 or more"),
        ("load_s: 20", "load_s: .nan", "load_s: nan is not usable; give 0 or more"),
        ("base_s: 1.0", "base_s: -1.0", "profiles.a100.base_s: -1.0 cannot be measured; measure again"),
        ("2: 1.8", "2: .nan", "profiles.a100.speedup.2: nan cannot be measured; measure again"),
        ("  a100: {", "  a900: {",
         "profiles.a900: is not in hardware.yaml; use cpu, v100, a100, a100-pcie, h100, h200, gb200"),
        ("[a100, h100]", "[a100, q1]",
         "hardware: 'q1' is not in hardware.yaml; use cpu, v100, a100, a100-pcie, h100, h200, gb200"),
        ("attention_heads: 24", "resolutions: [[641, 400]]",
         "resolutions: 641x400 does not divide by the VAE's 8; correct it"),
        ("spatial: 8", "spatial: 999",
         "attention_heads, vae: no replica of any size can work at 640x400, 1280x800, 512x320, 1280x720, "
         "1024x576; correct them"),
        ("load_s: 20", "laod_s: 20", "laod_s: is not a field of a card; take it out"),
        ("load_s: 20", "load_s: quick", "Expected `float`, got `str` - at `$.load_s`"),
        ("load_s: 20", "split: [new-dit]", "split, part_of: 'new-dit' has no card; add that one first"),
    ],
)  # fmt: skip
def test_a_wrong_card_is_one_line_and_nothing_is_added(
    old: str, new: str, said: str, configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "card.yaml"
    file.write_text(CARD.replace(old, new))
    before = sorted(configs.rglob("*"))
    code, out, err = call(capsys, "models", "add", file)
    assert (code, out, err) == (2, "", f"hpcwise: {file}: {said}\n")
    assert sorted(configs.rglob("*")) == before


def test_a_right_card_is_added_listed_and_planned_with(
    configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "card.yaml"
    file.write_text(CARD)
    assert call_json(capsys, "models", "add", file, "--check")["path"] is None
    added = call_json(capsys, "models", "add", file)
    assert added == {
        "model": "new-model", "runs": False, "path": str(configs / "models/catalogue/new-model.yaml")
    }  # fmt: skip
    (row,) = [m for m in call_json(capsys, "models", "ls") if m["name"] == "new-model"]
    assert (row["state"], row["problem"]) == ("planned", "no adapter in this version")
    catalogue = read_planning(configs)
    info = catalogue.models["new-model"]
    assert info == read_file(file, ModelInfo)
    assert usp_degrees(info, catalogue.hardware["a100"], (640, 400), frames=81) == (1, 2, 4, 8, 24, 40, 56)
    code, _, err = call(capsys, "models", "add", file)
    assert (code, err) == (2, f"hpcwise: {file}: name: 'new-model' is another card's too; give it its own\n")


def test_show_says_what_a_big_model_costs_and_what_is_doubtful(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out, err = call(capsys, "models", "show", "fantasytalking")
    assert (code, err) == (0, "")
    assert "missing files: put its checkpoint into" in out
    assert "doubt: fantasytalking on gb200: not measured, scaled from h100" in out
    view = call_json(capsys, "models", "show", "fantasytalking")
    by_hardware = {p["hardware"]: p for p in view["views"]}
    assert by_hardware["h100"]["flags"] == []
    assert by_hardware["h100"]["profile"]["fit"]["r2"] >= 0.999


def test_a_model_is_measured_through_a_head_and_its_profile_is_used_and_its_drift_shown(
    configs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs"
    done = call_json(capsys, "profile", "emulated", "--rounds", 1, "--write", "--run-dir", folder)
    assert [m["features"]["seconds"] for m in done["measurements"]] == [0.05, 0.1, 0.2, 0.4, 0.8]
    assert done["written"] == str(configs / "profiles/site.yaml")
    profile = read_settings(configs, find_models_dir()).engine.catalogue.models["emulated"].profiles["cpu"]
    assert 0.9 < profile.per["seconds"] < 1.3
    assert profile.fit is not None
    assert (profile.fit.source, profile.fit.points) == ("hpcwise profile", 5)
    assert profile.fit.ranges == {"seconds": (0.05, 0.8)}
    (view,) = call_json(capsys, "models", "show", "emulated", "--run-dir", folder)["views"]
    assert 0.5 < view["ratio"] < 2.0
    assert view["profile"]["fit"]["source"] == "hpcwise profile"


def test_a_model_without_measuring_jobs_or_card_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = call(capsys, "profile", "whisper-large-v3", "--run-dir", tmp_path / "r")
    assert code == 2
    assert err.startswith("hpcwise: model 'whisper-large-v3': no card in configs/models; known are ")


def test_a_set_whose_checkpoints_lack_is_one_line_that_says_where_to_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HPCWISE_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    job = CONFIGS.parent / "jobs" / "podcast.yaml"
    asked = ("submit", job, "--models", "streamwise", "--run-dir", tmp_path / "run")
    code, _, err = call(capsys, *asked)
    assert code == 2
    place = f"put its checkpoint (hf:google/gemma-3-27b-it) into {tmp_path}/models/gemma-3-27b, give --models"
    assert f"models.screenplay: 'gemma-3-27b' can only be planned here: {place}" in err
    # With the files there, its licence is what is asked for.
    (tmp_path / "models" / "gemma-3-27b").mkdir(parents=True)
    code, _, err = call(capsys, *asked)
    assert code == 2
    assert "models.screenplay: model gemma-3-27b: its licence (Gemma) was not accepted; read it, then" in err
    assert not (tmp_path / "run").exists()


def laid_out(folder: Path) -> None:
    """The files of a checkpoint of Wan by their names; nothing of it is opened."""
    names = {
        "text_encoder": (
            "transformers",
            "config.json",
            "model.safetensors.index.json",
            "model-2.safetensors",
        ),
        "tokenizer": ("transformers", "tokenizer_config.json"),
        "image_processor": ("transformers", "preprocessor_config.json"),
        "scheduler": ("diffusers", "scheduler_config.json"),
        "transformer": ("diffusers", "config.json", "diffusion_pytorch_model.safetensors"),
        "vae": ("diffusers", "config.json", "diffusion_pytorch_model.safetensors"),
    }
    for part, (_, *files) in names.items():
        (folder / part).mkdir(parents=True)
        for name in files:
            (folder / part / name).write_bytes(b"")
    shards = json.dumps({"weight_map": {"a": "model-2.safetensors", "b": "model-2.safetensors"}})
    (folder / "text_encoder" / "model.safetensors.index.json").write_text(shards)
    index = {part: [library, "AClass"] for part, (library, *_) in names.items()}
    (folder / "model_index.json").write_text(json.dumps({**index, "transformer_2": [None, None], "_v": "1"}))


#: File of the checkpoint -> cards of its parts that cannot do without it.
NEEDED = {
    "transformer/diffusion_pytorch_model.safetensors": {"tiny-wan-dit"},
    "vae/config.json": {"tiny-wan-dit", "tiny-wan-vae"},
    "text_encoder/model-2.safetensors": {"tiny-wan-dit", "tiny-wan-text"},
    "tokenizer/tokenizer_config.json": {"tiny-wan-dit", "tiny-wan-text"},
    "image_processor/preprocessor_config.json": {"tiny-wan-dit", "tiny-wan-vae"},
    "scheduler/scheduler_config.json": {"tiny-wan-dit", "tiny-wan-text", "tiny-wan-vae"},
    "model_index.json": {"tiny-wan-dit", "tiny-wan-text", "tiny-wan-vae"},
}


def test_a_checkpoint_that_lacks_a_file_is_named_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPCWISE_MODELS_DIR", str(tmp_path))
    folder = tmp_path / "tiny-wan2.1-i2v"
    laid_out(folder)
    cards = registry()
    parts = [cards.card(f"tiny-wan-{part}") for part in ("text", "dit", "vae")]
    assert [lacking(card, folder) for card in parts] == [""] * 3
    for gone, needed in NEEDED.items():
        (folder / gone).rename(tmp_path / "aside")
        said = {card.name: line for card in parts if (line := lacking(card, folder))}
        assert set(said) == needed, gone
        for name, line in said.items():
            assert line.startswith(f"model {name}: ") and gone.split("/")[0] in line and str(folder) in line
        (tmp_path / "aside").rename(folder / gone)
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    line = f"model tiny-wan-vae: vae/diffusion_pytorch_model.safetensors is missing in {folder}"
    models = dict.fromkeys(STAGE_MODELS, "drawn-scene")
    with pytest.raises(UsageError) as error:
        check_runnable(paper_job(models={**models, "decode": "tiny-wan-vae"}), Path("film.yaml"))
    assert str(error.value) == (
        f"film.yaml: models.decode: {line}; `hpcwise models check tiny-wan-vae` looks again"
    )
    # `models check` and `doctor` say the same.
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: object())
    state = state_of(cards, cards.card("tiny-wan-vae"), hashes=True)
    assert (state.state, state.problem) == ("missing files", line)


def test_a_denoiser_without_text_encoder_needs_a_model_that_encodes(
    tmp_path: Path, configs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HPCWISE_MODELS_DIR", str(tmp_path / "models"))
    laid_out(tmp_path / "models" / "tiny-wan2.1-i2v")
    card = (configs / "models" / "tiny-wan-dit.yaml").read_text()
    deaf = card.replace("name: tiny-wan-dit", "name: deaf").replace("  parts:", "  text: false\n  parts:")
    (configs / "models" / "deaf.yaml").write_text(deaf)
    models = dict.fromkeys(STAGE_MODELS, "drawn-scene") | {"sketch": "deaf"}
    with pytest.raises(UsageError) as error:
        check_runnable(paper_job(models=models), Path("film.yaml"))
    assert str(error.value) == (
        "film.yaml: models.encode: nothing, but 'deaf' has no text encoder (options.text); name a model that "
        "encodes its prompts"
    )
    check_runnable(paper_job(models={**models, "encode": "tiny-wan-text"}), Path("film.yaml"))
