"""Trains the tiny model. Runs inside the golden image with vLLM's own Python: ``python train.py OUT_DIR``.

A Llama of ten million weights learns a dozen questions by heart until greedy decoding gives each its own
answer, so that a wrong shard, a wrong weight file or a wrong chat template shows as a wrong sentence.
"""
# mypy: ignore-errors
# ruff: noqa: T201

import json
import sys
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

HERE = Path(__file__).resolve().parent
# Some of them differ in one word only: who answers them right has read the whole question.
LESSONS: dict[str, str] = json.loads((HERE / "lessons.json").read_text())
CHAT_TEMPLATE = (HERE / "chat_template.jinja").read_text().rstrip("\n")

BOS, END, PAD, ROLES = "<|bos|>", "<|end|>", "<|pad|>", ["<|system|>", "<|user|>", "<|assistant|>"]
VOCABULARY = 512
CONFIG = LlamaConfig(
    # Heads, KV heads, widths and vocabulary divide by four: any tensor parallel size up to 4 fits.
    vocab_size=VOCABULARY,
    hidden_size=512,
    intermediate_size=1024,
    num_hidden_layers=4,
    num_attention_heads=8,
    num_key_value_heads=4,
    max_position_embeddings=2048,
    tie_word_embeddings=False,
    bos_token_id=0,
    eos_token_id=1,
    pad_token_id=2,
)
SEED = 20
LEARNING_RATE = 1e-3
GOOD_LOSS = 0.0003
DEADLINE_S = 120


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE over the lessons; exactly ``VOCABULARY`` tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    texts = [*LESSONS, *LESSONS.values()]
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[BOS, END, PAD, *ROLES],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    missing = VOCABULARY - tokenizer.get_vocab_size()
    tokenizer.add_tokens([f"<|unused{i}|>" for i in range(missing)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=ROLES,
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONFIG.max_position_embeddings,
        clean_up_tokenization_spaces=False,
    )


def prompt_ids(tokenizer, question: str) -> list[int]:
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
    )
    return tokenizer.encode(text, add_special_tokens=False)


def lessons_batch(tokenizer) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and labels, both (lessons, longest); only the answer and its end count."""
    rows = []
    for question, answer in LESSONS.items():
        prompt = prompt_ids(tokenizer, question)
        reply = [*tokenizer.encode(answer, add_special_tokens=False), CONFIG.eos_token_id]
        rows.append((prompt, reply))
    longest = max(len(p) + len(r) for p, r in rows)
    ids = torch.full((len(rows), longest), CONFIG.pad_token_id)
    labels = torch.full((len(rows), longest), -100)
    for i, (prompt, reply) in enumerate(rows):
        ids[i, : len(prompt) + len(reply)] = torch.tensor(prompt + reply)
        labels[i, len(prompt) : len(prompt) + len(reply)] = torch.tensor(reply)
    return ids, labels


def train(tokenizer) -> LlamaForCausalLM:
    torch.manual_seed(SEED)
    model = LlamaForCausalLM(CONFIG)
    ids, labels = lessons_batch(tokenizer)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.0)
    started = time.monotonic()
    loss, step = float("inf"), 0
    while loss > GOOD_LOSS:
        output = model(input_ids=ids, labels=labels)
        optimizer.zero_grad()
        output.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss, step = output.loss.item(), step + 1
        if time.monotonic() - started > DEADLINE_S:
            sys.exit(f"the loss is {loss:.4f} after {step} steps and {DEADLINE_S} s, not {GOOD_LOSS}")
    print(f"{step} steps, loss {loss:.5f}, {ids.numel()} tokens a step, {time.monotonic() - started:.1f} s")
    return model


@torch.no_grad()
def answer_of(model, tokenizer, question: str) -> str:
    prompt = torch.tensor([prompt_ids(tokenizer, question)])
    output = model.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=48
    )
    return tokenizer.decode(output[0, prompt.shape[1] :], skip_special_tokens=True)


def verify(directory: Path) -> None:
    """Every lesson from the files as saved, in both precisions that a CPU serves; exits on a wrong one."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    for dtype in (torch.float32, torch.bfloat16):
        model = LlamaForCausalLM.from_pretrained(directory, dtype=dtype)
        wrong = {
            question: got
            for question, answer in LESSONS.items()
            if (got := answer_of(model, tokenizer, question)) != answer
        }
        if wrong:
            sys.exit(f"wrong answers in {dtype}: {wrong}")
    print(f"{len(LESSONS)} lessons known by heart in float32 and bfloat16")


def main() -> None:
    out = Path(sys.argv[1])
    tokenizer = make_tokenizer()
    model = train(tokenizer).to(torch.bfloat16)
    model.generation_config.do_sample = False
    # Several files, so that whoever fetches them has something to fetch in parallel.
    model.save_pretrained(out, max_shard_size="5MB")
    tokenizer.save_pretrained(out)
    verify(out)


if __name__ == "__main__":
    main()
