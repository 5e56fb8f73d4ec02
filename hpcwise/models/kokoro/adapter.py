"""Kokoro-82M (hexgrad, Apache-2.0) as int8 ONNX, on CPU or CUDA: speech with the timings of every sound."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpcwise.core.errors import BadOutput, ModelMissing, Stopped, UsageError
from hpcwise.core.screenplay import Line, Word
from hpcwise.models.base import Call, Devices, ModelSpec, OnStep, Output
from hpcwise.models.kokoro.assemble import SpokenLine, assembled
from hpcwise.models.kokoro.loudness import Samples
from hpcwise.models.kokoro.params import RATE_HZ, SpeechParams, speech_params
from hpcwise.models.kokoro.phonemes import Marked, Pronouncer, chunked
from hpcwise.models.kokoro.spoken import SpokenWord, spoken_words
from hpcwise.models.kokoro.visemes import Sound, mouth_shapes

MODEL_FILE = "kokoro-v1.0.int8.onnx"
#: The model's own per-token durations, an inner node of the graph, and the length of its unit.
DURATIONS = "/encoder/Clip_output_0"
UNIT_S = 0.025
#: Sound comes out this much before the durations say (the decoder's padding), seconds.
EARLY_S = 0.08
#: The model takes 510 tokens; shorter pieces sound as good, and a stop between them comes sooner.
MOST_TOKENS = 220


class KokoroAdapter:
    """Speaks the lines of one shot. Equal calls give equal bytes for a given number of threads."""

    def load(self, spec: ModelSpec, devices: Devices) -> None:
        """Read the graph and the voices of `spec.path`; raises `ModelMissing`."""
        folder = spec.path
        if folder is None or not (folder / MODEL_FILE).is_file():
            raise ModelMissing(
                f"model {spec.name}: {MODEL_FILE} missing; fetch it with `hpcwise models fetch "
                f"{spec.name}`, or put it into {folder or 'the model folder'}"
            )
        self._voices = {
            p.stem: np.fromfile(p, np.float32).reshape(-1, 1, 256) for p in sorted(folder.glob("*.bin"))
        }
        if not self._voices:
            raise ModelMissing(f"model {spec.name}: no voice (af_heart.bin, …) in {folder}")
        self._tokens: dict[str, int] = json.loads((folder / "vocab.json").read_text("utf-8"))["vocab"]
        self._session = _session(folder, devices)
        self._pronouncer = Pronouncer()
        # The dictionary takes half a second: not while somebody waits for the first line.
        self._pronouncer.pronounce(spoken_words("Welcome."))

    def run(self, call: Call, on_step: OnStep, should_stop: Callable[[], bool]) -> Iterator[Output]:
        """One output: `audio.wav`, `speech.json`; facts duration_s and words."""
        params = speech_params(call.params)
        voices = {c.id: c.voice for c in params.cast}
        for line in params.lines:
            if voices[line.speaker] not in self._voices:
                raise UsageError(
                    f"speech: voice {voices[line.speaker]!r} of {line.speaker!r} is not there; "
                    f"use one of {', '.join(self._voices)}"
                )
        spoken = []
        for i, line in enumerate(params.lines):
            on_step(i, len(params.lines), f"speaking: {line.speaker}")
            spoken.append(self._speak(line, voices[line.speaker], params, should_stop))
        on_step(len(params.lines), len(params.lines), "spoken")
        yield assembled(params, spoken, call.work)

    def _speak(
        self, line: Line, voice: str, params: SpeechParams, should_stop: Callable[[], bool]
    ) -> SpokenLine:
        text, pace = line.text, params.pace_of(line.speaker)
        words = spoken_words(text, params.lexicon)
        marked = self._pronouncer.pronounce(words, british=voice.startswith("b"))
        known = [m for m in marked if m[0] in self._tokens]
        audio: list[Samples] = []
        sounds: list[Sound] = []
        at = 0
        for piece in chunked(known, MOST_TOKENS):
            if should_stop():
                raise Stopped(f"stopped while speaking {text[:40]!r}")
            samples, heard = self._infer(piece, self._voices[voice], pace)
            sounds += [Sound(s.symbol, s.word, at / RATE_HZ + s.start_s, s.length_s) for s in heard]
            audio.append(samples)
            at += samples.size
        whole = np.concatenate(audio) if audio else np.zeros(0, np.float32)
        return SpokenLine(whole, timed_words(words, sounds, at / RATE_HZ), tuple(mouth_shapes(sounds)))

    def _infer(self, piece: Sequence[Marked], style: Samples, pace: float) -> tuple[Samples, list[Sound]]:
        """Audio of one piece, silence at its ends cut to what a breath takes, and its sounds."""
        tokens = [self._tokens[symbol] for symbol, _ in piece]
        audio, durations = self._session.run(
            None,
            {
                "tokens": np.array([[0, *tokens, 0]], np.int64),
                "style": style[min(len(tokens), len(style)) - 1].reshape(1, 256),
                "speed": np.array([pace], np.float32),
            },
        )
        samples = np.asarray(audio, np.float32).ravel()
        if not np.isfinite(samples).all() or np.abs(samples).max(initial=0.0) < 1e-3:
            raise BadOutput(f"speech: {len(tokens)} tokens came out silent or not finite")
        ends = np.cumsum(np.asarray(durations, np.float64).ravel()) * UNIT_S - EARLY_S
        first_s = max(0.0, float(ends[0]) - 0.05)
        loud = np.flatnonzero(np.abs(samples) > 0.01 * float(np.abs(samples).max()))
        start = int(first_s * RATE_HZ)
        end = min(samples.size, max(int(loud[-1]) + RATE_HZ // 10, start + 1))
        fade = np.ones(end - start, np.float32)
        ramp = min(120, fade.size // 2)
        fade[:ramp] = np.linspace(0, 1, ramp)
        fade[fade.size - ramp :] = np.linspace(1, 0, ramp)
        length_s = (end - start) / RATE_HZ
        sounds = []
        for (symbol, word), begins, stops in zip(piece, ends[:-2], ends[1:-1], strict=True):
            from_s = min(max(0.0, begins - first_s), length_s)
            sounds.append(Sound(symbol, word, from_s, max(0.0, min(stops - first_s, length_s) - from_s)))
        return samples[start:end] * fade, sounds


def timed_words(words: Sequence[SpokenWord], sounds: Sequence[Sound], length_s: float) -> tuple[Word, ...]:
    """Caption words with the times of their sounds; one without sound takes none between its neighbours."""
    first: dict[int, float] = {}
    last: dict[int, float] = {}
    for sound in sounds:
        if sound.word >= 0:
            first.setdefault(sound.word, sound.start_s)
            last[sound.word] = sound.start_s + sound.length_s
    out: list[Word] = []
    at = 0.0
    for i, word in enumerate(words):
        start = max(at, first.get(i, at))
        at = min(max(start, last.get(i, start)), length_s)
        out.append(Word(word.written, min(start, length_s), at))
    return tuple(out)


def _providers(devices: Devices) -> list[Any]:
    """CUDA where the worker has it and onnxruntime was built with it, then the CPU."""
    import onnxruntime

    found: list[Any] = []
    if devices.kind == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        found.append(("CUDAExecutionProvider", {"device_id": devices.indices[0] if devices.indices else 0}))
    return [*found, "CPUExecutionProvider"]


def _session(folder: Path, devices: Devices) -> Any:
    """An inference session whose second output is the durations; the edited graph is kept."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, devices.threads)
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    edited = folder / f"{MODEL_FILE}.durations-v1"
    original = folder / MODEL_FILE
    if edited.is_file() and edited.stat().st_mtime >= original.stat().st_mtime:
        try:
            return onnxruntime.InferenceSession(str(edited), options, providers=_providers(devices))
        except Exception:
            # A copy that a crash tore; the runtime raises types of its own. Made again below.
            edited.unlink(missing_ok=True)
    import onnx

    graph = onnx.load(str(original))
    graph.graph.output.append(onnx.helper.make_tensor_value_info(DURATIONS, onnx.TensorProto.FLOAT, None))
    body = graph.SerializeToString()
    beside = folder / f".{edited.name}.{os.getpid()}"
    try:
        beside.write_bytes(body)
        beside.replace(edited)
    except OSError:
        # A model folder that is read-only or full serves as well: the graph is then edited at each load.
        beside.unlink(missing_ok=True)
    return onnxruntime.InferenceSession(body, options, providers=_providers(devices))
