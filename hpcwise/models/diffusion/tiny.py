"""Checkpoints of the real architectures with a few thousand random weights, in the real layout.

For tests and for trying a whole workflow where no weights can be had: every file, class and code path is that
of the big model, only the pictures mean nothing. Nothing is fetched: vocabularies are made of characters.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import string
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hpcwise.core.errors import ModelMissing, UsageError
from hpcwise.models.diffusion.checkpoint import SUMS, present, summed, sums

_SEED: Final = 0
#: Of what is written here; those of another one are written again.
_EDITION: Final = "2"
_EDITION_FILE: Final = "edition.txt"
#: Widths of the tiny text encoders; the transformers' text inputs are as wide.
_TEXT_DIM: Final = 32


def build(name: str, folder: Path) -> None:
    """Write checkpoint `name` into `folder`, beside and renamed. Raises UsageError for an unknown name."""
    if name not in BUILDERS:
        raise UsageError(f"tiny checkpoint {name!r} is unknown; use {', '.join(BUILDERS)}")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch

    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.parent.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng(devices=[]), _quiet():
        torch.manual_seed(_SEED)
        BUILDERS[name](beside)
    (beside / _EDITION_FILE).write_text(_EDITION)
    (beside / SUMS).write_text(sums(beside))
    shutil.rmtree(folder, ignore_errors=True)
    try:
        beside.rename(folder)
    except OSError:
        # Another process may have been a moment faster; its bits are the same.
        shutil.rmtree(beside, ignore_errors=True)
        if not stands(name, folder):
            raise


def stands(name: str, folder: Path) -> bool:
    """Whether `folder` holds checkpoint `name` as this version writes it, with all of its files."""
    try:
        if name not in BUILDERS or (folder / _EDITION_FILE).read_text() != _EDITION:
            return False
        present(folder, name, (folder / file for _, file in summed(folder)))
    except (OSError, ModelMissing):
        return False
    return True


@contextmanager
def _quiet() -> Iterator[None]:
    """Libraries warn of what they would like to have beside them, and show a bar for each file."""
    import transformers

    logging.disable(logging.WARNING)
    transformers.utils.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.utils.logging.enable_progress_bar()
        logging.disable(logging.NOTSET)


def _wan(
    folder: Path, *, from_image: bool, clip: bool, heads: int = 4, experts: bool = False, dense: bool = False
) -> None:
    """experts: two denoisers, as Wan 2.2's large model; dense: the VAE and the timesteps of its small one."""
    import diffusers
    import transformers

    tokenizer = _t5_tokenizer()
    in_channels = 36 if from_image and not dense else 16

    def denoiser() -> Any:
        return diffusers.WanTransformer3DModel(
            patch_size=(1, 2, 2), num_attention_heads=heads, attention_head_dim=12,
            in_channels=in_channels, out_channels=16, text_dim=_TEXT_DIM, freq_dim=32,
            ffn_dim=32, num_layers=2, cross_attn_norm=True, qk_norm="rms_norm_across_heads",
            rope_max_seq_len=128, image_dim=4 if clip else None,
        ).eval()  # fmt: skip

    wide = {"is_residual": True, "patch_size": 2, "in_channels": 12, "out_channels": 12} if dense else {}
    parts: dict[str, Any] = {
        "tokenizer": tokenizer,
        "text_encoder": transformers.UMT5EncoderModel(
            transformers.UMT5Config(**_t5_sizes(len(tokenizer)), relative_attention_num_buckets=8)
        ).eval(),
        "vae": diffusers.AutoencoderKLWan(
            base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
            temperal_downsample=[False, True, True], scale_factor_spatial=16 if dense else 8, **wide,
        ).eval(),
        "scheduler": diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
        "transformer": denoiser(),
    }  # fmt: skip
    if experts:
        parts |= {"transformer_2": denoiser(), "boundary_ratio": 0.9}
    if dense:
        parts["expand_timesteps"] = True
    if not from_image:
        diffusers.WanPipeline(**parts).save_pretrained(folder)
        return
    parts["image_encoder"] = parts["image_processor"] = None
    if clip:
        parts["image_processor"] = transformers.CLIPImageProcessor(crop_size=32, size=32)
        parts["image_encoder"] = transformers.CLIPVisionModel(
            transformers.CLIPVisionConfig(
                hidden_size=4, projection_dim=4, num_hidden_layers=2, num_attention_heads=2, image_size=32,
                intermediate_size=16, patch_size=8,
            )
        ).eval()  # fmt: skip
    diffusers.WanImageToVideoPipeline(**parts).save_pretrained(folder)


def _flux(folder: Path, *, edits: bool = False) -> None:
    import diffusers
    import transformers

    clip, t5 = _clip_tokenizer(), _t5_tokenizer()
    cls = diffusers.FluxKontextPipeline if edits else diffusers.FluxPipeline
    cls(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        text_encoder=_clip_text(clip, _TEXT_DIM),
        tokenizer=clip,
        text_encoder_2=transformers.T5EncoderModel(
            transformers.T5Config(**_t5_sizes(len(t5)), relative_attention_num_buckets=8)
        ).eval(),
        tokenizer_2=t5,
        transformer=diffusers.FluxTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=_TEXT_DIM, pooled_projection_dim=_TEXT_DIM,
            axes_dims_rope=[4, 4, 8],
        ).eval(),
        vae=diffusers.AutoencoderKL(
            sample_size=32, in_channels=3, out_channels=3, block_out_channels=(4,) * 4, layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4, norm_num_groups=1, use_quant_conv=False, use_post_quant_conv=False,
            shift_factor=0.1159, scaling_factor=0.3611,
        ).eval(),
    ).save_pretrained(folder)  # fmt: skip


def _ltx(folder: Path, *, told_time: bool = False) -> None:
    """told_time: a decoder that ends the denoising itself, as those from 0.9.1 on."""
    import diffusers
    import transformers

    tokenizer = _t5_tokenizer()
    vae = diffusers.AutoencoderKLLTXVideo(
        in_channels=3, out_channels=3, latent_channels=8, block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8), layers_per_block=(1,) * 5, decoder_layers_per_block=(1,) * 5,
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False,) * 5, upsample_residual=(False,) * 4, upsample_factor=(1,) * 4,
        timestep_conditioning=told_time, patch_size=1, patch_size_t=1,
        encoder_causal=True, decoder_causal=False,
    ).eval()  # fmt: skip
    vae.use_framewise_encoding = vae.use_framewise_decoding = False
    diffusers.LTXImageToVideoPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae,
        text_encoder=transformers.T5EncoderModel(
            transformers.T5Config(**_t5_sizes(len(tokenizer)), relative_attention_num_buckets=8)
        ).eval(),
        tokenizer=tokenizer,
        transformer=diffusers.LTXVideoTransformer3DModel(
            in_channels=8, out_channels=8, patch_size=1, patch_size_t=1, num_attention_heads=4,
            attention_head_dim=8, cross_attention_dim=_TEXT_DIM, num_layers=1, caption_channels=_TEXT_DIM,
        ).eval(),
    ).save_pretrained(folder)  # fmt: skip


def _framepack(folder: Path) -> None:
    import diffusers
    import transformers

    clip, llama = _clip_tokenizer(), _llama_tokenizer()
    diffusers.HunyuanVideoFramepackPipeline(
        text_encoder=transformers.LlamaModel(
            transformers.LlamaConfig(
                bos_token_id=1, eos_token_id=2, pad_token_id=0, hidden_size=16, intermediate_size=37,
                num_attention_heads=4, num_hidden_layers=3, vocab_size=len(llama),
            )
        ).eval(),
        tokenizer=llama,
        transformer=diffusers.HunyuanVideoFramepackTransformer3DModel(
            in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=10, num_layers=1,
            num_single_layers=1, num_refiner_layers=1, patch_size=2, patch_size_t=1, guidance_embeds=True,
            text_embed_dim=16, pooled_projection_dim=8, rope_axes_dim=(2, 4, 4), image_condition_type=None,
            has_image_proj=True, image_proj_dim=32, has_clean_x_embedder=True,
        ).eval(),
        vae=diffusers.AutoencoderKLHunyuanVideo(
            in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(8,) * 4, layers_per_block=1,
            down_block_types=("HunyuanVideoDownBlock3D",) * 4, up_block_types=("HunyuanVideoUpBlock3D",) * 4,
            norm_num_groups=4, scaling_factor=0.476986, mid_block_add_attention=True,
        ).eval(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder_2=_clip_text(clip, 8),
        tokenizer_2=clip,
        image_encoder=transformers.SiglipVisionModel(
            transformers.SiglipVisionConfig(
                hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
                image_size=30, patch_size=2,
            )
        ).eval(),
        feature_extractor=transformers.SiglipImageProcessor(size={"height": 30, "width": 30}),
    ).save_pretrained(folder)  # fmt: skip


def _sync(folder: Path) -> None:
    import transformers

    from hpcwise.models.sync.attention import AudioCondition

    _wan(folder, from_image=True, clip=True)
    transformers.Wav2Vec2Model(
        transformers.Wav2Vec2Config(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
            conv_dim=(8,) * 7, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2,
        )
    ).save_pretrained(folder / "audio_encoder")  # fmt: skip
    AudioCondition(audio_dim=16, context_dim=24, inner_dim=48, layers=2).save(folder / "audio_condition")


def _llama(folder: Path) -> None:
    import transformers

    tokens = _llama_tokenizer()
    transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            bos_token_id=1, eos_token_id=2, pad_token_id=0, hidden_size=16, intermediate_size=37,
            num_attention_heads=4, num_hidden_layers=2, vocab_size=len(tokens),
            max_position_embeddings=16384,
        )
    ).save_pretrained(folder)  # fmt: skip
    tokens.save_pretrained(folder)


def _upscaler(folder: Path) -> None:
    from safetensors.torch import save_file

    from hpcwise.models.upscale.nets import Compact

    folder.mkdir(parents=True)
    save_file(Compact(features=8, blocks=2, scale=2).state_dict(), folder / "weights.safetensors")


def _detector(folder: Path) -> None:
    import transformers

    transformers.YolosForObjectDetection(
        transformers.YolosConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
            image_size=[32, 48], num_detection_tokens=6, id2label={0: "person", 1: "table"},
        )
    ).save_pretrained(folder)  # fmt: skip
    transformers.YolosImageProcessor(size={"height": 32, "width": 48}, do_pad=False).save_pretrained(folder)


#: Name -> what writes the checkpoint into a folder.
BUILDERS: Final[Mapping[str, Callable[[Path], None]]] = {
    "tiny-wan2.1-t2v": lambda folder: _wan(folder, from_image=False, clip=False),
    "tiny-wan2.1-i2v": lambda folder: _wan(folder, from_image=True, clip=True),
    "tiny-wan2.2-i2v": lambda folder: _wan(folder, from_image=True, clip=False, experts=True),
    "tiny-wan2.2-ti2v": lambda folder: _wan(folder, from_image=True, clip=False, dense=True),
    "tiny-flux": _flux,
    "tiny-flux-kontext": lambda folder: _flux(folder, edits=True),
    "tiny-ltx-i2v": _ltx,
    "tiny-ltx-0.9.8": lambda folder: _ltx(folder, told_time=True),
    "tiny-framepack": _framepack,
    "tiny-fantasytalking": _sync,
    "tiny-llama": _llama,
    "tiny-esrgan": _upscaler,
    "tiny-yolos": _detector,
}


def _t5_sizes(words: int) -> dict[str, Any]:
    return {
        "vocab_size": words + 8, "d_model": _TEXT_DIM, "d_kv": 8, "d_ff": 37, "num_layers": 2, "num_heads": 4,
        "is_encoder_decoder": False,
    }  # fmt: skip


def _t5_tokenizer() -> Any:
    import transformers

    letters = string.ascii_letters + string.digits + string.punctuation
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return transformers.T5Tokenizer(vocab=[*words, *((letter, -3.0) for letter in letters)], extra_ids=0)


def _clip_tokenizer() -> Any:
    import transformers
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer(
        vocab={word: i for i, word in enumerate(words)}, merges=[], model_max_length=77
    )


def _llama_tokenizer() -> Any:
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = {word: i for i, word in enumerate(["<pad>", "<s>", "</s>", "<unk>", *letters])}
    made = Tokenizer(models.BPE(vocab=words, merges=[], unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    )


def _clip_text(tokenizer: Any, width: int) -> Any:
    import transformers

    return transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id, hidden_size=width, intermediate_size=37,
            num_attention_heads=4, num_hidden_layers=2, vocab_size=len(tokenizer), projection_dim=32,
        )
    ).eval()  # fmt: skip


def described(folder: Path) -> dict[str, str]:
    """Component -> class of a checkpoint, for people who look."""
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    return {k: v[1] for k, v in index.items() if isinstance(v, list) and v[1]}
