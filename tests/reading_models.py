"""A small Hugging Face tokenizer on disk, with or without a chat template."""

from __future__ import annotations

from pathlib import Path

TURNS = "<u> <a> <s> <end>".split()
WORDS = "[PAD] [UNK] [CLS] [SEP] human assistant system : what is it a good bad day no yes well".split() + TURNS
TEMPLATE = (
    "{% for m in messages %}{{ {'user': '<u>', 'assistant': '<a>', 'system': '<s>'}[m['role']] }} {{ m['content'] }}"
    " <end> {% endfor %}{% if add_generation_prompt %}<a> {% endif %}"
)
"""Speaker, content, end of turn: the shape of ChatML."""


def tokenizer_folder(folder: Path, template: str | None = None) -> Path:
    """A word-level tokenizer that lowers case and puts a text between [CLS] and [SEP], saved in `folder`."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {word: i for i, word in enumerate(WORDS)}
    made = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.add_special_tokens({"additional_special_tokens": TURNS})
    fast.chat_template = template
    fast.save_pretrained(folder)
    return folder
