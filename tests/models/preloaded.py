"""Imported by the process that forks others (forks.py): classes whose modules these packages import only when
they are asked for one."""

# ruff: noqa: F401
import av
import h5py
from diffusers import (
    AutoencoderKLHunyuanVideo,
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    ContextParallelConfig,
    FluxPipeline,
    FluxTransformer2DModel,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from diffusers.hooks import context_parallel
from transformers import (
    CLIPTextModel,
    CLIPVisionModel,
    T5EncoderModel,
    T5Tokenizer,
    UMT5EncoderModel,
    Wav2Vec2Model,
)
