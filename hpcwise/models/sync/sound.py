"""Speech as the audio-driven model hears it: features of a speech encoder, for each stretch of a shot."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hpcwise.core.errors import BadOutput, ModelMissing

#: What wav2vec 2.0 was trained on.
RATE_HZ: Final = 16_000
#: The shortest sound that its convolutions take.
_LEAST: Final = 800

Samples = npt.NDArray[np.float32]


class SpeechEncoder:
    """wav2vec 2.0 (Baevski et al., 2020) out of a checkpoint's folder `audio_encoder`."""

    def __init__(self, folder: Path, name: str, device: Any, dtype: Any) -> None:
        """Raises ModelMissing."""
        import transformers

        try:
            model = transformers.Wav2Vec2Model.from_pretrained(folder, local_files_only=True, dtype=dtype)
        except (OSError, ValueError) as error:
            raise ModelMissing(f"model {name}: {folder} holds no speech encoder: {error}") from error
        self._model = model.to(device).eval()
        self._device, self._dtype = device, dtype

    @property
    def width(self) -> int:
        """Of its features."""
        return int(self._model.config.hidden_size)

    def features(self, samples: Samples) -> Any:
        """[1, tokens, width] of mono samples at RATE_HZ, fifty tokens a second."""
        import torch

        padded = np.pad(samples, (0, max(0, _LEAST - samples.size)))
        spread = float(padded.std()) or 1.0
        heard = torch.from_numpy((padded - padded.mean()) / spread).to(self._device, self._dtype)
        with torch.no_grad():
            return self._model(heard[None]).last_hidden_state


def read_speech(path: Path) -> tuple[Samples, int]:
    """Mono samples from -1 to 1 and their rate. Raises BadOutput."""
    try:
        with wave.open(str(path), "rb") as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            raw = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise BadOutput(f"{path.name}: cannot be read as sound: {error}") from error
    if width != 2:
        raise BadOutput(f"{path.name}: {8 * width} bits a sample; 16 are wanted")
    samples = np.frombuffer(raw, "<i2").reshape(-1, channels).mean(axis=1, dtype=np.float32) / 32768.0
    return samples.astype(np.float32), rate


def stretch_of(samples: Samples, rate_hz: int, start_s: float, end_s: float) -> Samples:
    """What sounds from start_s to end_s at RATE_HZ, silence where there is nothing."""
    import av

    first, last = round(start_s * rate_hz), round(end_s * rate_hz)
    part = samples[max(0, first) : max(0, last)]
    part = np.pad(part, (0, max(0, (last - first) - part.size)))
    if rate_hz != RATE_HZ:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE_HZ)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part[None]), format="flt", layout="mono")
        frame.sample_rate = rate_hz
        some = [f.to_ndarray()[0] for f in (*resampler.resample(frame), *resampler.resample(None))]
        part = np.concatenate(some) if some else part[:0]
    wanted = round((end_s - start_s) * RATE_HZ)
    return np.pad(part[:wanted], (0, max(0, wanted - part.size))).astype(np.float32)
